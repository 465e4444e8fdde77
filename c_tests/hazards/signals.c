/*
 * The host has a timer whose signal comes a thousand times a second, with a handler that does not restart calls; and a
 * host whose handler forks.
 *
 * A signal in the middle of a call interrupts its reads, writes and waits with EINTR, which must not become a wrong
 * answer. And fork(3) in a handler runs the library's own fork handlers: if the signal came while the same thread was
 * inside the library with a lock in its hands, they would wait for it for ever.
 */
#include "hazard.h"

#include <sys/time.h>

#define SECONDS 1.5
#define TICKS 20

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

static void tick_and_fork(int number)
{
    (void)number;
    ticks++;
    if (ticks % 10 == 0 && fork() == 0)
        _exit(0);
}

static void start_timer(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    struct itimerval interval = {{0, 1000}, {0, 1000}};

    CHECK(sigemptyset(&action.sa_mask) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
}

static void stop_timer(void)
{
    struct itimerval none = {{0, 0}, {0, 0}};

    CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

/* Each cell that one process can ask for: no answer may depend on a signal. */
static void one_round(struct dss_handle *handle)
{
    struct timeval taken, refreshed;

    CHECK_RC(dss_lock(handle, "drive", "ann"), 0);
    CHECK_RC(dss_lock(handle, "drive", "bob"), -EEXIST);
    CHECK_RC(dss_lock_status(handle, "drive", NULL, &taken), 0);
    CHECK_RC(dss_lock_refresh(handle, "drive", "ann"), 0);
    CHECK_RC(dss_lock_status(handle, "drive", NULL, &refreshed), 0);
    CHECK(test_microseconds(refreshed) > test_microseconds(taken));
    CHECK_RC(dss_unlock(handle, "drive", "bob"), -EACCES);
    CHECK_RC(dss_unlock(handle, "drive", "ann"), 0);
    CHECK_RC(dss_unlock(handle, "drive", "ann"), -ENOLCK);
}

static void calls_under(void (*handler)(int))
{
    double end = test_seconds() + SECONDS;
    struct dss_handle handle, second;
    int rounds = 0;

    ticks = 0;
    start_timer(handler);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    /* On a busy machine a round takes longer, and has no more moments between its calls. */
    while (test_seconds() < end || (ticks < TICKS && test_seconds() < end + 30)) {
        one_round(&handle);
        if (rounds++ % 50 == 0) {
            CHECK_RC(dss_init_uri(&second, test_uri()), 0);
            one_round(&second);
            dss_fini(&second);
        }
    }
    stop_timer();
    dss_fini(&handle);
    /* The library may keep signals waiting during a call, but the host gets them between its calls. */
    CHECK(ticks >= TICKS);
}

int main(void)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    calls_under(tick);
    calls_under(tick_and_fork);
    return 0;
}
