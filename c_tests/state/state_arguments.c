/*
 * Proves: dss_get(), dss_set() and dss_list() refuse what is no handle, key, value, guard or callback, in the order of the
 * arguments, leave outputs as they were, but a value, which is NULL, and change nothing.
 */
#include "locks/locks.h"
#include "state/state.h"

static struct dss_handle handle;
static uint64_t version;
static char too_long[DSS_KEY_MAX + 2];

/* ---- dss_get ----------------------------------------------------------------------------------------------------- */

static void check_get(struct dss_handle *given, const char *key, int rc)
{
    void *value = &handle;
    size_t len = 77;
    uint64_t found = 88;

    CHECK_RC(dss_get(given, key, &value, &len, &found), rc);
    CHECK(value == NULL && len == 77 && found == 88);
    CHECK_RC(dss_get(given, key, NULL, NULL, NULL), rc);
}

static void check_gets(void)
{
    struct dss_handle closed = { NULL };

    check_get(NULL, "key", -EBADF);
    check_get(&closed, "key", -EBADF);
    check_get(&closed, NULL, -EBADF);
    check_get(&handle, NULL, -EINVAL);
    check_get(&handle, "", -EINVAL);
    check_get(&handle, too_long, -ENAMETOOLONG);
}

/* ---- dss_set ----------------------------------------------------------------------------------------------------- */

static void check_set(struct dss_handle *given, const char *key, const void *value, size_t len, const struct dss_guard *guard,
                      int rc)
{
    uint64_t found = 88;

    CHECK_RC(dss_set(given, key, value, len, guard, &found), rc);
    CHECK(found == 88);
    CHECK_RC(dss_set(given, key, value, len, guard, NULL), rc);
    check_value(&handle, "key", "as it was", 9, version);
    CHECK(keys_of(&handle, NULL) == 1);
}

static void check_sets(void)
{
    struct dss_handle closed = { NULL };
    struct dss_guard bad = { .size = 0 };
    static char large[DSS_VALUE_MAX + 1];

    check_set(NULL, "key", "x", 1, NULL, -EBADF);
    check_set(&closed, "key", "x", 1, NULL, -EBADF);
    check_set(&closed, NULL, "x", 1, &bad, -EBADF);
    check_set(&handle, NULL, "x", 1, NULL, -EINVAL);
    check_set(&handle, "", "x", 1, NULL, -EINVAL);
    check_set(&handle, too_long, "x", 1, NULL, -ENAMETOOLONG);
    check_set(&handle, "key", NULL, 1, NULL, -EINVAL);
    check_set(&handle, "key", NULL, DSS_VALUE_MAX, NULL, -EINVAL);
    check_set(&handle, "key", large, sizeof(large), NULL, -EFBIG);
    /* The earlier argument counts. */
    check_set(&handle, too_long, large, sizeof(large), &bad, -ENAMETOOLONG);
    check_set(&handle, "key", large, sizeof(large), &bad, -EFBIG);
    check_set(&handle, "key", "x", 1, &bad, -EINVAL);
}

/* ---- Guards ------------------------------------------------------------------------------------------------------ */

static void refuse(struct dss_guard guard, int rc)
{
    check_set(&handle, "key", "x", 1, &guard, rc);
    check_set(&handle, "key", NULL, 0, &guard, rc);
}

/* As a later release might have it. */
struct longer_guard {
    struct dss_guard guard;
    uint64_t more[2];
};

static void check_guard_size(void)
{
    struct longer_guard longer = { .guard = of_version(version) };
    struct dss_guard guard = of_version(version);

    guard.size = 0;
    refuse(guard, -EINVAL);
    guard.size = sizeof(guard) - 1;
    refuse(guard, -EINVAL);
    guard.size = SIZE_MAX;
    refuse(guard, -EINVAL);
    longer.guard.size = sizeof(longer);
    longer.more[1] = 1;
    check_set(&handle, "key", "x", 1, &longer.guard, -EINVAL);
    longer.more[1] = 0;
    CHECK_RC(dss_set(&handle, "key", "as it was", 9, &longer.guard, &version), 0);
    CHECK(version > longer.guard.version);
}

static void check_guard_fields(void)
{
    struct dss_guard guard = of_both(version, "lock", 1);

    guard.flags = 4;
    refuse(guard, -EINVAL);
    guard.flags = UINT64_C(1) << 63 | DSS_GUARD_VERSION;
    refuse(guard, -EINVAL);
    refuse(of_lock("lock", 0), -EINVAL);
    refuse(of_lock(NULL, 1), -EINVAL);
    refuse(of_lock("", 1), -EINVAL);
    refuse(of_lock(too_long, 1), -ENAMETOOLONG);
}

/* What no flag speaks of is not looked at. */
static void check_ignored_fields(void)
{
    struct dss_guard guard = { .size = sizeof(guard), .version = 1, .lock_id = too_long };

    CHECK_RC(dss_set(&handle, "key", "as it was", 9, &guard, &version), 0);
    guard.flags = DSS_GUARD_VERSION;
    guard.version = version;
    CHECK_RC(dss_set(&handle, "key", "as it was", 9, &guard, &version), 0);
}

/* ---- dss_list ---------------------------------------------------------------------------------------------------- */

static void check_lists(void)
{
    struct dss_handle closed = { NULL };
    size_t count = 0;

    CHECK_RC(dss_list(NULL, NULL, count_key, &count), -EBADF);
    CHECK_RC(dss_list(&closed, too_long, NULL, &count), -EBADF);
    CHECK_RC(dss_list(&handle, too_long, count_key, &count), -ENAMETOOLONG);
    CHECK_RC(dss_list(&handle, too_long, NULL, &count), -ENAMETOOLONG);
    CHECK_RC(dss_list(&handle, NULL, NULL, &count), -EINVAL);
    CHECK(count == 0);
    too_long[DSS_KEY_MAX] = '\0'; /* as long as a key can be, but there is none */
    CHECK(keys_of(&handle, too_long) == 0);
    CHECK(keys_of(&handle, "") == 1 && keys_of(&handle, NULL) == 1);
}

int main(void)
{
    memset(too_long, 'k', DSS_KEY_MAX + 1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    version = set_text(&handle, "key", "as it was");
    check_gets();
    check_sets();
    check_guard_size();
    check_guard_fields();
    check_ignored_fields();
    check_lists();
    dss_fini(&handle);
    check_get(&handle, "key", -EBADF);
    return 0;
}
