/*
 * Proves: what ends a wait and what does not, signals with a handler aside. An ignored signal, SIGCHLD, a stop and a
 * thread cancellation don't end it, and a cancelled thread ends after the call; dss_fini() of the handle from another
 * thread ends it with -EBADF; and a handler may fork: the call ends in both processes, and both go on.
 */
#include "endless.h"

/* ---- What does not end it. ---- */

#define HARMLESS 200
#define RANDOM_US 3000

static void ignored_signals(struct dss_handle *handle)
{
    static const int signals[] = {SIGUSR1, SIGCHLD, SIGWINCH, SIGURG, SIGCONT};
    unsigned seed = (unsigned)getpid();
    struct waiter waiter;
    pid_t child;

    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
    start_waiter(&waiter, handle, held, 1);
    for (int i = 0; i < HARMLESS; i++) {
        CHECK(pthread_kill(waiter.thread, signals[(size_t)i % COUNT(signals)]) == 0);
        pause_at_random(&seed, RANDOM_US);
    }
    wait_until_asleep(&waiter);
    child = fork();
    if (child == 0)
        _exit(0);
    test_join(child);
    wait_until_asleep(&waiter);
    check_gets_it(handle, &waiter);
}

static void be_stopped(void *arg)
{
    struct line *back = arg;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(lock_waiting(&handle, "held", "waiter", -1, NULL), 0);
    tell(back, 1);
    CHECK_RC(dss_unlock(&handle, "held", "waiter"), 0);
    dss_fini(&handle);
}

static void stops(struct dss_handle *handle)
{
    unsigned seed = (unsigned)getpid();
    struct line back;
    struct pollfd end;
    pid_t child;
    int status;

    line_make(&back);
    end = (struct pollfd){.fd = back.ends[0], .events = POLLIN};
    child = spawn(be_stopped, &back);
    wait_until_waiting(child, child);
    for (int i = 0; i < HARMLESS / 4; i++) {
        CHECK(kill(child, SIGSTOP) == 0);
        CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        pause_at_random(&seed, 10000);
        CHECK(kill(child, SIGCONT) == 0);
        pause_at_random(&seed, 10000);
    }
    wait_until_waiting(child, child);
    CHECK(poll(&end, 1, 0) == 0);
    CHECK_RC(dss_unlock(handle, "held", "holder"), 0);
    CHECK(hear(&back) == 1);
    test_join(child);
    CHECK_RC(dss_lock(handle, "held", "holder"), 0);
}

