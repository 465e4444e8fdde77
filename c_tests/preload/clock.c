/*
 * Clocks and a boot id that a test sets, in front of the C library's: preloaded, it adds an offset
 * to CLOCK_REALTIME in all its forms, as an administrator does who sets the time. It can also add
 * one to CLOCK_BOOTTIME, and show a boot id of another boot: both change when the host is started
 * anew.
 *
 * The file that $DSS_TEST_CLOCK names holds struct settings; what it is too short for counts as 0.
 * The file is mapped, so every process that has it sees a change at once. Before it is there,
 * everything is as it is.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MICRO 1000000

struct settings {
    int64_t wall_us;
    int64_t boot_us;
    /* Not 0: each look at the boot id shows another one. */
    int64_t other_boots;
};

static _Atomic(struct settings *) mapped;

static struct settings settings(void)
{
    static const struct settings none;
    struct settings *found = atomic_load(&mapped);
    const char *path;
    int fd;

    if (found != NULL)
        return *(volatile struct settings *)found;
    path = getenv("DSS_TEST_CLOCK");
    fd = path != NULL ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return none;
    found = mmap(NULL, sizeof(*found), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (found == MAP_FAILED)
        return none;
    atomic_store(&mapped, found);
    return *(volatile struct settings *)found;
}

#ifndef ONLY_CLOCKS /* for a program that has an open64 of its own */
/* The kernel has a file of random ids, a new one at each look, in the folder of the boot id. */
int open64(const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
    if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 && settings().other_boots != 0)
        path = "/proc/sys/kernel/random/uuid";
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
#endif

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    int64_t micro, offset_us = 0;

    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        offset_us = settings().wall_us;
    else if (rc == 0 && clock == CLOCK_BOOTTIME)
        offset_us = settings().boot_us;
    if (offset_us == 0)
        return rc;
    micro = (int64_t)now->tv_sec * MICRO + now->tv_nsec / 1000 + offset_us;
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
