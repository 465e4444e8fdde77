#include "calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALLS_KIND(name, ...) {#name, {__VA_ARGS__}},
const struct call_kind call_kinds[CALL_KINDS] = {KINDS(CALLS_KIND)};

struct fault fault;
atomic_int calls_count;
atomic_uint calls_made[CALL_KINDS], calls_failed;

/* Whether this call has to fail; errno says how. */
static int strikes(enum call kind)
{
    unsigned number;

    if (!atomic_load(&calls_count))
        return 0;
    number = atomic_fetch_add(&calls_made[kind], 1) + 1;
    if (fault.nth == 0 || fault.kind != kind || number < fault.nth || (number > fault.nth && !fault.for_ever))
        return 0;
    atomic_fetch_add(&calls_failed, 1);
    errno = fault.error;
    return 1;
}

/* A call that does half of what it was asked for, if it has to fail so. */
static int halves(enum call kind, size_t *size)
{
    if (!strikes(kind))
        return 0;
    if (fault.error != PART)
        return 1;
    *size = (*size + 1) / 2;
    return 0;
}

/* Finds the C library's own function `name`, before the constructors of libdss ask for it. */
#define REAL(type, name, parameters)                                                                                          \
    static type(*real_##name) parameters;                                                                                     \
    static void find_##name(void)                                                                                             \
    {                                                                                                                         \
        *(void **)&real_##name = dlsym(RTLD_NEXT, #name);                                                                     \
    }                                                                                                                         \
    __attribute__((section(".preinit_array"), used)) static void (*const first_##name)(void) = find_##name;

/* Defines the function `name`, which fails as its kind does, or does what the C library's does. */
#define FAILS(kind, type, name, parameters, arguments)                                                                        \
    REAL(type, name, parameters)                                                                                              \
    type name parameters                                                                                                      \
    {                                                                                                                         \
        return strikes(CALL_##kind) ? -1 : real_##name arguments;                                                             \
    }
#define HALVES(kind, type, name, parameters, size, arguments)                                                                 \
    REAL(type, name, parameters)                                                                                              \
    type name parameters                                                                                                      \
    {                                                                                                                         \
        return halves(CALL_##kind, &size) ? -1 : real_##name arguments;                                                       \
    }

HALVES(read, ssize_t, pread, (int fd, void *to, size_t size, off_t at), size, (fd, to, size, at))
HALVES(read, ssize_t, pread64, (int fd, void *to, size_t size, off_t at), size, (fd, to, size, at))
HALVES(read, ssize_t, read, (int fd, void *to, size_t size), size, (fd, to, size))
HALVES(write, ssize_t, write, (int fd, const void *from, size_t size), size, (fd, from, size))
HALVES(write, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), size, (fd, from, size, at))
HALVES(write, ssize_t, pwrite64, (int fd, const void *from, size_t size, off_t at), size, (fd, from, size, at))
FAILS(sync, int, fsync, (int fd), (fd))
FAILS(sync, int, fdatasync, (int fd), (fd))
FAILS(make, int, mkdir, (const char *path, mode_t mode), (path, mode))
FAILS(make, int, link, (const char *from, const char *to), (from, to))
FAILS(make, int, mknod, (const char *path, mode_t mode, dev_t device), (path, mode, device))
FAILS(make, int, renameat2, (int at, const char *from, int to_at, const char *to, unsigned flags), (at, from, to_at, to, flags))
FAILS(make, int, chmod, (const char *path, mode_t mode), (path, mode))
FAILS(make, int, fchmod, (int fd, mode_t mode), (fd, mode))
FAILS(make, int, fchmodat, (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags))
FAILS(make, int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
FAILS(remove, int, unlink, (const char *path), (path))
FAILS(remove, int, rmdir, (const char *path), (path))
FAILS(stat, int, stat64, (const char *path, struct stat64 *found), (path, found))
FAILS(stat, int, lstat64, (const char *path, struct stat64 *found), (path, found))
FAILS(stat, int, fstat64, (int fd, struct stat64 *found), (fd, found))
FAILS(stat, int, fstat, (int fd, struct stat *found), (fd, found))
FAILS(stat, int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *found), (at, path, flags, mask, found))
FAILS(stat, int, statfs, (const char *path, struct statfs *found), (path, found))
FAILS(stat, int, access, (const char *path, int mode), (path, mode))
FAILS(stat, int, faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
FAILS(stat, ssize_t, readlink, (const char *path, char *to, size_t size), (path, to, size))
FAILS(lock, int, flock, (int fd, int operation), (fd, operation))
FAILS(resize, int, ftruncate64, (int fd, off_t size), (fd, size))
FAILS(resize, int, ftruncate, (int fd, off_t size), (fd, size))
FAILS(descriptor, int, socketpair, (int domain, int type, int protocol, int ends[2]), (domain, type, protocol, ends))
FAILS(descriptor, int, inotify_init1, (int flags), (flags))
FAILS(descriptor, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILS(socket, int, bind, (int fd, __CONST_SOCKADDR_ARG to, socklen_t size), (fd, to, size))
FAILS(socket, int, connect, (int fd, __CONST_SOCKADDR_ARG to, socklen_t size), (fd, to, size))
FAILS(socket, ssize_t, sendto,
    (int fd, const void *from, size_t size, int flags, __CONST_SOCKADDR_ARG to, socklen_t to_size),
    (fd, from, size, flags, to, to_size))
FAILS(socket, ssize_t, send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags))
FAILS(socket, ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags))
FAILS(watch, int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))
FAILS(poll, int, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout))
FAILS(poll, int, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
    (fds, count, timeout, mask))

/* ---- Those that are of another shape. ---- */

REAL(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at))
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    size_t size = parts[0].iov_len;

    if (!strikes(CALL_write))
        return real_pwritev(fd, parts, count, at);
    if (fault.error != PART)
        return -1;
    return real_pwrite(fd, parts[0].iov_base, (size + 1) / 2, at);
}

