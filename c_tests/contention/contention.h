/*
 * What the programs of many processes share: memory that all of them see, figures, a watchdog, and a way to know that
 * somebody waits for a lock. To be included first, since it asks for GNU's interfaces.
 */
#ifndef CONTENTION_H
#define CONTENTION_H

#include "hazards/hazard.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Puts the test's files into memory where that is possible: how fast a disk flushes is not what is looked at here. */
static inline void use_files_in_memory(void)
{
    if (access("/dev/shm", W_OK) == 0)
        CHECK(setenv("DSS_TEST_TMP", "/dev/shm", 0) == 0);
    (void)test_uri(); /* the folder belongs to this process, and not to the first child that asks */
}

/* Memory full of zeros that forked processes share. */
static inline void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(memory != MAP_FAILED);
    return memory;
}

static inline void watchdog_bark_(int number)
{
    static const char text[] = "the watchdog: this takes too long, somebody hangs\n";

    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

/* Fails the test if it still runs after so many seconds; 0 calls the dog off. Children end with their parent. */
static inline void watchdog(unsigned seconds)
{
    CHECK(signal(SIGALRM, watchdog_bark_) != SIG_ERR);
    (void)alarm(seconds);
}

/* ---- Locks. ---- */

struct ask {
    const char *const *ids;
    size_t count;
    const char *owner;
    uint64_t flags, ttl_ms;
    int64_t wait_ms;
};

static inline int lock_set(struct dss_handle *handle, const struct ask *ask, struct dss_grant *grants)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = ask->flags, .ttl_ms = ask->ttl_ms,
                                 .wait_ms = ask->wait_ms};

    return dss_lockv(handle, ask->ids, ask->count, ask->owner, &opts, grants);
}

/* Takes one lock and waits for it as long as told; less than 0: for ever. */
static inline int lock_waiting(struct dss_handle *handle, const char *lock_id, const char *owner, int64_t wait_ms,
                               struct dss_grant *grant)
{
    struct ask ask = {.ids = &lock_id, .count = 1, .owner = owner, .wait_ms = wait_ms};

    return lock_set(handle, &ask, grant);
}

/* ---- Who waits. ---- */

static inline pid_t own_thread(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* Whether a thread of a child or of this process sleeps in ppoll(2): that is how the library waits for a lock, and
   nothing else in these programs sleeps there meanwhile. */
static inline int is_waiting(pid_t process, pid_t thread)
{
    char path[64];
    long number = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)process, (int)thread);
    file = fopen(path, "r"); /* not there: the thread has ended, instead of waiting */
    CHECK(file != NULL);
    if (fscanf(file, "%ld", &number) != 1)
        number = -1; /* it runs */
    fclose(file);
    return number == SYS_ppoll;
}

/* Whether a thread of this process holds back the signals that a program may handle, SIGUSR2 for all of them. */
static inline int holds_back_signals(pid_t thread)
{
    char path[64], line[256];
    unsigned long long mask = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)thread);
    file = fopen(path, "r");
    if (file == NULL)
        return 0; /* it has ended */
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "SigBlk: %llx", &mask) != 1)
        ;
    fclose(file);
    return (mask >> (SIGUSR2 - 1)) & 1;
}

static inline void wait_until_waiting(pid_t process, pid_t thread)
{
    struct timespec moment = {0, 50000};
    double begin = test_seconds();

    /* Nothing tells of it; and a look now and then takes less from a busy machine than sched_yield(2) does. */
    while (!is_waiting(process, thread)) {
        CHECK(test_seconds() - begin < HANGS_AFTER_S);
        nanosleep(&moment, NULL);
    }
}

/* ---- Figures. ---- */

struct figures {
    double values[1024];
    size_t count;
};

static inline void add_figure(struct figures *figures, double value)
{
    CHECK(figures->count < COUNT(figures->values));
    figures->values[figures->count++] = value;
}

static inline int compare_figures_(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

/* The figure below which this share of them lies: 0.5 for the median, 1 for the greatest. */
static inline double figure_at(struct figures *figures, double share)
{
    size_t place = (size_t)(share * (double)figures->count);

    CHECK(figures->count > 0);
    qsort(figures->values, figures->count, sizeof(double), compare_figures_);
    return figures->values[place < figures->count ? place : figures->count - 1];
}

static inline void show_ms(const char *what, struct figures *seconds)
{
    fprintf(stderr, "%s: %zu times, median %.3f ms, nine tenths %.3f ms, longest %.3f ms\n", what, seconds->count,
            figure_at(seconds, 0.5) * 1e3, figure_at(seconds, 0.9) * 1e3, figure_at(seconds, 1) * 1e3);
}

#endif
