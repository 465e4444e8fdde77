/*
 * Sixteen workers that count together: each gets the counter's value, and sets it to one more if nobody has set it meanwhile. At
 * the end the counter has to be what they were told: at least the increments that were acknowledged, and at most these and those
 * of which nothing is known, because the call said so (-EINPROGRESS), or because its caller was killed before it returned.
 *
 * What a worker knows stands in memory that outlives it, in one word that changes by one store: no kill can come between.
 */
#ifndef COUNTER_H
#define COUNTER_H

#include "contention/contention.h"
#include "state/state.h"

#define WORKERS 16
#define KEY "counter"
#define IN_FLIGHT 1
#define ONE_MORE 2

struct worker {
    pid_t process;
    pthread_t thread;
    _Atomic long done; /* twice the increments that were acknowledged, and 1 while one is under way */
    _Atomic long unknown;
    _Atomic long outrun, given_up; /* others were quicker; nothing was changed, since the store was out of reach */
};

struct counting {
    char uri[600];
    int may_break; /* the store may be out of reach */
    _Atomic int stop;
    struct worker workers[WORKERS];
};

static struct counting *counting;

static inline void begin_counting(void)
{
    counting = shared_memory(sizeof(*counting));
}

/* ---- A worker ---------------------------------------------------------------------------------------------------- */

static inline void note_outcome(struct worker *worker, int rc)
{
    long before = atomic_load(&worker->done) & ~IN_FLIGHT;

    if (rc == -EAGAIN) {
        atomic_fetch_add(&worker->outrun, 1);
    } else if (rc == -EINPROGRESS && counting->may_break) {
        atomic_fetch_add(&worker->unknown, 1);
    } else if ((rc == -ENOTCONN || rc == -EBUSY) && counting->may_break) {
        atomic_fetch_add(&worker->given_up, 1);
    } else {
        CHECK_RC(rc, 0);
        before += ONE_MORE;
    }
    atomic_store(&worker->done, before);
}

static inline int get_counter(struct dss_handle *handle, long *number, uint64_t *version)
{
    void *value = NULL;
    size_t len;
    int rc = dss_get(handle, KEY, &value, &len, version);

    if (rc != 0)
        return rc;
    CHECK(len == sizeof(*number));
    memcpy(number, value, sizeof(*number));
    free(value);
    return 0;
}

static inline void increment(struct dss_handle *handle, struct worker *worker)
{
    struct dss_guard guard = of_version(0);
    long number;
    int rc = get_counter(handle, &number, &guard.version);

    if ((rc == -ENOTCONN || rc == -EBUSY) && counting->may_break) {
        atomic_fetch_add(&worker->given_up, 1);
        return;
    }
    CHECK_RC(rc, 0);
    number++;
    atomic_fetch_add(&worker->done, IN_FLIGHT);
    note_outcome(worker, dss_set(handle, KEY, &number, sizeof(number), &guard, NULL));
}

/* To open is one try, unlike a call. */
static inline void open_store(struct dss_handle *handle)
{
    int rc;

    do
        rc = dss_init_uri(handle, counting->uri);
    while ((rc == -ENOTCONN || rc == -EBUSY) && counting->may_break);
    CHECK_RC(rc, 0);
}

static inline void count_on(void *arg)
{
    struct dss_handle handle;

    open_store(&handle);
    while (!atomic_load(&counting->stop))
        increment(&handle, arg);
    dss_fini(&handle);
}

static inline void *count_on_as_thread(void *arg)
{
    count_on(arg);
    return NULL;
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

/* A store in memory has no second process. */
static inline void start_worker(struct worker *worker)
{
    if (test_store_is("memory"))
        worker->thread = start_thread(count_on_as_thread, worker);
    else
        worker->process = spawn(count_on, worker);
}

/* The counter begins at 0, set by a handle that no fault touches. */
static inline void start_workers(struct dss_handle *handle)
{
    long zero = 0;

    set_value(handle, KEY, &zero, sizeof(zero));
    for (int i = 0; i < WORKERS; i++)
        start_worker(&counting->workers[i]);
}

static inline void stop_workers(void)
{
    pid_t processes[WORKERS];

    atomic_store(&counting->stop, 1);
    for (int i = 0; i < WORKERS; i++) {
        processes[i] = counting->workers[i].process;
        if (test_store_is("memory"))
            join_thread(counting->workers[i].thread);
    }
    if (!test_store_is("memory"))
        test_join_all(processes, WORKERS);
}

/* Kills one as it works, and starts another in its place, which goes on with its account. */
static inline void kill_worker(struct worker *worker)
{
    int status;
    long done;

    CHECK(kill(worker->process, SIGKILL) == 0);
    CHECK(waitpid(worker->process, &status, 0) == worker->process);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    done = atomic_load(&worker->done);
    if (done & IN_FLIGHT) {
        atomic_store(&worker->done, done & ~IN_FLIGHT);
        atomic_fetch_add(&worker->unknown, 1);
    }
    start_worker(worker);
}

static inline long acknowledged_of_all(void)
{
    long acknowledged = 0;

    for (int i = 0; i < WORKERS; i++)
        acknowledged += atomic_load(&counting->workers[i].done) / ONE_MORE;
    return acknowledged;
}

/* Ends the test unless the counter is what the workers were told. Gives how many increments are unknown. */
static inline long check_counter(struct dss_handle *handle)
{
    long number, acknowledged = acknowledged_of_all(), unknown = 0, outrun = 0, given_up = 0;
    uint64_t version;

    for (int i = 0; i < WORKERS; i++) {
        unknown += atomic_load(&counting->workers[i].unknown);
        outrun += atomic_load(&counting->workers[i].outrun);
        given_up += atomic_load(&counting->workers[i].given_up);
        CHECK((atomic_load(&counting->workers[i].done) & IN_FLIGHT) == 0);
    }
    CHECK_RC(get_counter(handle, &number, &version), 0);
    fprintf(stderr, "the counter is %ld: %ld increments acknowledged, %ld unknown; %ld outrun, %ld given up\n", number,
            acknowledged, unknown, outrun, given_up);
    CHECK(number >= acknowledged);
    CHECK(number <= acknowledged + unknown);
    return unknown;
}

#endif
