/*
 * Two movers wanted the same drives, one from the first to the last and one from the last to the first. Both were told of a
 * deadlock, by a server that neither knew to be there.
 *
 * Proves: processes that take the same eight locks together, in opposite and in random orders, refresh and release them in
 * other orders, and clean what others hold meanwhile, get no error but those which say that somebody else holds a lock; all
 * make progress; and PostgreSQL has not met a deadlock.
 *
 *   orders [seconds], with two processes and then with six
 */
#include "contention/contention.h"
#include "network/psql.h"

#define SECONDS 5
#define IDS 8
#define MOST 6
#define PART_EVERY 4
#define CLEAN_EVERY 8
#define GRANTS_AT_LEAST 10 /* of each worker: all make progress */
#define PATIENCE_S 40      /* for these, on a busy machine */

struct worker {
    _Atomic long grants, refused, timed_out, lost, cleaned;
};

struct scene {
    _Atomic int stop;
    struct worker workers[MOST];
};

static struct scene *scene;
static const char *const names[IDS] = {"id 0", "id 1", "id 2", "id 3", "id 4", "id 5", "id 6", "id 7"};

struct run {
    struct dss_handle handle;
    struct worker *worker;
    int number;
    char owner[32];
    unsigned seed;
    const char *ids[IDS]; /* the first ones are held */
    uint64_t tokens[IDS];
    size_t count;
};

static void shuffle(struct run *run)
{
    for (size_t i = run->count; i > 1; i--) {
        size_t other = (size_t)rand_r(&run->seed) % i;
        const char *id = run->ids[i - 1];
        uint64_t token = run->tokens[i - 1];

        run->ids[i - 1] = run->ids[other];
        run->ids[other] = id;
        run->tokens[i - 1] = run->tokens[other];
        run->tokens[other] = token;
    }
}

/* The first process goes up, the second down, others as it comes; and now and then each takes some of them alone. */
static void choose(struct run *run)
{
    run->count = IDS;
    for (int i = 0; i < IDS; i++)
        run->ids[i] = names[run->number == 1 ? IDS - 1 - i : i];
    if (run->number > 1)
        shuffle(run);
    if (rand_r(&run->seed) % PART_EVERY == 0)
        run->count = 1 + (size_t)rand_r(&run->seed) % IDS;
}

static void no_deadlock(void)
{
    CHECK(strstr(dss_last_error(), "deadlock") == NULL);
}

static int take(struct run *run)
{
    static const int waits_ms[] = {0, 20, 500, 500};
    struct ask ask = {.ids = run->ids, .count = run->count, .owner = run->owner,
                      .wait_ms = waits_ms[rand_r(&run->seed) % COUNT(waits_ms)]};
    struct dss_grant grants[IDS];
    int rc = lock_set(&run->handle, &ask, grants);

    for (size_t i = 0; i < run->count; i++)
        run->tokens[i] = grants[i].token;
    if (rc == 0) {
        atomic_fetch_add(&run->worker->grants, 1);
        return 1;
    }
    no_deadlock();
    CHECK_RC(rc, ask.wait_ms == 0 ? -EEXIST : -ETIMEDOUT);
    atomic_fetch_add(rc == -EEXIST ? &run->worker->refused : &run->worker->timed_out, 1);
    return 0;
}

/* It may have been cleaned, and then taken by somebody else. */
static void check_held(struct run *run, int rc)
{
    if (rc == 0)
        return;
    no_deadlock();
    CHECK_RC(rc, rc == -EACCES ? -EACCES : -ENOLCK);
    atomic_fetch_add(&run->worker->lost, 1);
}

static void clean_all(struct run *run)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "id "};

    CHECK_RC(dss_lock_clean(&run->handle, &filter, NULL, NULL), 0);
    atomic_fetch_add(&run->worker->cleaned, 1);
}

static void work(void *arg)
{
    struct run run = {.worker = arg, .number = (int)((struct worker *)arg - scene->workers)};

    run.seed = (unsigned)run.number + 1;
    snprintf(run.owner, sizeof(run.owner), "worker %d", run.number);
    CHECK_RC(dss_init_uri(&run.handle, test_uri()), 0);
    while (!atomic_load(&scene->stop)) {
        choose(&run);
        if (take(&run)) {
            shuffle(&run);
            check_held(&run, dss_lock_refreshv(&run.handle, run.ids, run.count, run.owner, run.tokens, NULL));
            shuffle(&run);
            check_held(&run, dss_unlockv(&run.handle, run.ids, run.count, run.owner, run.tokens, NULL));
        }
        if (rand_r(&run.seed) % CLEAN_EVERY == 0)
            clean_all(&run);
    }
    dss_fini(&run.handle);
}

/* How many deadlocks the server has met in the database of all tests; so nobody else may use it meanwhile. */
static long deadlocks(void)
{
    struct psql psql;
    char answer[64];

    if (!test_store_is("postgres"))
        return 0;
    psql_start(&psql);
    psql_ask(&psql, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database();", answer, sizeof(answer));
    psql_end(&psql);
    return atol(answer);
}

/* Ends the test if a worker has failed meanwhile. */
static void rest(const pid_t *children, int count, double seconds)
{
    struct timespec moment = {0, 10000000};
    double end = test_seconds() + seconds;

    do {
        nanosleep(&moment, NULL);
        for (int i = 0; i < count; i++)
            CHECK(waitpid(children[i], NULL, WNOHANG) == 0);
    } while (test_seconds() < end);
}

static void wait_for_progress(const pid_t *children, int count)
{
    double end = test_seconds() + PATIENCE_S;

    for (int i = 0; i < count; i++) {
        while (atomic_load(&scene->workers[i].grants) < GRANTS_AT_LEAST) {
            CHECK(test_seconds() < end);
            rest(children, count, 0);
        }
    }
}

static void show(const struct worker *worker)
{
    fprintf(stderr, "  %ld grants, %ld refused, %ld timed out, %ld lost, %ld cleans\n", worker->grants, worker->refused,
            worker->timed_out, worker->lost, worker->cleaned);
}

static void together(int count, double seconds)
{
    long before = deadlocks();
    pid_t children[MOST] = {0};

    memset(scene, 0, sizeof(*scene));
    for (int i = 0; i < count; i++)
        children[i] = spawn(work, &scene->workers[i]);
    rest(children, count, seconds);
    wait_for_progress(children, count);
    atomic_store(&scene->stop, 1);
    test_join_all(children, (size_t)count);
    fprintf(stderr, "%d processes\n", count);
    for (int i = 0; i < count; i++)
        show(&scene->workers[i]);
    CHECK(deadlocks() == before);
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : SECONDS;

    watchdog(100 + 2 * (unsigned)seconds);
    (void)test_uri();
    scene = shared_memory(sizeof(*scene));
    together(2, seconds);
    together(MOST, seconds);
    return 0;
}
