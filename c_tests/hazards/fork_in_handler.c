/*
 * Signals come to threads that wait for each other's transactions, and the handler forks.
 *
 * The fork shuts the library's gate and waits for those inside. A thread that waited in the queue once held the queue's
 * mutex when the signal came: those inside waited for the mutex, the fork for those inside, and the mutex for the fork.
 * The whole process stood still within a second.
 */
#include "hazard.h"

#include <stdatomic.h>

#define THREADS 6
#define SECONDS 2.0
/* Far more than a machine that is merely slow needs. */
#define STANDSTILL 15.0

static struct dss_handle handle;
static _Atomic long pairs;
static _Atomic int stop;

static void fork_now(int number)
{
    pid_t child = fork();

    (void)number;
    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, 0);
}

static void *hammer(void *arg)
{
    char name[32];

    snprintf(name, sizeof(name), "thread %d", *(int *)arg);
    while (!atomic_load(&stop)) {
        CHECK_RC(dss_lock(&handle, name, name), 0);
        CHECK_RC(dss_unlock(&handle, name, name), 0);
        atomic_fetch_add(&pairs, 1);
    }
    return NULL;
}

static void disturb(const pthread_t *threads)
{
    double begin = test_seconds();
    unsigned seed = (unsigned)getpid();

    for (int i = 0; test_seconds() - begin < SECONDS; i++) {
        CHECK(pthread_kill(threads[i % THREADS], SIGUSR1) == 0);
        pause_at_random(&seed, 10000);
    }
}

/* The work goes on: each thread ends its pair when it is told to stop, and another pair was done since then. */
static void check_progress(void)
{
    long before = atomic_load(&pairs);
    double begin = test_seconds();

    while (atomic_load(&pairs) < before + THREADS)
        CHECK(test_seconds() - begin < STANDSTILL);
}

int main(void)
{
    struct sigaction action = {.sa_handler = fork_now, .sa_flags = SA_RESTART};
    pthread_t threads[THREADS];
    int numbers[THREADS];

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        threads[i] = start_thread(hammer, &numbers[i]);
    }
    disturb(threads);
    check_progress();
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    dss_fini(&handle);
    return 0;
}
