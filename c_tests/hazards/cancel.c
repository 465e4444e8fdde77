/*
 * The host cancels a thread, by pthread_cancel(3), that is just inside a call.
 *
 * Reads, writes and fsync are cancellation points: the thread's stack would be unwound through SQLite in the middle of
 * a transaction and through Rust, which ends the whole process. So a cancellation waits until the call is over and
 * acts at the next cancellation point of the host's own.
 */
#include "hazard.h"

#include <stdatomic.h>

#define THREADS 4
#define ROUNDS 30

static struct dss_handle handle;

struct worker {
    char lock_id[32];
    _Atomic int calls;
    int inside;    /* between the begin and the end of a pair of calls */
    int cut_short; /* cancelled there */
};

static void note_the_end(void *arg)
{
    struct worker *worker = arg;

    worker->cut_short = worker->inside;
}

static void *lock_and_unlock(void *arg)
{
    struct worker *worker = arg;

    pthread_cleanup_push(note_the_end, worker);
    for (;;) {
        worker->inside = 1;
        CHECK_RC(dss_lock(&handle, worker->lock_id, "worker"), 0);
        CHECK_RC(dss_lock_status(&handle, worker->lock_id, NULL, NULL), 0);
        CHECK_RC(dss_unlock(&handle, worker->lock_id, "worker"), 0);
        worker->inside = 0;
        atomic_fetch_add(&worker->calls, 1);
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void end_worker(pthread_t thread, struct worker *worker)
{
    void *result;

    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK(!worker->cut_short);
    CHECK_RC(dss_lock_status(&handle, worker->lock_id, NULL, NULL), -ENOLCK);
}

static void cancel_workers(unsigned *seed)
{
    static struct worker workers[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        memset(&workers[i], 0, sizeof(workers[i]));
        snprintf(workers[i].lock_id, sizeof(workers[i].lock_id), "lock %d", i);
        threads[i] = start_thread(lock_and_unlock, &workers[i]);
    }
    while (atomic_load(&workers[THREADS - 1].calls) == 0)
        sched_yield();
    for (int i = 0; i < THREADS; i++) {
        pause_at_random(seed, 2000);
        end_worker(threads[i], &workers[i]);
    }
}

/* Opening and closing touch files too. */
static void *open_and_close(void *arg)
{
    struct worker *worker = arg;

    pthread_cleanup_push(note_the_end, worker);
    for (;;) {
        struct dss_handle own;

        worker->inside = 1;
        CHECK_RC(dss_init_uri(&own, test_uri()), 0);
        dss_fini(&own);
        worker->inside = 0;
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

/* While the last handle is closed and the first one opened again and again. */
static void cancel_openers(unsigned *seed)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct worker worker = {.inside = 0};
        pthread_t thread = start_thread(open_and_close, &worker);
        void *result;

        pause_at_random(seed, 10000);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED && !worker.cut_short);
    }
}

/* What the host had set before a call is set after it. */
static void state_is_restored(void)
{
    int before, after;

    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
    CHECK(before == PTHREAD_CANCEL_ENABLE);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &after) == 0);
    CHECK(after == PTHREAD_CANCEL_DISABLE);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, NULL, "ann"), -EINVAL);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &after) == 0);
    CHECK(after == PTHREAD_CANCEL_ENABLE);
}

int main(void)
{
    unsigned seed = 1;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    state_is_restored();
    for (int i = 0; i < ROUNDS; i++)
        cancel_workers(&seed);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
    if (!test_store_is("memory"))
        cancel_openers(&seed);
    return 0;
}
