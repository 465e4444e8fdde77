/*
 * Proves: the time in a lock's status is when it was taken or last refreshed, in UTC microseconds, and a refresh makes
 * it strictly newer, however fast one follows the other.
 */
#include "test.h"

#define ID "library:robot"
#define OWNER "mover"

static int64_t clock_now(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t stamp_of(struct dss_handle *handle)
{
    struct timeval stamp;

    CHECK_RC(dss_lock_status(handle, ID, NULL, &stamp), 0);
    CHECK(stamp.tv_usec >= 0 && stamp.tv_usec < 1000000);
    return test_microseconds(stamp);
}

/* Makes one call and checks that the time in the status lies between two readings of the clock around the call. */
static int64_t check_between(struct dss_handle *handle, int (*call)(struct dss_handle *, const char *, const char *))
{
    int64_t before, after, stamp;

    before = clock_now();
    CHECK_RC(call(handle, ID, OWNER), 0);
    after = clock_now();
    stamp = stamp_of(handle);
    if (stamp < before || stamp > after) {
        fprintf(stderr, "%lld is not between %lld and %lld\n", (long long)stamp, (long long)before, (long long)after);
        exit(1);
    }
    return stamp;
}

static void check_strictly_newer(struct dss_handle *handle, int refreshes)
{
    int64_t last = stamp_of(handle), stamp;
    int i;

    for (i = 0; i < refreshes; i++) {
        CHECK_RC(dss_lock_refresh(handle, ID, OWNER), 0);
        stamp = stamp_of(handle);
        CHECK(stamp > last);
        last = stamp;
    }
}

int main(void)
{
    struct dss_handle handle;
    int64_t taken, refreshed;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    taken = check_between(&handle, dss_lock);
    CHECK(stamp_of(&handle) == taken);
    while (clock_now() <= taken)
        continue; /* within one microsecond the refresh would have to be newer than the clock */
    refreshed = check_between(&handle, dss_lock_refresh);
    CHECK(refreshed > taken);
    CHECK(stamp_of(&handle) == refreshed);

    check_strictly_newer(&handle, test_repeat(1000, 200));

    CHECK_RC(dss_unlock(&handle, ID, OWNER), 0);
    (void)check_between(&handle, dss_lock);
    dss_fini(&handle);
    return 0;
}
