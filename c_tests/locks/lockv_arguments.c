/*
 * Proves: whatever is wrong with the arguments of the calls that take, refresh, release and give away locks is
 * answered with its errno, the handle before the arguments and these in their order, before the store is asked;
 * outputs stay untouched, nothing changes, and no byte beyond what the caller's struct says of itself is read.
 */
#include <limits.h>

#include "locks.h"

#define DAY_MS UINT64_C(86400000)

static char id_too_long[DSS_LOCK_ID_MAX + 2], owner_too_long[DSS_LOCK_OWNER_MAX + 2];
static const char *const good[] = { "a", "b", "c" };
static struct dss_handle handle;

/* One lock is held all the while, by "holder": it has to stay as it is, and to stay alone. */
static struct dss_grant held;
static int64_t held_since_us;

static void check_unchanged(void)
{
    CHECK(locks_of(&handle) == 1);
    test_check_owner(&handle, "held", "holder");
    CHECK(token_of(&handle, "held") == held.token && stamp_of(&handle, "held") == held_since_us);
}

static void refuse_lockv(const char *const *ids, size_t count, const char *owner, const struct dss_lock_opts *opts,
                         int rc)
{
    struct dss_grant grants[3];

    memset(grants, UNTOUCHED, sizeof(grants));
    CHECK_RC(dss_lockv(&handle, ids, count, owner, opts, grants), rc);
    CHECK(is_all(grants, UNTOUCHED, sizeof(grants)));
    CHECK_RC(dss_lockv(&handle, ids, count, owner, opts, NULL), rc);
}

/* The three calls that take many ids, all of which must find the same thing wrong. */
static void refuse(const char *const *ids, size_t count, const char *owner, int rc)
{
    struct dss_grant grants[3];
    int rcs[3];

    refuse_lockv(ids, count, owner, NULL, rc);
    memset(grants, UNTOUCHED, sizeof(grants));
    CHECK_RC(dss_lock_refreshv(&handle, ids, count, owner, NULL, grants), rc);
    CHECK(is_all(grants, UNTOUCHED, sizeof(grants)));
    CHECK_RC(dss_lock_refreshv(&handle, ids, count, owner, NULL, NULL), rc);
    if (owner == NULL && rc == -EINVAL)
        return; /* to dss_unlockv() that is an owner like any other, unless something else is wrong */
    memset(rcs, UNTOUCHED, sizeof(rcs));
    CHECK_RC(dss_unlockv(&handle, ids, count, owner, NULL, rcs), rc);
    CHECK(is_all(rcs, UNTOUCHED, sizeof(rcs)));
    CHECK_RC(dss_unlockv(&handle, ids, count, owner, NULL, NULL), rc);
}

static void check_ids(void)
{
    static const char *const no_ids[DSS_LOCK_IDS_MAX + 1] = { NULL };
    static const struct { const char *id; int rc; } bad[] = {
        { NULL, -EINVAL }, { "", -EINVAL }, { id_too_long, -ENAMETOOLONG },
    };
    size_t i, place;

    refuse(NULL, 1, "ann", -EINVAL);
    refuse(NULL, 0, "ann", -EINVAL);
    refuse(good, 0, "ann", -EINVAL);
    refuse(NULL, DSS_LOCK_IDS_MAX + 1, "ann", -EINVAL);
    /* The array is not read where there are too many. */
    refuse(no_ids, DSS_LOCK_IDS_MAX + 1, "ann", -E2BIG);
    refuse(good, SIZE_MAX, "ann", -E2BIG);
    refuse(good, SIZE_MAX / sizeof(good[0]) + 1, "ann", -E2BIG);

    for (i = 0; i < COUNT(bad); i++) {
        for (place = 0; place < 3; place++) {
            const char *ids[] = { "held", "b", "c" };

            ids[place] = bad[i].id;
            refuse(ids, 3, "holder", bad[i].rc);
        }
    }
    refuse((const char *const[]){ "held", "b", "held" }, 3, "holder", -EINVAL);
    refuse((const char *const[]){ "a", "b", "b" }, 3, "ann", -EINVAL);
    CHECK_RC(dss_unlockv(&handle, (const char *const[]){ "held", "held" }, 2, NULL, NULL, NULL), -EINVAL);
    CHECK_RC(dss_unlockv(&handle, (const char *const[]){ "held", NULL }, 2, NULL, NULL, NULL), -EINVAL);
    refuse((const char *const[]){ "", id_too_long }, 2, "ann", -EINVAL);
    refuse((const char *const[]){ id_too_long, "" }, 2, "ann", -ENAMETOOLONG);
    check_unchanged();
}

