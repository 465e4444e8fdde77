/*
 * Proves: dss_lock_list() shows the locks as they were at one moment, whatever is taken and released while it runs, by
 * its own callback or by another thread.
 */
#include <stdatomic.h>

#include "locks.h"

#define MANY 1000

static struct dss_handle handle;

static void name(char *id, const char *kind, int number)
{
    snprintf(id, 32, "%s-%06d", kind, number);
}

static void take_many(int count)
{
    char names[DSS_LOCK_IDS_MAX][32];
    const char *ids[DSS_LOCK_IDS_MAX];
    int done, i;

    for (done = 0; done < count; done += i) {
        for (i = 0; i < DSS_LOCK_IDS_MAX && done + i < count; i++) {
            name(names[i], "lock", done + i);
            ids[i] = names[i];
        }
        CHECK_RC(dss_lockv(&handle, ids, (size_t)i, "ann", NULL, NULL), 0);
    }
}

struct walk {
    int next;
    int count;
};

/* Behind and ahead of where the list stands: releases, takes, takes over, and puts new ones in between. */
static int change_while_listing(const struct dss_lock_info *info, void *arg)
{
    struct walk *walk = arg;
    char id[32];

    name(id, "lock", walk->next);
    CHECK(strcmp(info->lock_id, id) == 0 && strcmp(info->lock_owner, "ann") == 0);
    if (walk->next % 20 == 0) {
        name(id, "lock", walk->count - 1 - walk->next);
        if (dss_unlock(&handle, id, "ann") == 0 && walk->next % 40 == 0)
            CHECK_RC(dss_lock(&handle, id, "bob"), 0);
        name(id, "lock-000000", walk->next); /* comes before most of them */
        CHECK_RC(dss_lock(&handle, id, "new"), 0);
        name(id, "new", walk->next); /* comes after all of them */
        CHECK_RC(dss_lock(&handle, id, "new"), 0);
    }
    walk->next++;
    return 0;
}

static void check_snapshot_from_callback(int count)
{
    struct walk walk = { 0, count };

    take_many(count);
    CHECK_RC(dss_lock_list(&handle, NULL, change_while_listing, &walk), 0);
    CHECK(walk.next == count);
    clear(&handle);
}

static _Atomic int may_stop;
static _Atomic int changes;

/* Moves one lock up and down among the others: at any moment there is exactly one of two. */
static void *keep_changing(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; !may_stop; i++) {
        const char *from = i % 2 == 0 ? "a-first" : "z-last", *to = i % 2 == 0 ? "z-last" : "a-first";

        CHECK_RC(dss_lock(&handle, to, "mover"), 0);
        CHECK_RC(dss_unlock(&handle, from, "mover"), 0);
        changes++;
    }
    return NULL;
}

static int note_moved(const struct dss_lock_info *info, void *arg)
{
    int *seen = arg;

    if (strcmp(info->lock_owner, "mover") == 0)
        *seen |= info->lock_id[0] == 'a' ? 1 : 2;
    return 0;
}

/* A list that read at two moments would at times miss both. */
static void check_snapshot_from_thread(int count)
{
    pthread_t thread;
    int i, begun;

    take_many(count);
    CHECK_RC(dss_lock(&handle, "a-first", "mover"), 0);
    may_stop = 0;
    thread = start_thread(keep_changing, NULL);
    for (i = 0; i < test_repeat(30, 5); i++) {
        int seen = 0;

        begun = changes;
        CHECK_RC(dss_lock_list(&handle, NULL, note_moved, &seen), 0);
        CHECK(seen != 0);
        while (changes < begun + 2)
            sched_yield();
    }
    may_stop = 1;
    join_thread(thread);
    clear(&handle);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_snapshot_from_callback(test_repeat(MANY, 200));
    check_snapshot_from_thread(test_repeat(MANY, 200));
    dss_fini(&handle);
    return 0;
}
