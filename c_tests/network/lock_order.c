/*
 * Two threads gave their drives back in one transaction of the server, which removed the rows in the order in which these lay on
 * its disk; somebody renewed the same drives, whose rows were locked in the order of their names. Each waited for the other, until
 * the server chose one of the two to be undone.
 *
 * Proves: however the rows lie, calls that share a transaction lock them in the order of their ids, as all others do.
 */
#include "contention/contention.h"
#include "network/psql.h"

struct release {
    struct dss_handle *handle;
    const char *id;
    _Atomic pid_t tid;
};

static void *give_back(void *arg)
{
    struct release *release = arg;

    atomic_store(&release->tid, own_thread());
    CHECK_RC(dss_unlock(release->handle, release->id, "mover"), 0);
    return NULL;
}

/* Whether the thread has left its request with the one that is at work, and sleeps until that is done. */
static int has_asked(pid_t tid)
{
    char path[64];
    long number = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
    file = fopen(path, "r");
    CHECK(file != NULL);
    if (fscanf(file, "%ld", &number) != 1)
        number = -1; /* it runs */
    fclose(file);
    return number == SYS_futex;
}

static pthread_t start(struct release *release)
{
    pthread_t thread = start_thread(give_back, release);

    while (atomic_load(&release->tid) == 0)
        sched_yield();
    return thread;
}

static void wait_until_asked(const struct release *release)
{
    struct timespec moment = {0, 50000};
    double begun = test_seconds();

    while (!has_asked(atomic_load(&release->tid))) {
        CHECK(test_seconds() - begun < 20);
        nanosleep(&moment, NULL);
    }
}

/* Locks the row, and gives how many it has locked: with "SKIP LOCKED" none that is locked already. */
static int lock_row(struct psql *psql, const char *id, const char *how)
{
    char sql[512], count[64];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM (SELECT FROM %s.lock WHERE lock_id = '%s' FOR UPDATE %s) AS l;", psql_schema(),
             id, how);
    psql_ask(psql, sql, count, sizeof(count));
    return atoi(count);
}

/* Until a transaction of the store waits for one of this session. */
static void wait_until_it_waits(struct psql *psql)
{
    struct timespec moment = {0, 5000000};
    double begun = test_seconds();
    char count[64];

    do {
        CHECK(test_seconds() - begun < 10);
        nanosleep(&moment, NULL);
        psql_ask(psql, "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid));", count,
                 sizeof(count));
    } while (strcmp(count, "0\n") == 0);
}

int main(void)
{
    struct release first = {.id = "c"}, late = {.id = "b"}, early = {.id = "a"};
    struct psql keeper, renewer;
    struct dss_handle handle;
    pthread_t threads[3];

    watchdog(HANGS_AFTER_S);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    first.handle = late.handle = early.handle = &handle;
    /* So their rows lie in this order. */
    CHECK_RC(dss_lock(&handle, "c", "mover"), 0);
    CHECK_RC(dss_lock(&handle, "b", "mover"), 0);
    CHECK_RC(dss_lock(&handle, "a", "mover"), 0);
    psql_start(&keeper);
    psql_start(&renewer);
    psql_do(&keeper, "BEGIN;");
    psql_do(&renewer, "BEGIN;");
    CHECK(lock_row(&keeper, "c", "") == 1);
    CHECK(lock_row(&renewer, "a", "") == 1);
    threads[0] = start(&first);
    wait_until_it_waits(&keeper);
    /* They come meanwhile, so they go together. */
    threads[1] = start(&late);
    threads[2] = start(&early);
    wait_until_asked(&late);
    wait_until_asked(&early);
    psql_do(&keeper, "COMMIT;");
    wait_until_it_waits(&renewer);
    CHECK(lock_row(&renewer, "b", "SKIP LOCKED") == 1);
    psql_do(&renewer, "COMMIT;");
    for (int i = 0; i < 3; i++)
        join_thread(threads[i]);
    psql_end(&renewer);
    psql_end(&keeper);
    dss_fini(&handle);
    return 0;
}