static void check_owner(void)
{
    refuse(good, 3, NULL, -EINVAL);
    refuse(good, 3, "", -EINVAL);
    refuse(good, 3, owner_too_long, -ENAMETOOLONG);
    /* The ids come first. */
    refuse((const char *const[]){ id_too_long }, 1, "", -ENAMETOOLONG);
    refuse((const char *const[]){ "a", "a" }, 2, owner_too_long, -EINVAL);
    refuse(good, 0, owner_too_long, -EINVAL);
    refuse(good, 65, "", -E2BIG);
    /* And the lock that is held comes last. */
    refuse((const char *const[]){ "held" }, 1, "", -EINVAL);
    refuse((const char *const[]){ "held" }, 1, owner_too_long, -ENAMETOOLONG);
    check_unchanged();
}

/* Options in memory of exactly the size they say, so that valgrind and AddressSanitizer see a byte read too far. */
static void with_size(size_t size, unsigned char last_byte, int rc)
{
    struct dss_lock_opts opts = options(0, 1000);
    unsigned char *given = calloc(1, size < sizeof(size_t) ? sizeof(size_t) : size);

    CHECK(given != NULL);
    opts.size = size;
    memcpy(given, &opts, size < sizeof(size_t) ? sizeof(size_t) : size < sizeof(opts) ? size : sizeof(opts));
    if (size > sizeof(opts))
        given[size - 1] = last_byte;
    if (rc == 0) {
        CHECK_RC(dss_lockv(&handle, good, 1, "ann", (const void *)given, NULL), 0);
        CHECK_RC(dss_unlock(&handle, good[0], "ann"), 0);
    } else {
        refuse_lockv(good, 3, "ann", (const void *)given, rc);
    }
    free(given);
}

static void check_size(void)
{
    static const size_t garbage[] = { SIZE_MAX, SIZE_MAX - 7, SIZE_MAX / 2 + 1, INT_MAX, (size_t)INT_MAX + 1, 1 << 20 };
    struct dss_lock_opts opts = options(0, 0);
    size_t i;

    for (i = 0; i < sizeof(opts); i++)
        with_size(i, 0, -EINVAL);
    with_size(sizeof(opts), 0, 0);
    for (i = sizeof(opts) + 1; i <= 2 * sizeof(opts); i++) {
        with_size(i, 0, 0);
        with_size(i, 1, -EINVAL);
    }
    for (i = 0; i < COUNT(garbage); i++) {
        opts.size = garbage[i];
        refuse_lockv(good, 3, "ann", &opts, -EINVAL);
    }
    check_unchanged();
}

