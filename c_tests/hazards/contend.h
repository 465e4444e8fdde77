/*
 * Many contenders for one lock, and a word in shared memory that sees two of them inside at once.
 *
 * A double grant is invisible to the library's own answers, so the test keeps a witness beside it: whoever was granted
 * the lock writes its number into the word and must find it empty, and must find its own number there when it leaves.
 */
#ifndef CONTEND_H
#define CONTEND_H

#include "hazard.h"

#include <stdatomic.h>
#include <sys/mman.h>

/* The calls of one copy of the library: the linked one, or one that was loaded by hand. */
struct dss_api {
    int (*init_uri)(struct dss_handle *handle, const char *uri);
    void (*fini)(struct dss_handle *handle);
    int (*lock)(struct dss_handle *handle, const char *lock_id, const char *lock_owner);
    int (*unlock)(struct dss_handle *handle, const char *lock_id, const char *lock_owner);
    const char *(*last_error)(void);
};

/* Lives in memory that forked processes share. */
struct arena {
    _Atomic int holder;     /* the number of the contender that holds the lock, 0 for none */
    _Atomic int contenders; /* numbers given so far */
    _Atomic int stop;       /* set by the first one that sees something wrong */
    _Atomic long grants;
};

static inline const struct dss_api *linked_api(void)
{
    static const struct dss_api api = {dss_init_uri, dss_fini, dss_lock, dss_unlock, dss_last_error};

    return &api;
}

static inline struct arena *arena_make(void)
{
    struct arena *arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(arena != MAP_FAILED);
    return arena;
}

/* Ends this process with a failure and the others soon. */
static inline void arena_fail(struct arena *arena, const char *what, int one, int other)
{
    atomic_store(&arena->stop, 1);
    fprintf(stderr, "process %d: %s (%d, %d)\n", (int)getpid(), what, one, other);
    _exit(1);
}

/* Between a grant and its unlock: no other contender may be in here. */
static inline void be_inside(struct arena *arena, int me)
{
    int found = atomic_exchange(&arena->holder, me);

    if (found != 0)
        arena_fail(arena, "entered while another holds the lock", me, found);
    /* Lets the others try: they must be refused. */
    sched_yield();
    found = atomic_exchange(&arena->holder, 0);
    if (found != me)
        arena_fail(arena, "another entered while this one holds the lock", me, found);
}

static inline void contend_once(const struct dss_api *api, struct dss_handle *handle, struct arena *arena,
                                const char *lock_id, int me)
{
    char owner[32];
    int rc;

    snprintf(owner, sizeof(owner), "contender %d", me);
    rc = api->lock(handle, lock_id, owner);
    if (rc == -EEXIST)
        return;
    if (rc != 0)
        arena_fail(arena, api->last_error(), me, rc);
    be_inside(arena, me);
    atomic_fetch_add(&arena->grants, 1);
    rc = api->unlock(handle, lock_id, owner);
    if (rc != 0)
        arena_fail(arena, api->last_error(), me, rc);
}

/* So often at least the lock goes from hand to hand, for which a busy machine gets more time. */
#define GRANTS_AT_LEAST 20
#define PATIENCE_S 60

/* Takes and gives back the lock for so many seconds, under a number of its own. */
static inline void contend(const struct dss_api *api, struct dss_handle *handle, struct arena *arena,
                           const char *lock_id, double seconds)
{
    double begun = test_seconds(), took = 0;
    int me = atomic_fetch_add(&arena->contenders, 1) + 1;

    while (!atomic_load(&arena->stop) &&
           (took < seconds || (atomic_load(&arena->grants) < GRANTS_AT_LEAST && took < PATIENCE_S))) {
        contend_once(api, handle, arena, lock_id, me);
        took = test_seconds() - begun;
    }
}

/* Ends the test unless all contenders ended well and the lock really went from hand to hand. */
static inline void arena_close(struct arena *arena, const pid_t *children, int count)
{
    for (int i = 0; i < count; i++)
        test_join(children[i]);
    CHECK(!atomic_load(&arena->stop));
    CHECK(atomic_load(&arena->holder) == 0);
    CHECK(atomic_load(&arena->grants) >= GRANTS_AT_LEAST);
}

#endif
