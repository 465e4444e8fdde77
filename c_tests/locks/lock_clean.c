/*
 * Proves: dss_lock_clean() removes the locks that a filter lets through, whoever holds them, and no other; it calls
 * back after each removal, in the order of the ids, and a result other than 0 ends it; and a lock that was taken anew
 * since it was seen stays as it is.
 */
#include "locks.h"

static struct dss_handle handle;

static int join_ids(const struct dss_lock_info *info, void *arg)
{
    char *joined = arg;

    CHECK(strlen(joined) + strlen(info->lock_id) + 2 < 1024);
    strcat(joined, info->lock_id);
    strcat(joined, "|");
    return 0;
}

static void check_left_over(const char *expected)
{
    char joined[1024] = "";

    CHECK_RC(dss_lock_list(&handle, NULL, join_ids, joined), 0);
    if (strcmp(joined, expected) != 0) {
        fprintf(stderr, "%s\n  is not: %s\n", joined, expected);
        exit(1);
    }
}

static void make_locks(void)
{
    static const char *const of_ann[] = { "drive-1", "drive-2", "tape" }, *const of_annie[] = { "drive", "drive-3" };

    clear(&handle);
    CHECK_RC(dss_lockv(&handle, of_ann, 3, "ann", NULL, NULL), 0);
    CHECK_RC(dss_lockv(&handle, of_annie, 2, "annie", NULL, NULL), 0);
}

/* Cleans twice, with a callback and without: the same are removed, and the same stay. */
static void check_filter(struct dss_filter filter, const char *removed, const char *left_over)
{
    char joined[1024] = "";

    filter.size = sizeof(filter);
    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &filter, join_ids, joined), 0);
    CHECK(strcmp(joined, removed) == 0);
    check_left_over(left_over);
    CHECK_RC(dss_lock_clean(&handle, &filter, join_ids, joined), 0); /* nothing matches any more */
    CHECK(strcmp(joined, removed) == 0);
    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &filter, NULL, NULL), 0);
    check_left_over(left_over);
}

static void check_filters(void)
{
    const uint64_t id_prefix = DSS_FILTER_ID_PREFIX, owner_prefix = DSS_FILTER_OWNER_PREFIX;

    check_filter((struct dss_filter){ .lock_id = "drive" }, "drive|", "drive-1|drive-2|drive-3|tape|");
    check_filter((struct dss_filter){ .lock_id = "drive-", .flags = id_prefix }, "drive-1|drive-2|drive-3|",
                 "drive|tape|");
    check_filter((struct dss_filter){ .lock_owner = "ann" }, "drive-1|drive-2|tape|", "drive|drive-3|");
    check_filter((struct dss_filter){ .lock_owner = "annie" }, "drive|drive-3|", "drive-1|drive-2|tape|");
    check_filter((struct dss_filter){ .lock_owner = "ann", .flags = owner_prefix },
                 "drive|drive-1|drive-2|drive-3|tape|", "");
    check_filter((struct dss_filter){ .lock_owner = "ann", .lock_id = "d", .flags = id_prefix }, "drive-1|drive-2|",
                 "drive|drive-3|tape|");
    check_filter((struct dss_filter){ .lock_id = "absent" }, "", "drive|drive-1|drive-2|drive-3|tape|");
    check_filter((struct dss_filter){ .min_age_ms = 3600000 }, "", "drive|drive-1|drive-2|drive-3|tape|");
    check_filter((struct dss_filter){ .flags = DSS_FILTER_EVERYTHING }, "drive|drive-1|drive-2|drive-3|tape|", "");
    check_filter((struct dss_filter){ .flags = DSS_FILTER_EVERYTHING, .lock_id = "tape" }, "tape|",
                 "drive|drive-1|drive-2|drive-3|");
}

/* Whether the machine let us clean before the one lock that was refreshed got old itself. */
static int cleans_by_age(void)
{
    struct dss_filter filter = { .size = sizeof(filter), .min_age_ms = 1000 };
    double begun;

    make_locks();
    sleep_ms(1000);
    begun = test_seconds();
    CHECK_RC(dss_lock_refresh(&handle, "tape", "ann"), 0);
    CHECK_RC(dss_lock_clean(&handle, &filter, NULL, NULL), 0);
    if (test_seconds() - begun >= 1)
        return 0;
    check_left_over("tape|");
    return 1;
}

static void check_age(void)
{
    int tries;

    for (tries = 1; !cleans_by_age(); tries++)
        CHECK(tries < 20);
}