static void check_options(void)
{
    char note[DSS_NOTE_MAX + 2];
    const char *const notes[] = { "", note + 1, note };
    struct dss_lock_opts opts;
    size_t i;
    int bit;

    for (bit = 3; bit < 64; bit++) {
        opts = options(UINT64_C(1) << bit, 1000);
        refuse_lockv(good, 3, "ann", &opts, -EINVAL);
    }
    opts = options(DSS_LOCK_KEEPALIVE, 0);
    refuse_lockv(good, 3, "ann", &opts, -EINVAL);

    static const uint64_t bad_ttls[] = { 1, 999, 366 * DAY_MS + 1, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
    for (i = 0; i < COUNT(bad_ttls); i++) {
        opts = options(0, bad_ttls[i]);
        refuse_lockv(good, 3, "ann", &opts, -ERANGE);
    }
    static const uint64_t good_ttls[] = { 0, 1000, 366 * DAY_MS };
    for (i = 0; i < COUNT(good_ttls); i++) {
        take(&handle, "a", "ann", 0, good_ttls[i]);
        CHECK_RC(dss_unlock(&handle, "a", NULL), 0);
    }

    memset(note, 'n', sizeof(note) - 1);
    note[sizeof(note) - 1] = '\0';
    for (i = 0; i < COUNT(notes); i++) {
        opts = options(0, 0);
        opts.note = notes[i];
        if (strlen(notes[i]) > DSS_NOTE_MAX) {
            refuse_lockv(good, 3, "ann", &opts, -ENAMETOOLONG);
        } else {
            CHECK_RC(dss_lockv(&handle, good, 3, "ann", &opts, NULL), 0);
            CHECK_RC(dss_unlockv(&handle, good, 3, "ann", NULL, NULL), 0);
        }
    }
    /* The owner comes before the options, and what is wrong with these before the lock that is held. */
    opts = options(0, 1);
    refuse_lockv(good, 3, owner_too_long, &opts, -ENAMETOOLONG);
    refuse_lockv((const char *const[]){ "held" }, 1, "ann", &opts, -ERANGE);
    static const int64_t waits[] = { 0, 1, INT64_MAX, -1, INT64_MIN };
    for (i = 0; i < COUNT(waits); i++) {
        opts = options(0, 0);
        opts.wait_ms = waits[i];
        CHECK_RC(dss_lockv(&handle, good, 3, "ann", &opts, NULL), 0);
        CHECK_RC(dss_unlockv(&handle, good, 3, "ann", NULL, NULL), 0);
    }
    check_unchanged();
}

static void refuse_transfer(const char *id, const char *from, const char *to, int rc)
{
    struct dss_grant grant;

    memset(&grant, UNTOUCHED, sizeof(grant));
    CHECK_RC(dss_lock_transfer(&handle, id, from, 1, to, &grant), rc);
    CHECK(is_all(&grant, UNTOUCHED, sizeof(grant)));
    CHECK_RC(dss_lock_transfer(&handle, id, from, 0, to, NULL), rc);
}

static void check_transfer(void)
{
    refuse_transfer(NULL, "holder", "bob", -EINVAL);
    refuse_transfer("", "holder", "bob", -EINVAL);
    refuse_transfer(id_too_long, "holder", "bob", -ENAMETOOLONG);
    refuse_transfer("held", "", "bob", -EINVAL);
    refuse_transfer("held", owner_too_long, "bob", -ENAMETOOLONG);
    refuse_transfer("held", "holder", NULL, -EINVAL);
    refuse_transfer("held", "holder", "", -EINVAL);
    refuse_transfer("held", NULL, owner_too_long, -ENAMETOOLONG);
    refuse_transfer("free", "holder", "", -EINVAL);
    refuse_transfer(id_too_long, "", "", -ENAMETOOLONG);
    refuse_transfer("", owner_too_long, "bob", -EINVAL);
    refuse_transfer("held", "", owner_too_long, -EINVAL);
    refuse_transfer("held", owner_too_long, NULL, -ENAMETOOLONG);
    check_unchanged();
}

static void check_left_and_events(void)
{
    const struct { const char *id; int rc; } bad[] = {
        { NULL, -EINVAL }, { "", -EINVAL }, { id_too_long, -ENAMETOOLONG },
    };
    int64_t left_ms;
    struct dss_event event;
    size_t i;

    for (i = 0; i < COUNT(bad); i++) {
        left_ms = 4711;
        CHECK_RC(dss_lock_left(&handle, bad[i].id, held.token, &left_ms), bad[i].rc);
        CHECK(left_ms == 4711);
        CHECK_RC(dss_lock_left(&handle, bad[i].id, 0, NULL), bad[i].rc);
    }
    CHECK_RC(dss_lock_left(&handle, "free", 0, &left_ms), -ENOLCK);
    CHECK(left_ms == 0);
    CHECK_RC(dss_lock_left(&handle, "free", 0, NULL), -ENOLCK);
    CHECK_RC(dss_lock_left(&handle, "held", 0, NULL), 0);
    memset(&event, UNTOUCHED, sizeof(event));
    CHECK_RC(dss_event_next(&handle, &event), 0);
    CHECK(is_all(&event, 0, sizeof(event)));
    CHECK_RC(dss_event_next(&handle, NULL), 0);
}

/* A bad handle comes before everything else. */
static void check_handle(struct dss_handle *bad)
{
    struct dss_lock_opts opts = { .size = 0 };
    struct dss_grant grant;
    struct dss_event event;
    int64_t left_ms = 4711;
    int rc = 4711;

    memset(&grant, UNTOUCHED, sizeof(grant));
    memset(&event, UNTOUCHED, sizeof(event));
    CHECK_RC(dss_lockv(bad, NULL, 0, NULL, &opts, &grant), -EBADF);
    CHECK_RC(dss_lockv(bad, good, 3, "ann", NULL, NULL), -EBADF);
    CHECK_RC(dss_lock_refreshv(bad, NULL, SIZE_MAX, owner_too_long, NULL, &grant), -EBADF);
    CHECK_RC(dss_unlockv(bad, NULL, 65, "", NULL, &rc), -EBADF);
    CHECK_RC(dss_lock_transfer(bad, id_too_long, "", 0, NULL, &grant), -EBADF);
    CHECK_RC(dss_lock_left(bad, id_too_long, 0, &left_ms), -EBADF);
    CHECK_RC(dss_event_fd(bad), -EBADF);
    CHECK_RC(dss_event_next(bad, &event), -EBADF);
    CHECK_RC(dss_event_next(bad, NULL), -EBADF);
    CHECK(is_all(&grant, UNTOUCHED, sizeof(grant)) && is_all(&event, UNTOUCHED, sizeof(event)));
    CHECK(left_ms == 4711 && rc == 4711);
}

int main(void)
{
    struct dss_handle closed = { NULL };

    memset(id_too_long, 'i', sizeof(id_too_long) - 1);
    memset(owner_too_long, 'o', sizeof(owner_too_long) - 1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    held = take(&handle, "held", "holder", 0, 0);
    held_since_us = stamp_of(&handle, "held");
    check_ids();
    check_owner();
    check_size();
    check_options();
    check_transfer();
    check_left_and_events();
    check_handle(NULL);
    check_handle(&closed);
    check_unchanged();
    dss_fini(&handle);
    check_handle(&handle);
    return 0;
}
