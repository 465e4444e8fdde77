/*
 * Files, pipes and sockets that a host opens for itself, and a check that nobody else has used
 * them: contents, length, file position, flags and locks are as the host left them, and the
 * descriptors are still open.
 *
 * Each difference is printed and counted; the test goes on, so that one run shows all of them.
 */
#ifndef OWN_FILES_H
#define OWN_FILES_H

#include "contention/contention.h"

#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The first part of each message; says which case of the test this is. */
static char case_name[160];

/* The rest of a case's violations tells nothing more. */
#define MOST_SHOWN 12

/* In memory that the processes of one case share. */
static _Atomic int *violation_count;

__attribute__((format(printf, 1, 2))) static inline void violation(const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (atomic_fetch_add(violation_count, 1) < MOST_SHOWN)
        dprintf(STDERR_FILENO, "%s: %s\n", case_name, text);
}

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            violation(__VA_ARGS__);                                                                \
    } while (0)

#define MOST_OWN 64
#define BIG_BYTES (1200 * 1024)
#define PIPE_BYTES 3000

enum own_kind {
    OWN_PLAIN,
    OWN_APPEND,
    OWN_BIG,
    OWN_EMPTY,
    OWN_PIPE,
    OWN_SILENT_PIPE,
    OWN_SOCKET,
    OWN_EVENT,
    OWN_INOTIFY
};

static const char *const own_kind_names[] = {"a file",
                                             "a file (O_APPEND)",
                                             "a file of 1200 KiB",
                                             "an empty file",
                                             "a pipe with data",
                                             "a pipe without data",
                                             "a socket with data",
                                             "an eventfd",
                                             "an inotify descriptor"};

struct own_file {
    enum own_kind kind;
    int fd, flags;
    unsigned seed;
    off_t size, position; /* of a pipe or socket: the bytes that wait in it */
    dev_t device;
    ino_t inode;
    char path[300]; /* "" if it has no name */
};

struct own_files {
    struct own_file all[MOST_OWN];
    int count;
};

static inline uint8_t own_byte_(unsigned seed, off_t at)
{
    uint64_t mixed = ((uint64_t)seed << 32 ^ (uint64_t)at) * 0x9e3779b97f4a7c15u;

    return (uint8_t)(mixed >> 56);
}

static inline uint8_t *own_bytes_(unsigned seed, off_t size)
{
    uint8_t *bytes = malloc((size_t)size + 1);

    CHECK(bytes != NULL);
    for (off_t at = 0; at < size; at++)
        bytes[at] = own_byte_(seed, at);
    return bytes;
}

static inline off_t own_size_(enum own_kind kind, unsigned *seed)
{
    switch (kind) {
    case OWN_BIG:
        return BIG_BYTES;
    case OWN_PLAIN:
    case OWN_APPEND:
        return 1 + rand_r(seed) % 70000;
    case OWN_PIPE:
    case OWN_SOCKET:
        return PIPE_BYTES;
    default:
        return 0;
    }
}

/* Makes a file with its contents, before the host closes its descriptors. */
static inline void own_prepare_(struct own_file *file, const char *folder, int number,
                                unsigned *seed)
{
    uint8_t *bytes;
    int fd;

    file->seed = (unsigned)rand_r(seed);
    file->size = own_size_(file->kind, seed);
    file->path[0] = '\0';
    if (file->kind > OWN_EMPTY)
        return;
    snprintf(file->path, sizeof(file->path), "%s/own-%d", folder, number);
    bytes = own_bytes_(file->seed, file->size);
    fd = open(file->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, (size_t)file->size) == file->size);
    CHECK(close(fd) == 0);
    free(bytes);
}

/* Chooses so many files by chance, and writes those that have names. No big file is among a few:
 * one in eight is. */
static inline void own_files_prepare(struct own_files *files, const char *folder, int count,
                                     unsigned *seed)
{
    static const enum own_kind kinds[] = {OWN_PLAIN,       OWN_APPEND, OWN_PLAIN, OWN_BIG,
                                          OWN_PIPE,        OWN_SOCKET, OWN_PLAIN, OWN_EMPTY,
                                          OWN_SILENT_PIPE, OWN_EVENT,  OWN_PLAIN, OWN_INOTIFY};

    files->count = count;
    for (int i = 0; i < count; i++) {
        struct own_file *file = &files->all[i];

        file->kind = kinds[rand_r(seed) % COUNT(kinds)];
        /* Both ends of a pipe or a socket pair are the host's. */
        if (i + 1 == count &&
            (file->kind == OWN_PIPE || file->kind == OWN_SILENT_PIPE || file->kind == OWN_SOCKET))
            file->kind = OWN_PLAIN;
        own_prepare_(file, folder, i, seed);
        if (file->kind == OWN_PIPE || file->kind == OWN_SILENT_PIPE || file->kind == OWN_SOCKET) {
            files->all[i + 1] = files->all[i];
            i++;
        }
    }
}

/* Opens both ends, and leaves data in the pipe, or in both directions of the sockets. */
static inline void own_open_pair_(struct own_file *file)
{
    uint8_t *bytes = own_bytes_(file->seed, file->size);
    int ends[2];

    if (file->kind == OWN_SOCKET)
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    else
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(write(ends[1], bytes, (size_t)file->size) == file->size);
    if (file->kind == OWN_SOCKET)
        CHECK(write(ends[0], bytes, (size_t)file->size) == file->size);
    file[0].fd = ends[0];
    file[1].fd = ends[1];
    free(bytes);
}

