/*
 * The wall clock is set back by an hour while locks are held: by an administrator, or by NTP after a bad start.
 *
 * A time stamp taken from the clock alone would be older than the one before, and whoever watches a lock's time stamp
 * to see that its holder lives would see nothing for an hour. A refresh makes it strictly newer, whatever the clock
 * says. The clock is ../preload/clock.c, or libfaketime, each told by a file. (PostgreSQL has a clock of its own, which no
 * client can set: there the time stamps go on as if nothing had happened.)
 */
#include "clocks.h"

#include <sys/mman.h>

/* Without this the test would pass because no clock ever moved. */
static void step_clock(int64_t *offset_us, int64_t step_us)
{
    int64_t before = now_us();

    *offset_us += step_us;
    set_clock(*offset_us);
    CHECK(llabs(now_us() - before - step_us) < 10 * 1000000);
}

/* Whether the time stamp is what the clock says that the store goes by, though it may have been stepped meanwhile. */
static int is_believed(int64_t stamp_us, int64_t offset_us)
{
    int64_t expected_us = now_us() - (test_store_is("postgres") ? offset_us : 0);

    return llabs(stamp_us - expected_us) < 10 * 1000000;
}

static int64_t stamp(struct dss_handle *handle)
{
    struct timeval when;

    CHECK_RC(dss_lock_status(handle, "drive", NULL, &when), 0);
    return test_microseconds(when);
}

/* Returns the stamp of the last of some refreshes, each newer than the one before. */
static int64_t refresh_strictly(struct dss_handle *handle, int64_t last)
{
    for (int i = 0; i < 20; i++) {
        int64_t next;

        CHECK_RC(dss_lock_refresh(handle, "drive", "ann"), 0);
        next = stamp(handle);
        CHECK(next > last);
        last = next;
    }
    return last;
}

static void steps_of_the_clock(void)
{
    int64_t offset = 0, last;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    last = stamp(&handle);
    CHECK(is_believed(last, offset));
    last = refresh_strictly(&handle, last);
    step_clock(&offset, -HOUR);
    last = refresh_strictly(&handle, last);
    step_clock(&offset, -HOUR);
    dss_fini(&handle);
    /* A handle made after the step does not know what the clock said before: the store does. */
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    if (test_store_is("memory"))
        CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    else
        last = refresh_strictly(&handle, last);
    step_clock(&offset, 4 * HOUR);
    last = refresh_strictly(&handle, last);
    /* A clock that has gone forward is believed again. */
    CHECK(is_believed(last, offset));
    step_clock(&offset, -2 * HOUR);
    (void)refresh_strictly(&handle, last);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
}

/* Which clock is preloaded, the test's arguments say; its file is named before the clock is first looked at. */
int main(int argc, char **argv)
{
    const char *variable = argc > 1 && strcmp(argv[1], "libfaketime") == 0 ? "FAKETIME_TIMESTAMP_FILE"
                                                                          : "DSS_TEST_CLOCK";
    char *path = test_path("clock");

    CHECK(setenv(variable, path, 1) == 0);
    set_clock(0);
    steps_of_the_clock();
    free(path);
    return 0;
}
