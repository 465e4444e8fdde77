/*
 * The wall clock as a hazard sets it: that of ../preload/clock.c, or libfaketime's, each told by a file.
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

/* Tells the preloaded clock its distance from the right time, by the file in which it looks. */
static inline void set_clock(int64_t offset_us)
{
    const char *fake_time = getenv("FAKETIME_TIMESTAMP_FILE"), *path = getenv("DSS_TEST_CLOCK");

    if (fake_time != NULL) {
        char text[32];

        snprintf(text, sizeof(text), "%+lld\n", (long long)(offset_us / 1000000));
        write_text(fake_time, text);
    } else {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        CHECK(fd >= 0);
        CHECK(pwrite(fd, &offset_us, sizeof(offset_us), 0) == (ssize_t)sizeof(offset_us));
        close(fd);
    }
}

#endif