/* A cancelled thread goes on waiting, gets its lock, and ends after that. */
static void cancellation(struct dss_handle *handle)
{
    unsigned seed = (unsigned)getpid();

    for (int i = 0; i < 20; i++) {
        struct waiter waiter;
        void *result;

        start_waiter(&waiter, handle, held, 1);
        pause_at_random(&seed, RANDOM_US);
        CHECK(pthread_cancel(waiter.thread) == 0);
        wait_until_asleep(&waiter);
        CHECK_RC(dss_unlock(handle, "held", "holder"), 0);
        CHECK(comes_back(&waiter));
        CHECK(pthread_join(waiter.thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
        CHECK_RC(waiter.rc, 0);
        test_check_owner(handle, "held", "waiter");
        CHECK_RC(dss_unlock(handle, "held", "waiter"), 0);
        CHECK_RC(dss_lock(handle, "held", "holder"), 0);
    }
}

/* ---- The end of the handle. ---- */

#define CLOSES 60
#define TOGETHER 4

static void closed_handle(void)
{
    static const char *const ids[] = {"held", "free"};
    unsigned seed = (unsigned)getpid();

    for (int i = 0; i < CLOSES; i++) {
        struct waiter waiters[TOGETHER];
        struct dss_handle own;
        int t;

        CHECK_RC(dss_init_uri(&own, test_uri()), 0);
        for (t = 0; t < TOGETHER; t++)
            start_waiter(&waiters[t], &own, ids, 2);
        if (i % 2 == 0)
            for (t = 0; t < TOGETHER; t++)
                wait_until_asleep(&waiters[t]);
        pause_at_random(&seed, RANDOM_US);
        dss_fini(&own);
        for (t = 0; t < TOGETHER; t++) {
            if (i % 2 == 0) {
                check_refused(&waiters[t], -EBADF);
                continue;
            }
            /* The handle may have been closed before the call. */
            CHECK(comes_back(&waiters[t]));
            join_thread(waiters[t].thread);
            CHECK_RC(waiters[t].rc, -EBADF);
        }
    }
}

/* ---- A handler that forks. ---- */

#define FORKS 60

static _Atomic pid_t forked;

static void fork_once(int number)
{
    (void)number;
    atomic_store(&forked, fork());
}

/* In the child of a handler: the call has come back, and the handle works on. */
static void go_on_as_child(struct dss_handle *handle, const struct dss_grant *grant, int rc)
{
    char own[32];

    CHECK_RC(rc, -EINTR);
    CHECK(grant->token == 0 && grant->rc != 0);
    if (test_store_is("memory")) {
        CHECK_RC(dss_lock(handle, "of a child", "child"), -ECHILD);
        _exit(0);
    }
    snprintf(own, sizeof(own), "of child %d", (int)getpid());
    CHECK_RC(dss_lock(handle, own, "child"), 0);
    CHECK_RC(lock_waiting(handle, "held", "child", 20, NULL), -ETIMEDOUT);
    test_check_owner(handle, "held", "holder");
    CHECK_RC(dss_unlock(handle, own, "child"), 0);
    _exit(0);
}

struct forker {
    struct dss_handle *handle;
    _Atomic pid_t tid;
};

static void *wait_and_fork(void *arg)
{
    struct forker *forker = arg;
    struct dss_grant grant;
    pid_t parent = getpid();
    int rc;

    memset(&grant, 0xa5, sizeof(grant));
    atomic_store(&forker->tid, own_thread());
    rc = lock_waiting(forker->handle, "held", "waiter", -1, &grant);
    if (getpid() != parent)
        go_on_as_child(forker->handle, &grant, rc);
    CHECK_RC(rc, -EINTR);
    CHECK_RC(grant.rc, -EEXIST);
    return NULL;
}

/* Somebody else waits all the while, in the parent, and gets the lock in the end. */
static void forks_in_handler(struct dss_handle *handle)
{
    struct timespec moment = {0, 50000};
    unsigned seed = (unsigned)getpid();
    struct sigaction action = {.sa_handler = fork_once, .sa_flags = SA_RESTART};
    struct waiter bystander;

    CHECK(sigemptyset(&action.sa_mask) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    start_waiter(&bystander, handle, held, 1);
    for (int i = 0; i < FORKS; i++) {
        struct forker forker = {.handle = handle};
        pthread_t thread = start_thread(wait_and_fork, &forker);

        while (atomic_load(&forker.tid) == 0)
            nanosleep(&moment, NULL);
        wait_until_waiting(getpid(), atomic_load(&forker.tid));
        pause_at_random(&seed, RANDOM_US);
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        join_thread(thread);
        CHECK(atomic_load(&forked) > 0);
        test_join(atomic_load(&forked));
    }
    wait_until_asleep(&bystander);
    check_gets_it(handle, &bystander);
}

/* ---- */

int main(void)
{
    struct dss_handle handle;

    use_files_in_memory();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    step("ignored signals");
    ignored_signals(&handle);
    if (!test_store_is("memory")) {
        step("stops");
        stops(&handle);
    }
    step("cancellation");
    cancellation(&handle);
    step("dss_fini");
    closed_handle();
    step("forks in a handler");
    forks_in_handler(&handle);
    step("end");
    CHECK_RC(dss_unlock(&handle, "held", "holder"), 0);
    dss_fini(&handle);
    return 0;
}
