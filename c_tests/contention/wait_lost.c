/*
 * Proves: a wake-up that is lost costs a waiter 250 ms at most. Three ways to lose it: the lock is removed by a
 * program that knows nothing of waiters (SQL); by a process in another network namespace, from where no ring comes
 * through; and by one that is killed after its commit, at the moment at which it was about to wake the waiter.
 */
#include "hazards/host_sqlite.h"

#include "contention.h"

#include <sys/socket.h>

#define LIMIT_S 0.250
#define MARGIN_S 0.010       /* of the median */
#define MARGIN_OF_MOST 0.150 /* of the slowest, but for two: the machine may be busy with something else */
#define ROUNDS 20          /* of the first way; the others begin a process in each */
#define FEWER_ROUNDS 12

struct waiter {
    struct line go, done;
    pid_t process;
};

static _Atomic double *got; /* when the waiter had the lock, in test_seconds() */

/*
 * Takes the place of the C library's: libdss wakes by a datagram. Whoever is to die dies before it is sent.
 */
static int dies_at_ring;

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, __CONST_SOCKADDR_ARG address, socklen_t length)
{
    const void *name = *(const void *const *)&address;

    if (dies_at_ring)
        kill(getpid(), SIGKILL);
    return (ssize_t)syscall(SYS_sendto, fd, bytes, size, flags, name, (long)length);
}

static void wait_again_and_again(void *arg)
{
    struct waiter *waiter = arg;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    while (hear(&waiter->go)) {
        CHECK_RC(lock_waiting(&handle, "drive", "waiter", -1, NULL), 0);
        atomic_store(got, test_seconds());
        CHECK_RC(dss_unlock(&handle, "drive", "waiter"), 0);
        tell(&waiter->done, 0);
    }
    dss_fini(&handle);
}

/* ---- The ways to remove a lock; each gives the time at which that began. ---- */

static double by_sql(void)
{
    char *path = test_path("dss.db");
    sqlite3 *db = host_open(path);
    double begin = test_seconds();

    sql(db, "DELETE FROM lock WHERE id = CAST('drive' AS BLOB)");
    CHECK(sqlite3_changes(db) == 1);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    free(path);
    return begin;
}

static void unlock_elsewhere(void *began)
{
    struct dss_handle handle;

    /* Root may have a network of its own; others only together with users of their own. */
    CHECK(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    atomic_store((_Atomic double *)began, test_seconds());
    CHECK_RC(dss_unlock(&handle, "drive", "holder"), 0);
    dss_fini(&handle);
}

static double from_another_network(void)
{
    static _Atomic double *began;

    if (began == NULL)
        began = shared_memory(sizeof(*began));
    test_join(spawn(unlock_elsewhere, (void *)began));
    return atomic_load(began);
}

static void unlock_and_die(void *began)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    dies_at_ring = 1;
    atomic_store((_Atomic double *)began, test_seconds());
    (void)dss_unlock(&handle, "drive", "holder");
    /* Not reached. */
}

static double killed_before_the_ring(void)
{
    static _Atomic double *began;
    int status;
    pid_t child;

    if (began == NULL)
        began = shared_memory(sizeof(*began));
    child = spawn(unlock_and_die, (void *)began);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return atomic_load(began);
}

/* ---- */

static void take(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "drive", "holder"), 0);
    dss_fini(&handle);
}

static void check(const char *what, double (*remove)(void), struct waiter *waiter, int rounds)
{
    struct figures latencies = {.count = 0};
    unsigned seed = 1;

    for (int round = 0; round < rounds; round++) {
        double begin;

        take();
        tell(&waiter->go, 1);
        wait_until_waiting(waiter->process, waiter->process);
        pause_at_random(&seed, 150000); /* any moment between two looks of the waiter */
        begin = remove();
        hear(&waiter->done);
        add_figure(&latencies, atomic_load(got) - begin);
    }
    show_ms(what, &latencies);
    /* A wake-up that came through would make this test say nothing. */
    CHECK(figure_at(&latencies, 0.5) > 0.02);
    CHECK(figure_at(&latencies, 0.5) < LIMIT_S + MARGIN_S);
    CHECK(figure_at(&latencies, 1 - 3.0 / rounds) < LIMIT_S + MARGIN_OF_MOST);
}

int main(void)
{
    struct waiter waiter;

    watchdog(HANGS_AFTER_S);
    use_files_in_memory();
    got = shared_memory(sizeof(*got));
    line_make(&waiter.go);
    line_make(&waiter.done);
    waiter.process = spawn(wait_again_and_again, &waiter);
    check("removed by SQL", by_sql, &waiter, ROUNDS);
    check("unlocked in another network", from_another_network, &waiter, FEWER_ROUNDS);
    check("killed before the ring", killed_before_the_ring, &waiter, FEWER_ROUNDS);
    tell(&waiter.go, 0);
    test_join(waiter.process);
    return 0;
}