/* What is shown is the lock as it was, and gone already. */
static int check_gone(const struct dss_lock_info *info, void *arg)
{
    const struct shown *expected = arg;

    CHECK(info->size == sizeof(*info));
    CHECK(strcmp(info->lock_id, "shown") == 0 && strcmp(info->lock_owner, "ann") == 0 && strcmp(info->note, "n") == 0);
    CHECK(strcmp(info->client, expected->client) == 0);
    CHECK(info->token == expected->info.token && info->ttl_ms == 60000 && info->left_ms > 0 && info->left_ms <= 60000);
    CHECK(info->taken_us == expected->info.taken_us && info->refreshed_us == expected->info.refreshed_us);
    test_check_owner(&handle, "shown", NULL);
    CHECK(take(&handle, "shown", "next", 0, 0).flags == DSS_GRANT_OWNERDEAD);
    return 7;
}

static void check_callback_comes_after(void)
{
    struct dss_filter filter = { .size = sizeof(filter), .lock_owner = "ann" };
    struct dss_lock_opts opts = options(0, 60000);
    const char *id = "shown";
    struct shown shown;

    clear(&handle);
    opts.note = "n";
    CHECK_RC(dss_lockv(&handle, &id, 1, "ann", &opts, NULL), 0);
    CHECK(look_up(&handle, "shown", &shown));
    CHECK_RC(dss_lock_clean(&handle, &filter, check_gone, &shown), 7);
    check_left_over("shown|");
    test_check_owner(&handle, "shown", "next");
}

static int stop_at(const struct dss_lock_info *info, void *arg)
{
    return strcmp(info->lock_id, arg) == 0 ? -4711 : 0;
}

/* Nothing is removed after the one at which the callback ended it. */
static void check_stop(void)
{
    struct dss_filter everything = { .size = sizeof(everything), .flags = DSS_FILTER_EVERYTHING };
    char first[] = "drive", third[] = "drive-2", last[] = "tape";

    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &everything, stop_at, first), -4711);
    check_left_over("drive-1|drive-2|drive-3|tape|");
    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &everything, stop_at, third), -4711);
    check_left_over("drive-3|tape|");
    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &everything, stop_at, last), -4711);
    check_left_over("");
}

/*
 * While the first lock is shown, others whose turn comes are taken anew, taken over, given away, or only refreshed; and
 * new ones are put in its way.
 */
static int change_the_others(const struct dss_lock_info *info, void *arg)
{
    uint64_t *tokens = arg;

    CHECK(strcmp(info->lock_id, "drive-1") != 0 && strcmp(info->lock_id, "drive-2") != 0);
    CHECK(strcmp(info->lock_id, "drive-3") != 0);
    if (strcmp(info->lock_id, "drive") != 0) {
        CHECK(strcmp(info->lock_id, "tape") == 0); /* the same grant, refreshed or not */
        return 0;
    }
    CHECK_RC(dss_unlock(&handle, "drive-1", "ann"), 0);
    tokens[0] = take(&handle, "drive-1", "ann", 0, 0).token;
    tokens[1] = take(&handle, "drive-2", "ann", DSS_LOCK_RESUME, 0).token;
    CHECK_RC(dss_lock_transfer(&handle, "drive-3", "annie", 0, "annie", NULL), 0);
    tokens[2] = token_of(&handle, "drive-3");
    CHECK_RC(dss_lock_refresh(&handle, "tape", "ann"), 0);
    CHECK_RC(dss_lock(&handle, "drive-4", "ann"), 0);
    return 0;
}

static void check_taken_anew_stays(void)
{
    struct dss_filter everything = { .size = sizeof(everything), .flags = DSS_FILTER_EVERYTHING };
    uint64_t tokens[3];

    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &everything, change_the_others, tokens), 0);
    check_left_over("drive-1|drive-2|drive-3|drive-4|");
    CHECK_RC(refresh(&handle, "drive-1", "ann", tokens[0]), 0);
    CHECK_RC(refresh(&handle, "drive-2", "ann", tokens[1]), 0);
    CHECK_RC(refresh(&handle, "drive-3", "annie", tokens[2]), 0);
}

/* Cleaning within a clean, and unlocking what is still to come: each lock is shown once, by whoever removed it. */
static int clean_within(const struct dss_lock_info *info, void *arg)
{
    struct dss_filter rest = { .size = sizeof(rest), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "drive-" };

    join_ids(info, arg);
    if (strcmp(info->lock_id, "drive") == 0) {
        CHECK_RC(dss_unlock(&handle, "drive-2", "ann"), 0);
        CHECK_RC(dss_lock_clean(&handle, &rest, join_ids, arg), 0);
    }
    return 0;
}

static void check_nested(void)
{
    struct dss_filter everything = { .size = sizeof(everything), .flags = DSS_FILTER_EVERYTHING };
    char joined[1024] = "";

    make_locks();
    CHECK_RC(dss_lock_clean(&handle, &everything, clean_within, joined), 0);
    CHECK(strcmp(joined, "drive|drive-1|drive-3|tape|") == 0);
    check_left_over("");
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_filters();
    check_age();
    check_callback_comes_after();
    check_stop();
    check_taken_anew_stays();
    check_nested();
    dss_fini(&handle);
    return 0;
}
