/*
 * Proves: a signal with a handler ends a wait with -EINTR, with and without SA_RESTART, at whatever moment of the call
 * it comes, also while the waiter looks at its locks and others use the store; and no such signal is missed.
 *
 * How a missed one would be seen: signals of the host are held back in a call but for its waits. So the handler can
 * tell by the mask of what it interrupts whether it runs in the call or before it, and after one in the call the call
 * must return. Where the first came before the call, a second one is sent into it.
 */
#include "endless.h"

#include <sys/time.h>
#include <ucontext.h>

/* ---- Signals at random moments. ---- */

#define KILLS test_calls(300, 60)
#define TIMERS test_calls(300, 60)
#define RANDOM_US 3000

static _Atomic int ran_before, ran_inside; /* how often the handler ran before the call and in it */
static void (*in_handler)(void);

static void note_signal(int number, siginfo_t *info, void *context)
{
    int is_inside = sigismember(&((ucontext_t *)context)->uc_sigmask, SIGUSR2) == 1;

    (void)number;
    (void)info;
    atomic_fetch_add(is_inside ? &ran_inside : &ran_before, 1);
    if (in_handler != NULL)
        in_handler();
}

static inline void handle_signal(int number, int flags)
{
    struct sigaction action = {.sa_sigaction = note_signal, .sa_flags = SA_SIGINFO | flags};

    CHECK(sigemptyset(&action.sa_mask) == 0);
    CHECK(sigaction(number, &action, NULL) == 0);
}

static inline void forget_signals(void)
{
    atomic_store(&ran_before, 0);
    atomic_store(&ran_inside, 0);
}

/* Whether the handler has run so often, in time. */
static int has_run(int times)
{
    struct timespec moment = {0, 50000};
    double begin = test_seconds();

    while (atomic_load(&ran_inside) + atomic_load(&ran_before) < times && test_seconds() - begin < PATIENCE_S)
        nanosleep(&moment, NULL);
    return atomic_load(&ran_inside) + atomic_load(&ran_before) >= times;
}

/* One wait and one signal; a second one where the first came before the call. */
static void interrupt_thread(struct dss_handle *handle, const char *const *ids, size_t count, unsigned *seed)
{
    struct waiter waiter;

    forget_signals();
    start_waiter(&waiter, handle, ids, count);
    pause_at_random(seed, RANDOM_US);
    for (int sent = 1; sent <= 2 && atomic_load(&ran_inside) == 0; sent++) {
        CHECK(pthread_kill(waiter.thread, SIGUSR1) == 0);
        CHECK(has_run(sent));
        if (atomic_load(&ran_inside) == 0)
            wait_until_inside(&waiter);
    }
    check_refused(&waiter, -EINTR);
    CHECK(atomic_load(&ran_inside) == 1);
}

static void start_timer(void)
{
    struct itimerval time = {{0, 0}, {0, 1 + rand() % RANDOM_US}};

    CHECK(setitimer(ITIMER_REAL, &time, NULL) == 0);
}

/* The same in a process of one thread: the timer runs while the call does, and once more if it was too early. */
static void again_if_too_early(void)
{
    struct itimerval time = {{0, 0}, {0, 10000}};

    if (atomic_load(&ran_inside) == 0)
        (void)setitimer(ITIMER_REAL, &time, NULL);
}

static void interrupt_process(void *arg)
{
    int flags = *(int *)arg;
    struct dss_handle handle;
    struct dss_grant grant;
    double begin;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    in_handler = again_if_too_early;
    handle_signal(SIGALRM, flags);
    for (int i = 0; i < TIMERS; i++) {
        forget_signals();
        begin = test_seconds();
        start_timer();
        CHECK_RC(lock_waiting(&handle, "held", "waiter", -1, &grant), -EINTR);
        CHECK(test_seconds() - begin < PATIENCE_S);
        CHECK_RC(grant.rc, -EEXIST);
        CHECK(atomic_load(&ran_inside) == 1);
    }
    dss_fini(&handle);
}

static void signals_at_random(struct dss_handle *handle)
{
    int flags[] = {0, SA_RESTART};
    unsigned seed = (unsigned)getpid();

    for (int i = 0; i < KILLS; i++) {
        handle_signal(SIGUSR1, flags[i % 2]);
        interrupt_thread(handle, held, 1, &seed);
    }
    for (int i = 0; i < 2 && !test_store_is("memory"); i++) /* a child of this process has no memory: store */
        test_join(spawn(interrupt_process, &flags[i]));
}

/* ---- Signals while the waiter is kept awake, and others use the store. ---- */

#define BUSY_SIGNALS test_calls(300, 24)
#define HAMMERS 2

static _Atomic int hammers_stop;

/* Each unlock wakes the waiter for {held, hammered}, which looks and has to go on waiting. */
static void hammer(struct dss_handle *handle)
{
    while (!atomic_load(&hammers_stop)) {
        int rc = dss_lock(handle, "hammered", "hammer");

        CHECK(rc == 0 || rc == -EEXIST);
        if (rc == 0)
            CHECK_RC(dss_unlock(handle, "hammered", "hammer"), 0);
    }
}

static void *hammer_thread(void *handle)
{
    hammer(handle);
    return NULL;
}

static void hammer_process(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    hammer(&handle); /* until it is killed */
}

static void interrupt_busy_waiter(struct dss_handle *handle)
{
    static const char *const both[] = {"held", "hammered"};
    unsigned seed = (unsigned)getpid();

    for (int i = 0; i < BUSY_SIGNALS; i++)
        interrupt_thread(handle, both, 2, &seed);
}

static void beside_threads(struct dss_handle *handle)
{
    pthread_t hammers[HAMMERS];

    atomic_store(&hammers_stop, 0);
    for (int i = 0; i < HAMMERS; i++)
        hammers[i] = start_thread(hammer_thread, handle);
    interrupt_busy_waiter(handle);
    atomic_store(&hammers_stop, 1);
    for (int i = 0; i < HAMMERS; i++)
        join_thread(hammers[i]);
}

static void beside_processes(struct dss_handle *handle)
{
    pid_t hammers[HAMMERS];

    atomic_store(&hammers_stop, 0);
    for (int i = 0; i < HAMMERS; i++)
        hammers[i] = spawn(hammer_process, NULL);
    interrupt_busy_waiter(handle);
    for (int i = 0; i < HAMMERS; i++) {
        CHECK(kill(hammers[i], SIGKILL) == 0);
        CHECK(waitpid(hammers[i], NULL, 0) == hammers[i]);
    }
    CHECK(dss_unlock(handle, "hammered", NULL) <= 0);
}

static void signals_while_busy(struct dss_handle *handle)
{
    handle_signal(SIGUSR1, SA_RESTART);
    beside_threads(handle);
    if (!test_store_is("memory"))
        beside_processes(handle);
}

/* ---- */

int main(void)
{
    struct dss_handle handle;

    use_files_in_memory();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "held", "holder"), 0);
    step("signals at random moments");
    signals_at_random(&handle);
    step("signals while others use the store");
    signals_while_busy(&handle);
    step("end");
    CHECK_RC(dss_unlock(&handle, "held", "holder"), 0);
    dss_fini(&handle);
    return 0;
}
