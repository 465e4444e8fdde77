#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

const char *const recorder_suffix[NAMES] = { "", "-wal", "-journal" };

static struct recording *recording;
static int moments_left, operations_left;
static enum operation last_kind;

struct recording *recorder_begin(const char *folder)
{
    struct stat found;

    recording = mmap(NULL, sizeof(*recording), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (recording == MAP_FAILED || stat(folder, &found) != 0 || strlen(folder) >= sizeof(recording->folder))
        abort();
    recording->device = found.st_dev;
    recording->folder_inode = found.st_ino;
    strcpy(recording->folder, folder);
    return recording;
}

void recorder_stop(void)
{
    recording = NULL;
}

uint64_t recorder_tick(void)
{
    return atomic_fetch_add(&recording->clock, 1) + 1;
}

void recorder_die_after(int moments)
{
    moments_left = moments;
}

void recorder_die_after_operation(enum operation kind, int n)
{
    last_kind = kind;
    operations_left = n;
}

static void pass_moment(void)
{
    if (moments_left > 0 && --moments_left == 0)
        kill(getpid(), SIGKILL);
}

/* ---- Notes -------------------------------------------------------------------------------------------------------- */

/* Without a file of the folder there is nothing to note. */
static struct op *begin(enum operation kind, const struct stat *file, uint64_t offset)
{
    uint64_t place;
    struct op *op;

    pass_moment();
    place = atomic_fetch_add(&recording->ops, 1);
    if (place >= RECORD_OPS)
        abort();
    op = &recording->op[place];
    op->inode = file->st_ino;
    op->offset = offset;
    op->begin = recorder_tick();
    atomic_store(&op->kind, kind);
    return op;
}

static struct op *begin_on(enum operation kind, int fd, uint64_t offset)
{
    struct stat file;

    if (recording == NULL || fstat(fd, &file) != 0 || file.st_dev != recording->device)
        return NULL;
    return begin(kind, &file, offset);
}

static long end(struct op *op, long result)
{
    int error = errno;

    if (op != NULL) {
        if (result < 0)
            abort(); /* no test with this record lets the disk fail */
        op->end = recorder_tick();
        if (op->kind == last_kind && operations_left > 0 && --operations_left == 0)
            kill(getpid(), SIGKILL);
        pass_moment();
    }
    errno = error;
    return result;
}

/* Notes the bytes before they are written, since others may write at once after that. */
static void keep(struct op *op, const struct iovec *parts, int count)
{
    uint64_t place;

    if (op == NULL)
        return;
    for (int i = 0; i < count; i++)
        op->length += parts[i].iov_len;
    op->bytes = place = atomic_fetch_add(&recording->used, op->length);
    if (place + op->length > RECORD_BYTES)
        abort();
    for (int i = 0; i < count; i++) {
        memcpy(recording->bytes + place, parts[i].iov_base, parts[i].iov_len);
        place += parts[i].iov_len;
    }
}

/* Which file of the store a path names; -1: none that a crash leaves. */
static int name_of(const char *path)
{
    size_t length = recording == NULL ? 0 : strlen(recording->folder);

    if (recording == NULL || strncmp(path, recording->folder, length) != 0)
        return -1;
    for (int i = 0; i < NAMES; i++) {
        char name[64];

        snprintf(name, sizeof(name), "/dss.db%s", recorder_suffix[i]);
        if (strcmp(path + length, name) == 0)
            return i;
    }
    return -1;
}

/* ---- In place of the C library's ------------------------------------------------------------------------------------- */

/* A name is noted when its file is opened, whoever made it: nobody writes before. */
static int open_and_note(const char *path, int flags, mode_t mode)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), name = fd < 0 ? -1 : name_of(path);

    if (name >= 0) {
        struct op *op = begin_on(OP_LINK, fd, 0);

        if (op != NULL)
            op->name = (uint32_t)name;
        end(op, 0);
    }
    return fd;
}

#define OPEN(function)                                                                                              \
    int function(const char *path, int flags, ...)                                                                  \
    {                                                                                                               \
        mode_t mode = 0;                                                                                            \
        va_list rest;                                                                                               \
                                                                                                                    \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                        \
            va_start(rest, flags);                                                                                  \
            mode = va_arg(rest, mode_t);                                                                            \
            va_end(rest);                                                                                           \
        }                                                                                                           \
        return open_and_note(path, flags, mode);                                                                    \
    }

OPEN(open)
OPEN(open64)

static ssize_t write_and_note(int fd, const struct iovec *parts, int count, off_t offset)
{
    struct op *op = begin_on(OP_WRITE, fd, (uint64_t)offset);
    long written;

    keep(op, parts, count);
    written = end(op, syscall(SYS_pwritev, fd, parts, count, offset, 0L));
    if (op != NULL && (uint64_t)written != op->length)
        abort();
    return written;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return write_and_note(fd, parts, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = count };

    return write_and_note(fd, &part, 1, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    return pwrite(fd, bytes, count, offset);
}

int ftruncate(int fd, off_t length)
{
    struct op *op = begin_on(OP_TRUNCATE, fd, (uint64_t)length);

    return (int)end(op, syscall(SYS_ftruncate, fd, length));
}

int ftruncate64(int fd, off64_t length)
{
    return ftruncate(fd, length);
}

int fdatasync(int fd)
{
    struct op *op = begin_on(OP_SYNC, fd, 0);

    return (int)end(op, syscall(SYS_fdatasync, fd));
}

int fsync(int fd)
{
    struct op *op = begin_on(OP_SYNC, fd, 0);

    return (int)end(op, syscall(SYS_fsync, fd));
}

int unlink(const char *path)
{
    int name = name_of(path);
    struct stat file;
    struct op *op = NULL;

    if (name >= 0 && lstat(path, &file) == 0) {
        op = begin(OP_UNLINK, &file, 0);
        op->name = (uint32_t)name;
    }
    return (int)end(op, syscall(SYS_unlink, path));
}
