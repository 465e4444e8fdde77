/*
 * Proves: dss_lock_list() shows the locks that a filter lets through, in the order of their ids' bytes and with all
 * that is kept of them; and what its callback returns ends the list, unless it is 0.
 */
#include "locks.h"

static struct dss_handle handle;

/* The ids of a list, joined. */
static int join_ids(const struct dss_lock_info *info, void *arg)
{
    char *joined = arg;

    CHECK(strlen(joined) + strlen(info->lock_id) + 2 < 4096);
    strcat(joined, info->lock_id);
    strcat(joined, "|");
    return 0;
}

static void check_list(const struct dss_filter *filter, const char *expected)
{
    char joined[4096] = "";

    CHECK_RC(dss_lock_list(&handle, filter, join_ids, joined), 0);
    if (strcmp(joined, expected) != 0) {
        fprintf(stderr, "%s\n  is not: %s\n", joined, expected);
        exit(1);
    }
}

static void check_filter(uint64_t flags, const char *lock_id, const char *lock_owner, const char *expected)
{
    struct dss_filter filter = { .size = sizeof(filter), .flags = flags, .lock_id = lock_id, .lock_owner = lock_owner };

    check_list(&filter, expected);
    filter.flags |= DSS_FILTER_EVERYTHING; /* is for dss_lock_clean() */
    check_list(&filter, expected);
}

static void check_order_and_filters(void)
{
    static const char *const ids[] = { "b", "a", "\xff", "a b", "B", "a\x01", "ab", "\xc3\xa4", "10", "9", "%", "a%" };
    static const char *const bobs[] = { "b1", "ab1" };
    const uint64_t id_prefix = DSS_FILTER_ID_PREFIX, owner_prefix = DSS_FILTER_OWNER_PREFIX;

    check_list(NULL, "");
    CHECK_RC(dss_lockv(&handle, ids, COUNT(ids), "ann", NULL, NULL), 0);
    CHECK_RC(dss_lockv(&handle, bobs, COUNT(bobs), "annie", NULL, NULL), 0);
    check_list(NULL, "%|10|9|B|a|a\x01|a b|a%|ab|ab1|b|b1|\xc3\xa4|\xff|");
    check_filter(0, NULL, NULL, "%|10|9|B|a|a\x01|a b|a%|ab|ab1|b|b1|\xc3\xa4|\xff|");
    check_filter(0, "a", NULL, "a|");
    check_filter(0, "absent", NULL, "");
    check_filter(id_prefix, "a", NULL, "a|a\x01|a b|a%|ab|ab1|");
    check_filter(id_prefix, "ab1", NULL, "ab1|");
    check_filter(id_prefix, "ab12", NULL, "");
    check_filter(id_prefix, "%", NULL, "%|");
    check_filter(id_prefix, "\xff", NULL, "\xff|");
    check_filter(id_prefix, "\xc3", NULL, "\xc3\xa4|");
    check_filter(id_prefix, "", NULL, "%|10|9|B|a|a\x01|a b|a%|ab|ab1|b|b1|\xc3\xa4|\xff|");
    check_filter(0, NULL, "annie", "ab1|b1|");
    check_filter(0, NULL, "anni", "");
    check_filter(owner_prefix, NULL, "anni", "ab1|b1|");
    check_filter(owner_prefix, NULL, "Ann", "");
    check_filter(0, "b1", "annie", "b1|");
    check_filter(0, "b1", "ann", "");
    check_filter(id_prefix, "a", "annie", "ab1|");
    check_filter(id_prefix | owner_prefix, "b", "ann", "b|b1|");
    check_filter(id_prefix | owner_prefix, "b", "annie", "b1|");
    check_filter(owner_prefix, "b", "ann", "b|"); /* each flag is about its own name */
    clear(&handle);
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void check_fields(void)
{
    struct dss_lock_opts opts = options(0, 60000);
    const char *id = "drive \xc3\xa4\x01\xff";
    char client[64];
    struct dss_grant grant;
    struct shown shown;
    int64_t before = now_us(), stamp;

    opts.note = "note \xff";
    CHECK_RC(dss_lockv(&handle, &id, 1, "ann \xff", &opts, &grant), 0);
    CHECK(look_up(&handle, id, &shown));
    CHECK(strcmp(shown.lock_owner, "ann \xff") == 0 && strcmp(shown.note, "note \xff") == 0);
    CHECK(shown.info.token == grant.token && shown.info.ttl_ms == 60000);
    CHECK(shown.info.left_ms > 0 && shown.info.left_ms <= 60000);
    CHECK(shown.info.taken_us >= before && shown.info.taken_us <= now_us());
    CHECK(shown.info.refreshed_us == shown.info.taken_us && shown.info.refreshed_us == stamp_of(&handle, id));
    snprintf(client, sizeof(client), ":%d:", (int)getpid());
    CHECK(strstr(shown.client, client) != NULL && shown.client[0] != ':');

    stamp = shown.info.taken_us;
    CHECK_RC(dss_lock_refresh(&handle, id, "ann \xff"), 0);
    CHECK(look_up(&handle, id, &shown));
    CHECK(shown.info.taken_us == stamp && shown.info.refreshed_us == stamp_of(&handle, id));
    CHECK(shown.info.refreshed_us > stamp);
    CHECK_RC(dss_unlock(&handle, id, NULL), 0);
}

/* The age is that of the last refresh. */
static void check_age(void)
{
    struct dss_filter filter = { .size = sizeof(filter), .min_age_ms = 100 };
    char joined[4096] = "";
    double begun;

    CHECK_RC(dss_lock(&handle, "old", "ann"), 0);
    CHECK_RC(dss_lock(&handle, "refreshed", "ann"), 0);
    sleep_ms(150);
    check_list(&filter, "old|refreshed|");
    filter.lock_id = "refreshed";
    check_list(&filter, "refreshed|");
    begun = test_seconds();
    CHECK_RC(dss_lock_refresh(&handle, "refreshed", "ann"), 0);
    filter.lock_id = NULL;
    filter.min_age_ms = 3600000;
    check_list(&filter, "");
    filter.min_age_ms = UINT64_MAX;
    check_list(&filter, "");
    filter.min_age_ms = 150;
    do { /* it comes back with time, and not before */
        joined[0] = '\0';
        CHECK_RC(dss_lock_list(&handle, &filter, join_ids, joined), 0);
        CHECK(strcmp(joined, "old|") == 0 || test_seconds() - begun >= 0.15);
        CHECK(test_seconds() - begun < 30);
    } while (strcmp(joined, "old|refreshed|") != 0);
    clear(&handle);
}

static int stop_at(const struct dss_lock_info *info, void *arg)
{
    int *left = arg;

    (void)info;
    return --*left == 0 ? 4711 : 0;
}

static int stop_with(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    return *(int *)arg;
}

static void check_stop(void)
{
    static const int results[] = { 1, -1, INT32_MAX, INT32_MIN, -EEXIST };
    int left;
    size_t i;

    CHECK_RC(dss_lockv(&handle, (const char *const[]){ "a", "b", "c" }, 3, "ann", NULL, NULL), 0);
    for (left = 1; left <= 3; left++) {
        int counted = left;

        CHECK_RC(dss_lock_list(&handle, NULL, stop_at, &counted), 4711);
        CHECK(counted == 0);
    }
    for (i = 0; i < COUNT(results); i++)
        CHECK_RC(dss_lock_list(&handle, NULL, stop_with, (void *)&results[i]), results[i]);
    clear(&handle);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_order_and_filters();
    check_fields();
    check_age();
    check_stop();
    dss_fini(&handle);
    return 0;
}