#define OPENS(name)                                                                                                           \
    REAL(int, name, (const char *path, int flags, ...))                                                                       \
    int name(const char *path, int flags, ...)                                                                                \
    {                                                                                                                         \
        va_list more;                                                                                                         \
        mode_t mode;                                                                                                          \
                                                                                                                              \
        va_start(more, flags);                                                                                                \
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;                                                    \
        va_end(more);                                                                                                         \
        return strikes(CALL_open) ? -1 : real_##name(path, flags, mode);                                                      \
    }
OPENS(open)
OPENS(open64)

/* Only what asks for a lock: the rest does not fail, and to give one up does not either. */
#define CONTROLS(name)                                                                                                        \
    REAL(int, name, (int fd, int command, ...))                                                                               \
    int name(int fd, int command, ...)                                                                                        \
    {                                                                                                                         \
        va_list more;                                                                                                         \
        void *argument;                                                                                                       \
        int locks;                                                                                                            \
                                                                                                                              \
        va_start(more, command);                                                                                              \
        argument = va_arg(more, void *);                                                                                      \
        va_end(more);                                                                                                         \
        locks = (command == F_OFD_SETLK || command == F_OFD_GETLK || command == F_SETLK || command == F_GETLK) &&             \
                ((struct flock *)argument)->l_type != F_UNLCK;                                                                \
        return locks && strikes(CALL_lock) ? -1 : real_##name(fd, command, argument);                                         \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

#define MAPS(name)                                                                                                            \
    REAL(void *, name, (void *where, size_t size, int protection, int flags, int fd, off_t at))                               \
    void *name(void *where, size_t size, int protection, int flags, int fd, off_t at)                                         \
    {                                                                                                                         \
        return strikes(CALL_mmap) ? MAP_FAILED : real_##name(where, size, protection, flags, fd, at);                         \
    }
MAPS(mmap)
MAPS(mmap64)

REAL(int, posix_fallocate, (int fd, off_t at, off_t size))
int posix_fallocate(int fd, off_t at, off_t size)
{
    return strikes(CALL_resize) ? fault.error : real_posix_fallocate(fd, at, size);
}

REAL(int, pthread_create, (pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *), void *argument))
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *), void *argument)
{
    return strikes(CALL_thread) ? fault.error : real_pthread_create(thread, how, work, argument);
}

/* ---- Memory. glibc's own functions have these names too. ---- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *from, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    return strikes(CALL_malloc) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return strikes(CALL_malloc) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *from, size_t size)
{
    return strikes(CALL_malloc) ? NULL : __libc_realloc(from, size);
}

int posix_memalign(void **to, size_t alignment, size_t size)
{
    if (strikes(CALL_malloc))
        return ENOMEM;
    *to = __libc_memalign(alignment, size);
    return *to == NULL ? ENOMEM : 0;
}
