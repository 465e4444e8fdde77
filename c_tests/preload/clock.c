/*
 * A wall clock that a test sets, in front of the C library's: preloaded, it adds an offset to CLOCK_REALTIME in all its
 * forms. All other clocks stay as they are, as they do when an administrator sets the time.
 *
 * The offset, an int64_t in microseconds, stands at the beginning of the file that $DSS_TEST_CLOCK names. The file is
 * mapped, so every process that has it sees a change at once. Before it is there, the clock is right.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MICRO 1000000

static _Atomic(int64_t *) mapped;

static int64_t offset_us(void)
{
    int64_t *offset = atomic_load(&mapped);
    const char *path;
    int fd;

    if (offset != NULL)
        return *(volatile int64_t *)offset;
    path = getenv("DSS_TEST_CLOCK");
    fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    offset = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (offset == MAP_FAILED)
        return 0;
    atomic_store(&mapped, offset);
    return *(volatile int64_t *)offset;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    int64_t micro;

    if (rc != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return rc;
    micro = (int64_t)now->tv_sec * MICRO + now->tv_nsec / 1000 + offset_us();
    now->tv_sec = micro / MICRO;
    now->tv_nsec = micro % MICRO * 1000 + now->tv_nsec % 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    int rc = clock_gettime(CLOCK_REALTIME, &precise);

    (void)zone;
    if (rc == 0) {
        now->tv_sec = precise.tv_sec;
        now->tv_usec = precise.tv_nsec / 1000;
    }
    return rc;
}

time_t time(time_t *now)
{
    struct timespec precise;

    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return (time_t)-1;
    if (now != NULL)
        *now = precise.tv_sec;
    return precise.tv_sec;
}

int timespec_get(struct timespec *now, int base)
{
    if (base != TIME_UTC || clock_gettime(CLOCK_REALTIME, now) != 0)
        return 0;
    return base;
}
