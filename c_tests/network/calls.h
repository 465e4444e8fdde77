/*
 * Every call of the interface that goes to a store, as the tests of faults use it: what has to be there before it, the call
 * itself, and a look, by another way than through the fault, at whether it has been done.
 */
#ifndef CALLS_H
#define CALLS_H

#include "locks/locks.h"

#define ID_SIZE 64

struct call {
    const char *name;
    /* Before the call, by a handle that no fault touches. */
    void (*prepare)(struct dss_handle *direct, const char *id);
    int (*make)(struct dss_handle *handle, const char *id);
    /* 1 if it is done, 0 if nothing of it is; the test ends at anything in between. NULL for one that changes nothing. */
    int (*is_done)(struct dss_handle *direct, const char *id);
    /* It takes a lock, which must not stay when its caller was told that the outcome is unknown. */
    int takes;
};

#define OF_SET 3

/* More than the buffers of a connection hold. */
#define BIG (1 << 20)

static int64_t stamp_before;
static uint64_t token_before, version_before, version_given;

static const char *part_of(const char *id, int part)
{
    static char names[OF_SET][ID_SIZE];

    snprintf(names[part], ID_SIZE, "%.50s.%d", id, part);
    return names[part];
}

static const char *const *set_of(const char *id)
{
    static const char *set[OF_SET];

    for (int i = 0; i < OF_SET; i++)
        set[i] = part_of(id, i);
    return set;
}

static int is_of(struct dss_handle *direct, const char *id, const char *owner)
{
    char *found = NULL;
    int rc = dss_lock_status(direct, id, &found, NULL), same = rc == 0 && strcmp(found, owner) == 0;

    CHECK(rc == 0 || rc == -ENOLCK);
    free(found);
    return same;
}

static int is_there(struct dss_handle *direct, const char *id)
{
    int rc = dss_lock_status(direct, id, NULL, NULL);

    CHECK(rc == 0 || rc == -ENOLCK);
    return rc == 0;
}

static void nothing_before(struct dss_handle *direct, const char *id)
{
    CHECK(!is_there(direct, id));
}

static void held_before(struct dss_handle *direct, const char *id)
{
    CHECK_RC(dss_lock(direct, id, "ann"), 0);
    stamp_before = stamp_of(direct, id);
    token_before = token_of(direct, id);
}

static void lease_before(struct dss_handle *direct, const char *id)
{
    (void)take(direct, id, "ann", 0, 600000);
    stamp_before = stamp_of(direct, id);
    token_before = token_of(direct, id);
}

static void set_before(struct dss_handle *direct, const char *id)
{
    CHECK_RC(dss_lockv(direct, set_of(id), OF_SET, "ann", NULL, NULL), 0);
}

static void first_of_set_before(struct dss_handle *direct, const char *id)
{
    CHECK_RC(dss_lock(direct, part_of(id, 0), "bob"), 0);
}

static void value_before(struct dss_handle *direct, const char *id)
{
    CHECK_RC(dss_set(direct, id, "before", 7, NULL, &version_before), 0);
    version_given = 0;
}

static void fence_before(struct dss_handle *direct, const char *id)
{
    value_before(direct, id);
    token_before = take(direct, id, "ann", 0, 0).token;
}

static void no_value_before(struct dss_handle *direct, const char *id)
{
    CHECK_RC(dss_get(direct, id, NULL, NULL, NULL), -ENOENT);
    version_before = version_given = 0;
}

/* ---- The calls ---- */

static int lock_it(struct dss_handle *handle, const char *id)
{
    return dss_lock(handle, id, "ann");
}

static int lock_for_a_time(struct dss_handle *handle, const char *id)
{
    struct dss_lock_opts opts = options(0, 600000);

    return dss_lockv(handle, &id, 1, "ann", &opts, NULL);
}

static int lock_set(struct dss_handle *handle, const char *id)
{
    return dss_lockv(handle, set_of(id), OF_SET, "ann", NULL, NULL);
}

static int lock_any(struct dss_handle *handle, const char *id)
{
    struct dss_lock_opts opts = options(DSS_LOCK_ANY, 0);

    return dss_lockv(handle, set_of(id), OF_SET, "ann", &opts, NULL);
}

static int resume_it(struct dss_handle *handle, const char *id)
{
    struct dss_lock_opts opts = options(DSS_LOCK_RESUME, 0);

    return dss_lockv(handle, &id, 1, "ann", &opts, NULL);
}

static int refresh_it(struct dss_handle *handle, const char *id)
{
    return dss_lock_refresh(handle, id, "ann");
}

static int unlock_it(struct dss_handle *handle, const char *id)
{
    return dss_unlock(handle, id, "ann");
}

static int force_it(struct dss_handle *handle, const char *id)
{
    return dss_unlock(handle, id, NULL);
}

static int unlock_set(struct dss_handle *handle, const char *id)
{
    return dss_unlockv(handle, set_of(id), OF_SET, "ann", NULL, NULL);
}

static int transfer_it(struct dss_handle *handle, const char *id)
{
    return dss_lock_transfer(handle, id, "ann", 0, "bob", NULL);
}

static int ask_status(struct dss_handle *handle, const char *id)
{
    return dss_lock_status(handle, id, NULL, NULL);
}

static int ignore_shown(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    (void)arg;
    return 0;
}

static int list_it(struct dss_handle *handle, const char *id)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_id = id};

    return dss_lock_list(handle, &filter, ignore_shown, NULL);
}

