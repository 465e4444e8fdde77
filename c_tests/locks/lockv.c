/*
 * Proves: dss_lockv() takes all of several locks or none, in one step that nobody sees a part of; it tells a token
 * that grows from grant to grant and what is left of the lease; and what it takes are locks like any other: the four
 * old calls work on them, and the list shows their lease and note.
 */
#include <stdatomic.h>

#include "locks.h"

#define TTL_MS 60000

static const char *const three[] = { "a", "b", "c" };

static void check_all(struct dss_handle *handle)
{
    struct dss_lock_opts opts = options(0, TTL_MS);
    struct dss_grant grants[3];
    size_t i;

    memset(grants, UNTOUCHED, sizeof(grants));
    CHECK_RC(dss_lockv(handle, three, 3, "ann", &opts, grants), 0);
    for (i = 0; i < 3; i++) {
        check_granted(&grants[i], TTL_MS);
        CHECK(grants[i].flags == 0);
        test_check_owner(handle, three[i], "ann");
        CHECK(token_of(handle, three[i]) == grants[i].token);
        CHECK_RC(dss_unlock(handle, three[i], "ann"), 0);
    }
}

/* One lock in the way, at each place, held by another owner or the same one. */
static void check_none(struct dss_handle *handle, const char *holder)
{
    struct dss_grant grants[3];
    size_t held, i;

    for (held = 0; held < 3; held++) {
        struct dss_grant grant = take(handle, three[held], holder, 0, 0);
        int64_t stamp = stamp_of(handle, three[held]);

        memset(grants, UNTOUCHED, sizeof(grants));
        CHECK_RC(dss_lockv(handle, three, 3, "ann", NULL, grants), -EEXIST);
        for (i = 0; i < 3; i++)
            check_refused(&grants[i], i == held ? -EEXIST : -ECANCELED);
        CHECK_RC(dss_lockv(handle, three, 3, "ann", NULL, NULL), -EEXIST);
        CHECK(locks_of(handle) == 1);
        test_check_owner(handle, three[held], holder);
        CHECK(token_of(handle, three[held]) == grant.token && stamp_of(handle, three[held]) == stamp);
        CHECK_RC(dss_unlock(handle, three[held], holder), 0);
    }
}

static void check_several_in_the_way(struct dss_handle *handle)
{
    struct dss_grant grants[3];

    take(handle, "a", "bob", 0, 0);
    take(handle, "c", "eve", 0, TTL_MS);
    CHECK_RC(dss_lockv(handle, three, 3, "ann", NULL, grants), -EEXIST);
    check_refused(&grants[0], -EEXIST);
    check_refused(&grants[1], -ECANCELED);
    check_refused(&grants[2], -EEXIST);
    CHECK_RC(dss_unlock(handle, "a", "bob"), 0);
    CHECK_RC(dss_unlock(handle, "c", "eve"), 0);
}

static void check_without_options(struct dss_handle *handle)
{
    struct dss_grant grant;
    struct shown shown;

    CHECK_RC(dss_lockv(handle, three, 1, "ann", NULL, &grant), 0);
    check_granted(&grant, 0);
    CHECK(look_up(handle, "a", &shown));
    CHECK(shown.info.ttl_ms == 0 && shown.info.left_ms == INT64_MAX && shown.note[0] == '\0');
    CHECK_RC(dss_lockv(handle, three, 1, "ann", NULL, &grant), -EEXIST);
    check_refused(&grant, -EEXIST);
    CHECK_RC(dss_unlock(handle, "a", "ann"), 0);
    CHECK_RC(dss_lockv(handle, three, 3, "ann", NULL, NULL), 0);
    CHECK_RC(dss_unlockv(handle, three, 3, "ann", NULL, NULL), 0);
}

static void check_64(struct dss_handle *handle)
{
    char names[DSS_LOCK_IDS_MAX][16];
    const char *ids[DSS_LOCK_IDS_MAX];
    struct dss_grant grants[DSS_LOCK_IDS_MAX];
    size_t i;

    for (i = 0; i < DSS_LOCK_IDS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "of-64-%zu", i);
        ids[i] = names[i];
    }
    CHECK_RC(dss_lock(handle, ids[63], "bob"), 0);
    CHECK_RC(dss_lockv(handle, ids, DSS_LOCK_IDS_MAX, "ann", NULL, grants), -EEXIST);
    for (i = 0; i < DSS_LOCK_IDS_MAX; i++)
        check_refused(&grants[i], i == 63 ? -EEXIST : -ECANCELED);
    CHECK_RC(dss_unlock(handle, ids[63], "bob"), 0);
    CHECK_RC(dss_lockv(handle, ids, DSS_LOCK_IDS_MAX, "ann", NULL, grants), 0);
    for (i = 0; i < DSS_LOCK_IDS_MAX; i++)
        check_granted(&grants[i], 0);
    CHECK(locks_of(handle) == DSS_LOCK_IDS_MAX);
    CHECK_RC(dss_unlockv(handle, ids, DSS_LOCK_IDS_MAX, "ann", NULL, NULL), 0);
    CHECK(locks_of(handle) == 0);
}

