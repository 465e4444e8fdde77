/* 64 ids taken and given back at once, beside 64 pairs of single calls; libdss alone. */
#include <dss.h>
#include <stdio.h>

#include "records.h"
#include "support.h"
#include "trial.h"

enum { IDS = DSS_LOCK_IDS_MAX };

static char names[IDS][32];
static const char *ids[IDS];

static void at_once(const struct trial *trial, void *store)
{
    need(trial, "dss_lockv", dss_lockv(store, ids, IDS, "mover", NULL, NULL));
    need(trial, "dss_unlockv", dss_unlockv(store, ids, IDS, "mover", NULL, NULL));
}

static void one_by_one(const struct trial *trial, void *store)
{
    for (int i = 0; i < IDS; i++)
        need(trial, "dss_lock", dss_lock(store, ids[i], "mover"));
    for (int i = 0; i < IDS; i++)
        need(trial, "dss_unlock", dss_unlock(store, ids[i], "mover"));
}

/* The variant is one by one. */
static void take_sets(const struct trial *trial, double *ret_numbers)
{
    void (*take)(const struct trial *trial, void *store) = trial->variant ? one_by_one : at_once;
    void *store = open_for_trial(trial);
    int64_t begun_ns, spent_ns;
    long sets = 0;

    for (int i = 0; i < IDS; i++) {
        snprintf(names[i], sizeof(names[i]), "set/%d", i);
        ids[i] = names[i];
    }
    take(trial, store);
    begun_ns = now_ns();
    do {
        take(trial, store);
        sets++;
        spent_ns = now_ns() - begun_ns;
    } while ((double)spent_ns < seconds_of(trial->workload) * 1e9);
    trial->contender->close(store);
    ret_numbers[0] = (double)sets * 1e9 / (double)spent_ns;
}

double cost_of_sets(const struct workload *workload)
{
    return 2 * workload->rounds * seconds_of(workload);
}

void run_sets(const struct workload *workload)
{
    const struct subject subject = { workload->name, workload->store, workload->workers, contenders[LIBDSS]->name };
    struct trial trial = { .workload = workload, .contender = contenders[LIBDSS], .folder = folder_of(workload) };
    double numbers[TRIAL_NUMBERS];

    for (int round = 0; round < workload->rounds; round++) {
        for (int turn = 0; turn < 2; turn++) {
            trial.variant = (round + turn) % 2 != 0;
            run_trial(take_sets, &trial, numbers);
            record(&subject, round, trial.variant ? "single_sets_per_s" : "lockv_sets_per_s", numbers[0]);
            progress_done(workload->name, seconds_of(workload));
        }
    }
}
