/*
 * A host closes its descriptors while its other threads are in calls, and opens files when these
 * calls have ended.
 */
#ifndef CLOSED_IN_CALL_H
#define CLOSED_IN_CALL_H

#include "closed_descriptors.h"

struct hammer {
    struct host *host;
    pthread_t thread;
    int number;
    _Atomic int finished, rests, is_resting, stop;
};

/* Whether an answer may be given to a call during which descriptors were closed. */
static int is_of_interrupted_call(int rc)
{
    return rc == -EINPROGRESS || (test_store_is_server() && rc == -ENOTCONN);
}

/* The answer, or 1 for that of a call which was interrupted. */
static int hammer_judged(struct hammer *hammer, const char *call, int rc, int done_before,
                         double began, int also)
{
    struct shared *shared = hammer->host->scene->shared;
    int is_interrupted =
        atomic_load(&shared->closings_begun) > done_before && is_of_interrupted_call(rc);

    judge(__LINE__, call, is_interrupted || rc == also ? 0 : rc, 0, test_seconds() - began, 0);
    atomic_fetch_add(&hammer->finished, 1);
    return is_interrupted ? 1 : rc;
}

static int hammer_lock(struct hammer *hammer, const char *id, const char *owner, int also)
{
    int done_before = atomic_load(&hammer->host->scene->shared->closings_done);
    double began = test_seconds();
    int rc = dss_lock(&hammer->host->handle, id, owner);

    return hammer_judged(hammer, "dss_lock of a thread", rc, done_before, began, also);
}

/* After a call whose outcome is unknown the lock is gone or not. */
static void hammer_unlock(struct hammer *hammer, const char *id, const char *owner)
{
    int is_unknown = 0;

    for (int tries = 0; tries < 3; tries++) {
        int done_before = atomic_load(&hammer->host->scene->shared->closings_done);
        double began = test_seconds();
        int rc = dss_unlock(&hammer->host->handle, id, owner);

        rc = hammer_judged(hammer, "dss_unlock of a thread", rc, done_before, began,
                           is_unknown ? -ENOLCK : 0);
        if (rc != 1)
            return;
        is_unknown = 1;
    }
}

/* The lock that others want as well: nobody else may be inside. */
static void contend_for(struct shared *shared, int me, const char *id, struct hammer *hammer,
                        struct dss_handle *handle)
{
    char owner[32];
    int rc, found = 0;

    snprintf(owner, sizeof(owner), "contender %d", me);
    rc = hammer != NULL ? hammer_lock(hammer, id, owner, -EEXIST) : dss_lock(handle, id, owner);
    if (rc != 0) {
        EXPECT(hammer != NULL || rc == -EEXIST, "the neighbour's dss_lock gave %d: %s", rc,
               dss_last_error());
        return;
    }
    EXPECT(atomic_compare_exchange_strong(&shared->inside, &found, me), "two holders: %d and %d",
           me, found);
    sched_yield();
    found = me;
    EXPECT(atomic_compare_exchange_strong(&shared->inside, &found, 0), "two holders: %d, then %d",
           me, found);
    if (hammer != NULL)
        hammer_unlock(hammer, id, owner);
    else if ((rc = dss_unlock(handle, id, owner)) != 0)
        violation("the neighbour's dss_unlock gave %d: %s", rc, dss_last_error());
}

static void *hammer_away(void *arg)
{
    struct hammer *hammer = arg;
    struct shared *shared = hammer->host->scene->shared;
    char id[96], contended[96];

    id_of(hammer->host->scene, "hammered", hammer->number, id);
    id_of(hammer->host->scene, "contended", 0, contended);
    while (!atomic_load(&hammer->stop) && atomic_load(violation_count) < ENOUGH) {
        if (hammer_lock(hammer, id, "host", 0) == 0)
            hammer_unlock(hammer, id, "host");
        contend_for(shared, hammer->number + 1, contended, hammer, NULL);
        while (atomic_load(&hammer->rests) && !atomic_load(&hammer->stop)) {
            atomic_store(&hammer->is_resting, 1);
            sched_yield();
        }
        atomic_store(&hammer->is_resting, 0);
    }
    atomic_store(&hammer->is_resting, 1);
    atomic_fetch_add(&hammer->finished, 1000000);
    return NULL;
}

static void wait_for_calls(struct hammer *hammers, int count, int calls)
{
    int before[4];

    for (int i = 0; i < count; i++)
        before[i] = atomic_load(&hammers[i].finished);
    for (int i = 0; i < count; i++)
        while (atomic_load(&hammers[i].finished) < before[i] + calls)
            sleep_ms(1);
}

static void let_rest(struct hammer *hammers, int count, int rests)
{
    for (int i = 0; i < count; i++)
        atomic_store(&hammers[i].rests, rests);
    for (int i = 0; i < count; i++)
        while (rests && !atomic_load(&hammers[i].is_resting))
            sleep_ms(1);
}

static void in_call(struct host *host)
{
    struct hammer hammers[2];
    int count = 2;

    for (int i = 0; i < count; i++) {
        memset(&hammers[i], 0, sizeof(hammers[i]));
        hammers[i].host = host;
        hammers[i].number = i;
        hammers[i].thread = start_thread(hammer_away, &hammers[i]);
    }
    wait_for_calls(hammers, count, 2);
    pause_at_random(&host->scene->seed, 5000);
    if (getenv("DSS_TEST_AT_ONCE") != NULL) {
        close_and_open(host);
    } else {
        close_descriptors(host);
        wait_for_calls(hammers, count, 4);
        let_rest(hammers, count, 1);
        close_and_open(host);
        let_rest(hammers, count, 0);
    }
    wait_for_calls(hammers, count, 4);
    make_calls(host);
    for (int i = 0; i < count; i++) {
        atomic_store(&hammers[i].stop, 1);
        join_thread(hammers[i].thread);
    }
}

#endif