/* Whatever ended the grant before. */
static void check_tokens_grow(struct dss_handle *handle)
{
    uint64_t last = 0;
    int round;

    for (round = 0; round < 12; round++) {
        struct dss_grant grant = take(handle, "a", "ann", 0, round % 2 == 0 ? 0 : TTL_MS);

        CHECK(grant.token > last);
        last = grant.token;
        if (round % 3 == 0) {
            CHECK_RC(dss_unlock(handle, "a", "ann"), 0);
        } else if (round % 3 == 1) {
            CHECK_RC(dss_unlock(handle, "a", NULL), 0);
        } else {
            clear(handle);
        }
        CHECK_RC(dss_lock(handle, "a", "bob"), 0);
        CHECK(token_of(handle, "a") > last);
        last = token_of(handle, "a");
        CHECK_RC(dss_unlock(handle, "a", "bob"), 0);
    }
}

static void check_note_is_shown(struct dss_handle *handle)
{
    struct dss_lock_opts opts = options(0, TTL_MS);
    char note[] = "loads tape 7 \xff\n'%s'";
    struct shown shown;

    opts.note = note;
    CHECK_RC(dss_lockv(handle, three, 2, "ann", &opts, NULL), 0);
    note[0] = 'X'; /* the library has its own copy */
    CHECK(look_up(handle, "a", &shown) && strcmp(shown.note, "loads tape 7 \xff\n'%s'") == 0);
    CHECK(look_up(handle, "b", &shown) && strcmp(shown.note, "loads tape 7 \xff\n'%s'") == 0);
    CHECK(shown.info.ttl_ms == TTL_MS && shown.info.left_ms > 0 && shown.info.left_ms <= TTL_MS);
    CHECK_RC(dss_unlockv(handle, three, 2, "ann", NULL, NULL), 0);
}

static void check_old_calls(struct dss_handle *handle)
{
    struct dss_grant grant = take(handle, "a", "ann", 0, TTL_MS);
    int64_t stamp = stamp_of(handle, "a");

    CHECK_RC(dss_lock(handle, "a", "ann"), -EEXIST);
    CHECK_RC(dss_lock(handle, "a", "bob"), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, "a", "bob"), -EACCES);
    CHECK(stamp_of(handle, "a") == stamp);
    CHECK_RC(dss_lock_refresh(handle, "a", "ann"), 0);
    CHECK(stamp_of(handle, "a") > stamp);
    CHECK(token_of(handle, "a") == grant.token);
    CHECK_RC(dss_unlock(handle, "a", "bob"), -EACCES);
    test_check_owner(handle, "a", "ann");
    CHECK_RC(dss_unlock(handle, "a", "ann"), 0);
    test_check_owner(handle, "a", NULL);
    CHECK_RC(dss_unlock(handle, "a", "ann"), -ENOLCK);
    take(handle, "a", "ann", 0, TTL_MS);
    CHECK_RC(dss_unlock(handle, "a", NULL), 0);
    test_check_owner(handle, "a", NULL);
}

/* Names that a comparison by anything else than bytes, or of a part of them, would take for each other. */
static void check_bytes(struct dss_handle *handle)
{
    const char *const ids[] = {
        "drive", "Drive", "drive ", " drive", "drive\n", "driv", "drive%", "drive_", "drive'", "drive\"", "drive\\",
        "%s", "\xc3\xa4", "a\xcc\x88", "\xc3", "\xff", "\xff\xff", "\x01", "\x7f", "0", "00", "0.0", "1e0",
    };
    struct dss_grant grants[COUNT(ids)];
    size_t i;

    CHECK_RC(dss_lockv(handle, ids, COUNT(ids), "\xff'\n", NULL, grants), 0);
    CHECK(locks_of(handle) == COUNT(ids));
    for (i = 0; i < COUNT(ids); i++)
        test_check_owner(handle, ids[i], "\xff'\n");
    CHECK_RC(dss_unlockv(handle, ids, COUNT(ids), "\xff'\n", NULL, NULL), 0);
}

static _Atomic int is_done;

/* Takes two locks at once and releases them in an order that never leaves the first one alone. */
static void *take_pairs(void *handle)
{
    const char *const pair[] = { "pair-a", "pair-b" };
    int i;

    for (i = 0; i < test_repeat(300, 10); i++) {
        CHECK_RC(dss_lockv(handle, pair, 2, "ann", NULL, NULL), 0);
        CHECK_RC(dss_unlock(handle, "pair-a", "ann"), 0);
        CHECK_RC(dss_unlock(handle, "pair-b", "ann"), 0);
    }
    is_done = 1;
    return NULL;
}

static int note_pair(const struct dss_lock_info *info, void *arg)
{
    *(int *)arg |= strcmp(info->lock_id, "pair-a") == 0 ? 1 : 2;
    return 0;
}

static void check_never_seen_half_done(struct dss_handle *handle)
{
    pthread_t thread = start_thread(take_pairs, handle);

    while (!is_done) {
        int seen = 0;

        CHECK_RC(dss_lock_list(handle, NULL, note_pair, &seen), 0);
        CHECK(seen != 1);
    }
    join_thread(thread);
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_all(&handle);
    check_none(&handle, "bob");
    check_none(&handle, "ann");
    check_several_in_the_way(&handle);
    check_without_options(&handle);
    check_64(&handle);
    check_tokens_grow(&handle);
    check_note_is_shown(&handle);
    check_old_calls(&handle);
    check_bytes(&handle);
    check_never_seen_half_done(&handle);
    CHECK(locks_of(&handle) == 0);
    dss_fini(&handle);
    return 0;
}