static inline void own_open_(struct own_file *file)
{
    uint64_t value = 5;

    if (file->kind == OWN_EVENT) {
        file->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        CHECK(file->fd >= 0 && write(file->fd, &value, sizeof(value)) == sizeof(value));
    } else if (file->kind == OWN_INOTIFY) {
        file->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        CHECK(file->fd >= 0 && inotify_add_watch(file->fd, "/dev/null", IN_OPEN) >= 0);
        CHECK(close(open("/dev/null", O_RDONLY | O_CLOEXEC)) == 0);
    } else {
        file->fd = open(file->path, O_RDWR | O_CLOEXEC | (file->kind == OWN_APPEND ? O_APPEND : 0));
        CHECK(file->fd >= 0 && lseek(file->fd, file->size / 2, SEEK_SET) == file->size / 2);
    }
}

/* What waits to be read: of files with a position that. An eventfd has no such number. */
static inline off_t own_position_(const struct own_file *file)
{
    int waiting = 0;

    if (file->kind <= OWN_EMPTY)
        return lseek(file->fd, 0, SEEK_CUR);
    if (file->kind != OWN_EVENT)
        CHECK(ioctl(file->fd, FIONREAD, &waiting) == 0);
    return waiting;
}

/* Opens all of them, under the lowest numbers that are free. */
static inline void own_files_open(struct own_files *files)
{
    for (int i = 0; i < files->count; i++) {
        struct own_file *file = &files->all[i];
        int is_pair =
            file->kind == OWN_PIPE || file->kind == OWN_SILENT_PIPE || file->kind == OWN_SOCKET;

        if (is_pair) {
            own_open_pair_(file);
            i++;
        } else {
            own_open_(file);
        }
    }
    for (int i = 0; i < files->count; i++) {
        struct own_file *file = &files->all[i];
        struct stat found;

        CHECK(fstat(file->fd, &found) == 0);
        file->device = found.st_dev;
        file->inode = found.st_ino;
        file->flags = fcntl(file->fd, F_GETFL);
        file->position = own_position_(file);
    }
}

/* Looks at the descriptors: each is open, the same file, and nobody has read, written or moved its
 * position. */
static inline void own_files_check(const struct own_files *files, const char *when)
{
    for (int i = 0; i < files->count; i++) {
        const struct own_file *file = &files->all[i];
        const char *kind = own_kind_names[file->kind];
        struct stat found;
        uint64_t value = 0;

        if (fcntl(file->fd, F_GETFD) < 0 || fstat(file->fd, &found) != 0) {
            violation("%s: the host's descriptor %d (%s) was closed", when, file->fd, kind);
            continue;
        }
        EXPECT(found.st_dev == file->device && found.st_ino == file->inode,
               "%s: the host's descriptor %d (%s) is "
               "another file now",
               when, file->fd, kind);
        if (found.st_dev != file->device || found.st_ino != file->inode)
            continue;
        EXPECT(fcntl(file->fd, F_GETFL) == file->flags, "%s: descriptor %d (%s) has other flags",
               when, file->fd, kind);
        EXPECT(own_position_(file) == file->position,
               "%s: descriptor %d (%s) was read from, written to or moved: "
               "%lld, not %lld",
               when, file->fd, kind, (long long)own_position_(file), (long long)file->position);
        if (file->kind == OWN_EVENT) {
            CHECK(read(file->fd, &value, sizeof(value)) == sizeof(value) || errno == EAGAIN);
            EXPECT(value == 5, "%s: eventfd %d holds %llu, not 5", when, file->fd,
                   (unsigned long long)value);
            value = 5;
            CHECK(write(file->fd, &value, sizeof(value)) == sizeof(value));
        }
    }
}

/* From another process: nobody holds a lock on the files. */
static inline void own_files_check_locks(const struct own_files *files, const char *when)
{
    for (int i = 0; i < files->count; i++) {
        const struct own_file *file = &files->all[i];
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd;

        if (file->path[0] == '\0')
            continue;
        fd = open(file->path, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0);
        EXPECT(lock.l_type == F_UNLCK,
               "%s: there is a lock on the host's descriptor %d (%s), from byte %lld", when,
               file->fd, own_kind_names[file->kind], (long long)lock.l_start);
        EXPECT(flock(fd, LOCK_EX | LOCK_NB) == 0, "%s: descriptor %d (%s) has a lock of flock(2)",
               when, file->fd, own_kind_names[file->kind]);
        close(fd);
    }
}

/* From any process: byte for byte as they were written. */
static inline void own_files_check_contents(const struct own_files *files, const char *when)
{
    for (int i = 0; i < files->count; i++) {
        const struct own_file *file = &files->all[i];
        uint8_t *found;
        off_t differ = 0, first = -1;
        struct stat length;
        int fd;

        if (file->path[0] == '\0')
            continue;
        fd = open(file->path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0 && fstat(fd, &length) == 0);
        EXPECT(length.st_size == file->size, "%s: descriptor %d (%s) has %lld bytes, not %lld",
               when, file->fd, own_kind_names[file->kind], (long long)length.st_size,
               (long long)file->size);
        found = malloc((size_t)file->size + 1);
        CHECK(found != NULL && pread(fd, found, (size_t)file->size, 0) >= 0);
        for (off_t at = 0; at < file->size && at < length.st_size; at++) {
            if (found[at] != own_byte_(file->seed, at)) {
                first = first < 0 ? at : first;
                differ++;
            }
        }
        EXPECT(differ == 0, "%s: descriptor %d (%s): %lld bytes overwritten, from byte %lld", when,
               file->fd, own_kind_names[file->kind], (long long)differ, (long long)first);
        free(found);
        close(fd);
    }
}

#endif
