/*
 * Proves: whatever is wrong with the arguments of dss_lock_list() and dss_lock_clean() is answered with its errno, the
 * handle first and the filter before the callback; then nothing is called back and nothing removed. A clean that would
 * remove everything asks to be told so.
 */
#include <limits.h>

#include "locks.h"

static char id_too_long[DSS_LOCK_ID_MAX + 2], owner_too_long[DSS_LOCK_OWNER_MAX + 2];
static struct dss_handle handle;

static int never(const struct dss_lock_info *info, void *arg)
{
    (void)arg;
    fprintf(stderr, "called back for %s\n", info->lock_id);
    exit(1);
}

static struct dss_filter filter_of(uint64_t flags, const char *lock_id, const char *lock_owner)
{
    struct dss_filter filter = { .size = sizeof(filter), .flags = flags, .lock_id = lock_id, .lock_owner = lock_owner };

    return filter;
}

/* Both calls must find the same thing wrong with the filter, with a callback and without. */
static void refuse(const struct dss_filter *filter, int rc)
{
    CHECK_RC(dss_lock_list(&handle, filter, never, NULL), rc);
    CHECK_RC(dss_lock_list(&handle, filter, NULL, NULL), rc);
    CHECK_RC(dss_lock_clean(&handle, filter, never, NULL), rc);
    CHECK_RC(dss_lock_clean(&handle, filter, NULL, NULL), rc);
}

static void refuse_names(uint64_t flags, const char *lock_id, const char *lock_owner, int rc)
{
    struct dss_filter filter = filter_of(flags, lock_id, lock_owner);

    refuse(&filter, rc);
}

static void check_names(void)
{
    refuse_names(0, "", NULL, -EINVAL);
    refuse_names(0, NULL, "", -EINVAL);
    refuse_names(DSS_FILTER_OWNER_PREFIX, "", "holder", -EINVAL);
    refuse_names(DSS_FILTER_ID_PREFIX, "h", "", -EINVAL);
    refuse_names(0, id_too_long, NULL, -ENAMETOOLONG);
    refuse_names(DSS_FILTER_ID_PREFIX, id_too_long, NULL, -ENAMETOOLONG);
    refuse_names(0, NULL, owner_too_long, -ENAMETOOLONG);
    refuse_names(DSS_FILTER_OWNER_PREFIX, NULL, owner_too_long, -ENAMETOOLONG);
    refuse_names(0, "", owner_too_long, -EINVAL);
    refuse_names(0, id_too_long, "", -ENAMETOOLONG);
}

static void check_flags(void)
{
    int bit;

    for (bit = 3; bit < 64; bit++) {
        refuse_names(UINT64_C(1) << bit, "held", NULL, -EINVAL);
        refuse_names(UINT64_C(1) << bit | DSS_FILTER_EVERYTHING, id_too_long, NULL, -EINVAL);
    }
}

/* A filter in memory of exactly the size it says, so that valgrind and AddressSanitizer see a byte read too far. */
static void with_size(size_t size, unsigned char last_byte, int rc)
{
    struct dss_filter filter = filter_of(0, "no-such-lock", NULL);
    unsigned char *given = calloc(1, size < sizeof(size_t) ? sizeof(size_t) : size);

    CHECK(given != NULL);
    filter.size = size;
    memcpy(given, &filter, size < sizeof(size_t) ? sizeof(size_t) : size < sizeof(filter) ? size : sizeof(filter));
    if (size > sizeof(filter))
        given[size - 1] = last_byte;
    CHECK_RC(dss_lock_list(&handle, (const void *)given, never, NULL), rc);
    CHECK_RC(dss_lock_clean(&handle, (const void *)given, never, NULL), rc);
    free(given);
}

static void check_size(void)
{
    static const size_t garbage[] = { SIZE_MAX, SIZE_MAX - 7, SIZE_MAX / 2 + 1, INT_MAX, (size_t)INT_MAX + 1, 1 << 20 };
    struct dss_filter filter = filter_of(0, "held", NULL);
    size_t i;

    for (i = 0; i < sizeof(filter); i++)
        with_size(i, 0, -EINVAL);
    with_size(sizeof(filter), 0, 0);
    for (i = sizeof(filter) + 1; i <= 2 * sizeof(filter); i++) {
        with_size(i, 0, 0);
        with_size(i, 1, -EINVAL);
    }
    for (i = 0; i < COUNT(garbage); i++) {
        filter.size = garbage[i];
        refuse(&filter, -EINVAL);
    }
}

static void check_list_needs_a_callback(void)
{
    struct dss_filter filter = filter_of(0, "held", NULL);

    CHECK_RC(dss_lock_list(&handle, NULL, NULL, NULL), -EINVAL);
    CHECK_RC(dss_lock_list(&handle, &filter, NULL, NULL), -EINVAL);
    CHECK_RC(dss_lock_list(&handle, NULL, never, NULL), 0);
}

static void refuse_to_clean_all(const struct dss_filter *filter)
{
    CHECK_RC(dss_lock_clean(&handle, filter, never, NULL), -EPERM);
    CHECK_RC(dss_lock_clean(&handle, filter, NULL, NULL), -EPERM);
}

static void check_clean_needs_a_filter(void)
{
    /* What begins with nothing, or is of an age of nothing, is everything. */
    const struct dss_filter empty[] = {
        filter_of(0, NULL, NULL),
        filter_of(DSS_FILTER_ID_PREFIX, NULL, NULL),
        filter_of(DSS_FILTER_ID_PREFIX, "", NULL),
        filter_of(DSS_FILTER_OWNER_PREFIX, NULL, ""),
        filter_of(DSS_FILTER_ID_PREFIX | DSS_FILTER_OWNER_PREFIX, "", ""),
    };
    size_t i;

    CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    refuse_to_clean_all(NULL);
    for (i = 0; i < COUNT(empty); i++)
        refuse_to_clean_all(&empty[i]);
    test_check_owner(&handle, "held", "holder");
    CHECK(locks_of(&handle) == 1);
    for (i = 0; i < COUNT(empty); i++) {
        struct dss_filter filter = empty[i];

        filter.flags |= DSS_FILTER_EVERYTHING;
        CHECK_RC(dss_lock_clean(&handle, &filter, NULL, NULL), 0);
        CHECK(locks_of(&handle) == 0);
        CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    }
    clear(&handle);
}

static void check_handle(struct dss_handle *bad)
{
    struct dss_filter filter = { .size = 1 };

    CHECK_RC(dss_lock_list(bad, NULL, NULL, NULL), -EBADF);
    CHECK_RC(dss_lock_list(bad, &filter, never, NULL), -EBADF);
    CHECK_RC(dss_lock_clean(bad, NULL, never, NULL), -EBADF);
    CHECK_RC(dss_lock_clean(bad, &filter, never, NULL), -EBADF);
}

int main(void)
{
    struct dss_handle closed = { NULL };

    memset(id_too_long, 'i', sizeof(id_too_long) - 1);
    memset(owner_too_long, 'o', sizeof(owner_too_long) - 1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    check_names();
    check_flags();
    check_size();
    test_check_owner(&handle, "held", "holder");
    CHECK_RC(dss_unlock(&handle, "held", "holder"), 0);
    check_list_needs_a_callback();
    check_clean_needs_a_filter();
    check_handle(NULL);
    check_handle(&closed);
    dss_fini(&handle);
    check_handle(&handle);
    return 0;
}
