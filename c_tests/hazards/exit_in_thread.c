/*
 * One thread of the host calls exit(3) while others are in the middle of calls.
 *
 * The exit runs destructors and handlers of the libraries while the other threads go on. If the library tore down what
 * they use, the process would crash or hang instead of ending with the status that was asked for; and whatever it was
 * doing, the store must be in order afterwards.
 */
#include "hazard.h"

#include <stdatomic.h>

#define ROUNDS 25
#define THREADS 4
#define STATUS 7

static struct dss_handle handle;
static _Atomic int at_work;

static void *work(void *arg)
{
    const char *lock_id = arg;
    int rounds = 0;

    for (;;) {
        CHECK_RC(dss_lock(&handle, lock_id, "worker"), 0);
        CHECK_RC(dss_unlock(&handle, lock_id, "worker"), 0);
        if (rounds++ == 0)
            atomic_fetch_add(&at_work, 1);
    }
    return NULL;
}

static void *exit_from_here(void *arg)
{
    unsigned *seed = arg;

    while (atomic_load(&at_work) < THREADS)
        sched_yield();
    pause_at_random(seed, 2000);
    exit(STATUS);
}

static void process_that_exits(unsigned seed, int close_first)
{
    static const char *const lock_ids[THREADS] = {"a", "b", "c", "d"};

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int i = 0; i < THREADS; i++) {
        /* The process before this one may have ended while it held the lock. */
        int rc = dss_unlock(&handle, lock_ids[i], NULL);

        CHECK(rc == 0 || rc == -ENOLCK);
        start_thread(work, (void *)lock_ids[i]);
    }
    start_thread(exit_from_here, &seed);
    if (close_first) {
        struct dss_handle other;

        CHECK_RC(dss_init_uri(&other, test_uri()), 0);
        dss_fini(&other);
    }
    for (;;)
        pause();
}

int main(void)
{
    (void)test_uri();
    for (unsigned i = 0; i < ROUNDS; i++) {
        int status = -1;
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0)
            process_that_exits(i + 1, i % 2 == 0);
        CHECK(waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status))
            fprintf(stderr, "killed by signal %d\n", WTERMSIG(status));
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS);
    }
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
    return 0;
}
