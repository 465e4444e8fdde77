/*
 * Proves: what dss_lock_status() does with its two outputs. Each may be NULL; the owner is a string for free(3); on
 * failure *lock_owner is NULL, and the time is zero for a lock that does not exist but untouched after a bad argument
 * or handle.
 */
#include "test.h"

#define ID "drive:7"
#define OWNER "copy-tool"

static char not_an_owner[] = "untouched";
static const struct timeval marker = { 12345, 67890 };

static int is_marker(struct timeval time)
{
    return time.tv_sec == marker.tv_sec && time.tv_usec == marker.tv_usec;
}

static void check_success(struct dss_handle *handle)
{
    struct timeval both = marker, alone = marker;
    char *owner = not_an_owner, *again = not_an_owner;

    CHECK_RC(dss_lock_status(handle, ID, NULL, NULL), 0);

    CHECK_RC(dss_lock_status(handle, ID, &owner, &both), 0);
    CHECK(strcmp(owner, OWNER) == 0);
    CHECK(!is_marker(both));

    CHECK_RC(dss_lock_status(handle, ID, NULL, &alone), 0);
    CHECK(test_microseconds(alone) == test_microseconds(both));

    /* Each call makes a string of its own, which the caller may also write to. */
    CHECK_RC(dss_lock_status(handle, ID, &again, NULL), 0);
    CHECK(again != owner);
    memset(owner, 'x', strlen(owner));
    CHECK(strcmp(again, OWNER) == 0);
    free(owner);
    free(again);
}

/* A failure that was found before the store was asked. */
static void check_refused(struct dss_handle *handle, const char *id, int rc)
{
    struct timeval stamp = marker;
    char *owner = not_an_owner;

    CHECK_RC(dss_lock_status(handle, id, &owner, &stamp), rc);
    CHECK(owner == NULL);
    CHECK(is_marker(stamp));

    owner = not_an_owner;
    CHECK_RC(dss_lock_status(handle, id, &owner, NULL), rc);
    CHECK(owner == NULL);

    CHECK_RC(dss_lock_status(handle, id, NULL, &stamp), rc);
    CHECK(is_marker(stamp));
    CHECK_RC(dss_lock_status(handle, id, NULL, NULL), rc);
}

static void check_no_such_lock(struct dss_handle *handle, const char *id)
{
    struct timeval stamp = marker;
    char *owner = not_an_owner;

    CHECK_RC(dss_lock_status(handle, id, &owner, &stamp), -ENOLCK);
    CHECK(owner == NULL);
    CHECK(stamp.tv_sec == 0 && stamp.tv_usec == 0);

    owner = not_an_owner;
    CHECK_RC(dss_lock_status(handle, id, &owner, NULL), -ENOLCK);
    CHECK(owner == NULL);

    stamp = marker;
    CHECK_RC(dss_lock_status(handle, id, NULL, &stamp), -ENOLCK);
    CHECK(stamp.tv_sec == 0 && stamp.tv_usec == 0);
    CHECK_RC(dss_lock_status(handle, id, NULL, NULL), -ENOLCK);
}

int main(void)
{
    struct dss_handle handle, closed = { NULL };
    char too_long[2050];

    memset(too_long, 'i', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, ID, OWNER), 0);
    check_success(&handle);
    check_no_such_lock(&handle, "drive:8");
    check_refused(&handle, NULL, -EINVAL);
    check_refused(&handle, "", -EINVAL);
    check_refused(&handle, too_long, -ENAMETOOLONG);
    check_refused(&closed, ID, -EBADF);
    check_refused(NULL, ID, -EBADF);
    check_success(&handle);

    CHECK_RC(dss_unlock(&handle, ID, OWNER), 0);
    check_no_such_lock(&handle, ID);
    dss_fini(&handle);
    check_refused(&handle, ID, -EBADF);
    return 0;
}