static int clean_it(struct dss_handle *handle, const char *id)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_id = id};

    return dss_lock_clean(handle, &filter, NULL, NULL);
}

static int set_it(struct dss_handle *handle, const char *id)
{
    return dss_set(handle, id, "after", 6, NULL, &version_given);
}

static int set_much(struct dss_handle *handle, const char *id)
{
    static char much[BIG] = "after";

    return dss_set(handle, id, much, sizeof(much), NULL, &version_given);
}

static int set_this_version(struct dss_handle *handle, const char *id)
{
    struct dss_guard guard = {.size = sizeof(guard), .flags = DSS_GUARD_VERSION, .version = version_before};

    return dss_set(handle, id, "after", 6, &guard, &version_given);
}

static int set_fenced(struct dss_handle *handle, const char *id)
{
    struct dss_guard guard = {.size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = id, .token = token_before};

    return dss_set(handle, id, "after", 6, &guard, &version_given);
}

static int delete_it(struct dss_handle *handle, const char *id)
{
    return dss_set(handle, id, NULL, 0, NULL, NULL);
}

static int get_it(struct dss_handle *handle, const char *id)
{
    void *found;
    int rc = dss_get(handle, id, &found, NULL, NULL);

    CHECK(rc != 0 || strcmp(found, "before") == 0);
    free(found);
    return rc;
}

static int ignore_key(const struct dss_key_info *info, void *arg)
{
    (void)info;
    (void)arg;
    return 0;
}

static int list_keys(struct dss_handle *handle, const char *id)
{
    return dss_list(handle, id, ignore_key, NULL);
}

/* ---- Whether they are done ---- */

static int ann_holds(struct dss_handle *direct, const char *id)
{
    return is_of(direct, id, "ann");
}

static int bob_holds(struct dss_handle *direct, const char *id)
{
    return is_of(direct, id, "bob");
}

static int is_gone(struct dss_handle *direct, const char *id)
{
    return !is_there(direct, id);
}

static int all_held(struct dss_handle *direct, const char *id)
{
    int held = 0;

    for (int i = 0; i < OF_SET; i++)
        held += ann_holds(direct, part_of(id, i));
    CHECK(held == 0 || held == OF_SET);
    return held != 0;
}

static int one_held(struct dss_handle *direct, const char *id)
{
    int held = 0;

    for (int i = 0; i < OF_SET; i++)
        held += ann_holds(direct, part_of(id, i));
    CHECK(held <= 1);
    return held;
}

static int set_gone(struct dss_handle *direct, const char *id)
{
    return !all_held(direct, id);
}

static int is_newer(struct dss_handle *direct, const char *id)
{
    CHECK(token_of(direct, id) == token_before);
    return stamp_of(direct, id) > stamp_before;
}

static int has_new_token(struct dss_handle *direct, const char *id)
{
    CHECK(ann_holds(direct, id) || !is_there(direct, id));
    /* Taken back, a resumed lock is gone: its former holder is fenced in any case. */
    return is_there(direct, id) && token_of(direct, id) != token_before;
}

/* A write that was done twice has another version than its caller was told. */
static int is_set(struct dss_handle *direct, const char *id)
{
    void *found;
    uint64_t version;
    int rc = dss_get(direct, id, &found, NULL, &version), is_new = rc == 0 && strcmp(found, "after") == 0;

    CHECK(rc == (version_before == 0 && !is_new ? -ENOENT : 0));
    CHECK(is_new ? version > version_before : version == version_before);
    CHECK(!is_new || version_given == 0 || version == version_given);
    free(found);
    return is_new;
}

static int is_deleted(struct dss_handle *direct, const char *id)
{
    uint64_t version;
    int rc = dss_get(direct, id, NULL, NULL, &version);

    CHECK(rc == 0 ? version == version_before : rc == -ENOENT);
    return rc != 0;
}

static const struct call calls[] = {
    {"lock", nothing_before, lock_it, ann_holds, 1},
    {"lock for a time", nothing_before, lock_for_a_time, ann_holds, 1},
    {"lock a set", nothing_before, lock_set, all_held, 1},
    {"lock any", first_of_set_before, lock_any, one_held, 1},
    {"resume", held_before, resume_it, has_new_token, 1},
    {"refresh", held_before, refresh_it, is_newer, 0},
    {"refresh a lease", lease_before, refresh_it, is_newer, 0},
    {"unlock", held_before, unlock_it, is_gone, 0},
    {"unlock a lease", lease_before, unlock_it, is_gone, 0},
    {"force", held_before, force_it, is_gone, 0},
    {"unlock a set", set_before, unlock_set, set_gone, 0},
    {"transfer", held_before, transfer_it, bob_holds, 0},
    {"status", held_before, ask_status, NULL, 0},
    {"list", held_before, list_it, NULL, 0},
    {"clean", held_before, clean_it, is_gone, 0},
    {"set", value_before, set_it, is_set, 0},
    {"set for the first time", no_value_before, set_this_version, is_set, 0},
    {"set much", value_before, set_much, is_set, 0},
    {"set a version", value_before, set_this_version, is_set, 0},
    {"set under a lock", fence_before, set_fenced, is_set, 0},
    {"delete", value_before, delete_it, is_deleted, 0},
    {"get", value_before, get_it, NULL, 0},
    {"list keys", value_before, list_keys, NULL, 0},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

#endif
