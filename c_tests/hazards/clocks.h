/*
 * The clocks as a hazard sets them: those of ../preload/clock.c, or libfaketime's wall clock, each
 * told by a file.
 */
#ifndef CLOCKS_H
#define CLOCKS_H

#include "hazard.h"

#define HOUR ((int64_t)3600 * 1000000)

static inline int64_t now_us(void)
{
    struct timeval now;

    CHECK(gettimeofday(&now, NULL) == 0);
    return test_microseconds(now);
}

/* Writes one of the settings of ../preload/clock.c; they are of 8 bytes each. */
static inline void write_setting(int place, int64_t value)
{
    int fd = open(getenv("DSS_TEST_CLOCK"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK(pwrite(fd, &value, sizeof(value), place * (off_t)sizeof(value)) == (ssize_t)sizeof(value));
    close(fd);
}

/* Steps CLOCK_BOOTTIME; only while no store is open, as no process sees that clock go back. */
static inline void set_boot_clock(int64_t offset_us)
{
    write_setting(1, offset_us);
}

/* Whether each store that is opened is in another boot of the host. */
static inline void set_other_boots(int on)
{
    write_setting(2, on);
}

/* Tells the preloaded clock its distance from the right time, by the file in which it looks. */
static inline void set_clock(int64_t offset_us)
{
    const char *fake_time = getenv("FAKETIME_TIMESTAMP_FILE");

    if (fake_time != NULL) {
        char text[32];

        snprintf(text, sizeof(text), "%+lld\n", (long long)(offset_us / 1000000));
        write_text(fake_time, text);
    } else {
        write_setting(0, offset_us);
    }
}

#endif
