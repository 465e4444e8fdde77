/*
 * A disk that fails now and then: the calls by which a store writes and flushes, as this program defines them, in place of the C
 * library's. They fail before they have done anything, or write a part.
 */
#include "actor.h"

#include <sys/uio.h>

/* Which of them fails is random: the times at which threads get here are. */
static int strikes(void)
{
    static _Thread_local unsigned seed;
    unsigned of_thousand = records != NULL ? atomic_load(&records->disk_fails) : 0;

    if (of_thousand == 0)
        return 0;
    if (seed == 0)
        seed = (unsigned)own_thread();
    if ((unsigned)rand_r(&seed) % 1000 >= of_thousand)
        return 0;
    errno = rand_r(&seed) % 2 ? EIO : ENOSPC;
    return 1;
}

int fdatasync(int fd)
{
    if (strikes()) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static ssize_t write_at(int fd, const void *bytes, size_t size, off_t at)
{
    if (strikes()) {
        if (errno == EIO)
            return -1;
        size = size > 512 ? 512 : size; /* the disk is full after that */
    }
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at)
{
    return write_at(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    return write_at(fd, bytes, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    if (strikes())
        return -1;
    return syscall(SYS_pwritev, fd, parts, count, at, 0);
}

int ftruncate64(int fd, off_t size)
{
    return strikes() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}
