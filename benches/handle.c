/* What a handle costs: to open and close it, the memory of an open one, whether that grows, and the library's size. */
#define _POSIX_C_SOURCE 200809L

#include <dss.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "records.h"
#include "support.h"
#include "trial.h"

enum { OPENINGS = 25, CALLS_FOR_MEMORY = 2000, CALLS = 600000, PARTS = 10 };

static void use(const struct trial *trial, void *store)
{
    need(trial, "lock", trial->contender->lock(store, "drive/1", "mover"));
    need(trial, "status", trial->contender->status(store, "drive/1"));
    need(trial, "unlock", trial->contender->unlock(store, "drive/1", "mover"));
}

/* Another process that has the store open, until it is killed. */
static pid_t open_beside(const struct trial *trial)
{
    char byte = 0;
    int ready[2];
    pid_t child;

    if (pipe(ready) != 0)
        die("pipe: %s", strerror(errno));
    child = fork_child();
    if (child == 0) {
        use(trial, open_for_trial(trial));
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(0);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        die("%s: the other process did not open the store", trial->workload->name);
    return child;
}

/* In milliseconds; the variant is with the store open in another process, too. */
static void open_and_close(const struct trial *trial, double *ret_numbers)
{
    pid_t other = trial->variant ? open_beside(trial) : 0;
    double spent_ms[OPENINGS];

    for (int i = 0; i < OPENINGS; i++) {
        int64_t begun_ns = now_ns();

        trial->contender->close(open_for_trial(trial));
        spent_ms[i] = (double)(now_ns() - begun_ns) / 1e6;
    }
    ret_numbers[0] = median_of(spent_ms, OPENINGS);
    if (other != 0) {
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
    }
}

double cost_of_opening(const struct workload *workload)
{
    return 4 * workload->rounds * workload->seconds;
}

void run_opening(const struct workload *workload)
{
    double numbers[TRIAL_NUMBERS];

    for (int round = 0; round < workload->rounds; round++) {
        for (int turn = 0; turn < 4; turn++) {
            int kind = (round + turn) % 4;
            struct trial trial = {
                .workload = workload,
                .contender = contenders[kind % 2 == 0 ? LIBDSS : HANDWRITTEN],
                .folder = folder_of(workload),
                .variant = kind >= 2,
            };
            struct subject subject = { workload->name, workload->store, 1, trial.contender->name };

            run_trial(open_and_close, &trial, numbers);
            record(&subject, round, trial.variant ? "open_close_beside_ms" : "open_close_ms", numbers[0]);
            progress_done(workload->name, workload->seconds);
        }
    }
}

/* What the process has in memory, in KiB; pages that it shares count in full. */
static double look_at_memory(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long kib = -1;

    while (file != NULL && kib < 0 && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "Rss: %ld kB", &kib);
    if (kib < 0)
        die("/proc/self/smaps_rollup does not tell the memory");
    fclose(file);
    return (double)kib;
}

/* The first look takes memory itself. */
static double resident_kib(void)
{
    (void)look_at_memory();
    return look_at_memory();
}

static void measure_memory(const struct trial *trial, double *ret_numbers)
{
    double before_kib = resident_kib();
    void *store = open_for_trial(trial);

    for (int i = 0; i < CALLS_FOR_MEMORY; i++)
        use(trial, store);
    ret_numbers[0] = resident_kib() - before_kib;
    trial->contender->close(store);
}

double cost_of_memory(const struct workload *workload)
{
    return 2 * workload->rounds * workload->seconds;
}

void run_memory(const struct workload *workload)
{
    double numbers[TRIAL_NUMBERS];

    for (int round = 0; round < workload->rounds; round++) {
        for (int turn = 0; turn < 2; turn++) {
            struct trial trial = {
                .workload = workload,
                .contender = contenders[turn == 0 ? LIBDSS : HANDWRITTEN],
                .folder = folder_of(workload),
            };
            struct subject subject = { workload->name, workload->store, 1, trial.contender->name };

            run_trial(measure_memory, &trial, numbers);
            record(&subject, round, "handle_mib", numbers[0] / 1024);
            progress_done(workload->name, workload->seconds);
        }
    }
}

static long calls_for_growth(void)
{
    return settings.calls > 0 ? settings.calls : CALLS;
}

/* From the end of the first tenth on, until when everything has been used that ever is. The variant is memory:. */
static void measure_growth(const struct trial *trial, double *ret_numbers)
{
    struct dss_handle in_memory;
    void *store = &in_memory;
    double before_kib = 0;

    alarm(0); /* With many calls it may take long. */
    if (!trial->variant)
        store = open_for_trial(trial);
    else
        need(trial, "dss_init_uri", dss_init_uri(&in_memory, "memory:"));
    for (int part = 0; part < PARTS; part++) {
        for (long i = 0; i < calls_for_growth() / 3 / PARTS; i++)
            use(trial, store);
        if (part == 0)
            before_kib = resident_kib();
        progress_done(trial->workload->name, trial->workload->seconds / 2 / PARTS);
    }
    ret_numbers[0] = resident_kib() - before_kib;
    dss_fini(store);
}

double cost_of_growth(const struct workload *workload)
{
    return workload->seconds;
}

void run_growth(const struct workload *workload)
{
    const struct subject subject = { workload->name, workload->store, 1, contenders[LIBDSS]->name };
    struct trial trial = { .workload = workload, .contender = contenders[LIBDSS], .folder = folder_of(workload) };
    double numbers[TRIAL_NUMBERS];

    run_trial(measure_growth, &trial, numbers);
    record(&subject, 0, "growth_kib", numbers[0]);
    trial.variant = true;
    run_trial(measure_growth, &trial, numbers);
    record(&subject, 0, "growth_of_memory_store_kib", numbers[0]);
    record(&subject, 0, "growth_calls", (double)(calls_for_growth() / 3 / PARTS * PARTS * 3));
}

double cost_of_size(const struct workload *workload)
{
    return workload->seconds;
}

void run_size(const struct workload *workload)
{
    const struct subject subject = { workload->name, workload->store, 0, contenders[LIBDSS]->name };
    struct stat found;

    if (settings.library == NULL)
        return;
    if (stat(settings.library, &found) != 0)
        die("%s: %s", settings.library, strerror(errno));
    record(&subject, 0, "library_mib", (double)found.st_size / 1048576);
}
