/*
 * Proves: NULL in any position of any call is answered, never followed; and where several things are wrong, the handle
 * is reported first, then the arguments in their order, then the state of the lock.
 */
#include "test.h"

static char too_long_id[2050];
static char too_long_owner[258];

static void check_null(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(NULL, "id", "owner"), -EBADF);
    CHECK_RC(dss_lock(handle, NULL, "owner"), -EINVAL);
    CHECK_RC(dss_lock(handle, "id", NULL), -EINVAL);

    CHECK_RC(dss_lock_refresh(NULL, "id", "owner"), -EBADF);
    CHECK_RC(dss_lock_refresh(handle, NULL, "owner"), -EINVAL);
    CHECK_RC(dss_lock_refresh(handle, "id", NULL), -EINVAL);

    CHECK_RC(dss_unlock(NULL, "id", "owner"), -EBADF);
    CHECK_RC(dss_unlock(NULL, "id", NULL), -EBADF);
    CHECK_RC(dss_unlock(handle, NULL, "owner"), -EINVAL);
    CHECK_RC(dss_unlock(handle, NULL, NULL), -EINVAL);

    CHECK_RC(dss_lock_status(NULL, "id", NULL, NULL), -EBADF);
    CHECK_RC(dss_lock_status(handle, NULL, NULL, NULL), -EINVAL);

    CHECK_RC(dss_init(NULL), -EINVAL);
    CHECK_RC(dss_init_uri(NULL, test_uri()), -EINVAL);
    CHECK_RC(dss_init_uri(NULL, NULL), -EINVAL);
    dss_fini(NULL);
}

/* A bad handle comes before bad names. */
static void check_handle_first(void)
{
    struct dss_handle closed = { NULL };
    struct dss_handle *bad[] = { NULL, &closed };
    size_t i;

    for (i = 0; i < 2; i++) {
        CHECK_RC(dss_lock(bad[i], NULL, NULL), -EBADF);
        CHECK_RC(dss_lock(bad[i], too_long_id, ""), -EBADF);
        CHECK_RC(dss_lock_refresh(bad[i], "", too_long_owner), -EBADF);
        CHECK_RC(dss_unlock(bad[i], NULL, NULL), -EBADF);
        CHECK_RC(dss_lock_status(bad[i], NULL, NULL, NULL), -EBADF);
        CHECK_RC(dss_lock_status(bad[i], too_long_id, NULL, NULL), -EBADF);
    }
}

/* Calls the three calls that take an owner, all of which must find the same thing wrong. */
static void check_all(struct dss_handle *handle, const char *id, const char *owner, int rc)
{
    CHECK_RC(dss_lock(handle, id, owner), rc);
    CHECK_RC(dss_lock_refresh(handle, id, owner), rc);
    CHECK_RC(dss_unlock(handle, id, owner), rc);
}

/* A bad lock_id comes before a bad lock_owner; each of them has its own errno, so that the order shows. */
static void check_id_before_owner(struct dss_handle *handle)
{
    check_all(handle, too_long_id, "", -ENAMETOOLONG);
    check_all(handle, "", too_long_owner, -EINVAL);
    check_all(handle, NULL, too_long_owner, -EINVAL);
    check_all(handle, too_long_id, too_long_owner, -ENAMETOOLONG);
    CHECK_RC(dss_lock(handle, too_long_id, NULL), -ENAMETOOLONG);
    CHECK_RC(dss_lock_refresh(handle, too_long_id, NULL), -ENAMETOOLONG);
    CHECK_RC(dss_unlock(handle, too_long_id, NULL), -ENAMETOOLONG);
}

/* A bad argument comes before what the store would say: no such lock, held, held by another. */
static void check_arguments_before_lock(struct dss_handle *handle)
{
    check_all(handle, "free", "", -EINVAL);
    check_all(handle, "free", too_long_owner, -ENAMETOOLONG);
    CHECK_RC(dss_lock(handle, "held", "holder"), 0);
    check_all(handle, "held", "", -EINVAL);
    check_all(handle, "held", too_long_owner, -ENAMETOOLONG);
    test_check_owner(handle, "held", "holder");
    CHECK_RC(dss_unlock(handle, "held", "holder"), 0);
}

int main(void)
{
    struct dss_handle handle;

    memset(too_long_id, 'i', sizeof(too_long_id) - 1);
    memset(too_long_owner, 'o', sizeof(too_long_owner) - 1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_null(&handle);
    check_handle_first();
    check_id_before_owner(&handle);
    check_arguments_before_lock(&handle);
    test_check_owner(&handle, "id", NULL);
    dss_fini(&handle);
    return 0;
}
