/*
 * What a host does to threads of its own that wait for a lock: it cancels them, it ends by exit(3) while they wait, and it closes
 * their handle.
 *
 * Proves: a cancellation leaves a waiter alone until its call is over, by a signal or by dss_fini, and acts then; exit ends the
 * process at once, with its status; nobody takes the lock afterwards for one that is gone; and nothing is printed.
 */
#include "rude.h"

#define WAITERS 3
#define STATUS 9

struct waiter {
    struct dss_handle *handle;
    _Atomic int thread_number, rc;
};

static void ignore(int signal)
{
    (void)signal;
}

static void *wait_for_ever(void *arg)
{
    struct waiter *waiter = arg;
    const char *ids[] = {"held"};
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = -1};

    atomic_store(&waiter->thread_number, (int)own_thread());
    atomic_store(&waiter->rc, dss_lockv(waiter->handle, ids, 1, "waiter", &opts, NULL));
    pthread_testcancel();
    return NULL;
}

static pthread_t start_waiter(struct waiter *waiter, struct dss_handle *handle)
{
    pthread_t thread;

    waiter->handle = handle;
    atomic_store(&waiter->thread_number, 0);
    atomic_store(&waiter->rc, 1);
    thread = start_thread(wait_for_ever, waiter);
    while (atomic_load(&waiter->thread_number) == 0)
        sched_yield();
    wait_until_waiting(getpid(), atomic_load(&waiter->thread_number));
    return thread;
}

static void check_cancelled(pthread_t thread, struct waiter *waiter, int rc)
{
    void *result;

    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(atomic_load(&waiter->rc) == rc);
}

static void cancelled(struct dss_handle *handle)
{
    struct dss_handle other;
    struct waiter waiter;
    pthread_t thread = start_waiter(&waiter, handle);

    CHECK(pthread_cancel(thread) == 0);
    poll(NULL, 0, 50);
    CHECK(atomic_load(&waiter.rc) == 1); /* it still waits */
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    check_cancelled(thread, &waiter, -EINTR);
    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    thread = start_waiter(&waiter, &other);
    CHECK(pthread_cancel(thread) == 0);
    dss_fini(&other);
    check_cancelled(thread, &waiter, -EBADF);
}

static void *exit_now(void *arg)
{
    (void)arg;
    exit(STATUS);
}

static void end_while_others_wait(void)
{
    struct dss_handle handle;
    struct waiter waiters[WAITERS];

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    if (test_store_is("memory"))
        CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    for (int i = 0; i < WAITERS; i++)
        (void)start_waiter(&waiters[i], &handle);
    (void)start_thread(exit_now, NULL);
    for (;;)
        pause();
}

static void exits(struct dss_handle *handle)
{
    pid_t child = fork();
    int status = -1;

    CHECK(child >= 0);
    if (child == 0)
        end_while_others_wait();
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == STATUS);
    /* Nobody of them takes it later. */
    CHECK_RC(dss_unlock(handle, "held", "holder"), 0);
    CHECK_RC(dss_lock(handle, "held", "holder"), 0);
}

int main(void)
{
    struct sigaction action = {.sa_handler = ignore};
    struct dss_handle handle;
    int printed;

    (void)test_uri();
    watchdog(HANGS_AFTER_S);
    printed = begin_silence();
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    cancelled(&handle);
    exits(&handle);
    CHECK_RC(dss_unlock(&handle, "held", "holder"), 0);
    dss_fini(&handle);
    check_silence(printed);
    return 0;
}
