/*
 * What a pair costs while other locks are held: 1000 to 1,000,000 of them, in a store each. The ids that are locked
 * lie anywhere among the held ones, so that the store finds none of its pages at hand by chance.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "records.h"
#include "support.h"
#include "trial.h"

#define FILL_PLAN_S 15.0

enum { CONTENDERS = 2, TURNS = CONTENDERS * HELD_SIZES, WARM_UP_PAIRS = 200 };

const long held_sizes[HELD_SIZES] = { 1000, 10000, 100000, 1000000 };
const char *const held_metrics[HELD_SIZES] = { "pair_us_with_1000_held", "pair_us_with_10000_held",
                                               "pair_us_with_100000_held", "pair_us_with_1000000_held" };

static void fill(const struct trial *trial, double *ret_numbers)
{
    void *store = open_for_trial(trial);

    (void)ret_numbers;
    need(trial, "fill", trial->contender->fill(store, trial->size));
    trial->contender->close(store);
}

/* The same ids for everyone. */
static unsigned long next_random(unsigned long *state)
{
    *state = *state * 6364136223846793005UL + 1442695040888963407UL;
    return *state >> 33;
}

static void make_pair(const struct trial *trial, void *store, unsigned long *state)
{
    char id[48];

    snprintf(id, sizeof(id), "held/%lu-too", next_random(state) % (unsigned long)trial->size);
    need(trial, "lock", trial->contender->lock(store, id, "mover"));
    need(trial, "unlock", trial->contender->unlock(store, id, "mover"));
}

static void make_pairs(const struct trial *trial, double *ret_numbers)
{
    void *store = open_for_trial(trial);
    unsigned long state = 4711;
    int64_t begun_ns, spent_ns;
    long pairs = 0;

    for (int i = 0; i < WARM_UP_PAIRS; i++)
        make_pair(trial, store, &state);
    begun_ns = now_ns();
    do {
        make_pair(trial, store, &state);
        pairs++;
        spent_ns = now_ns() - begun_ns;
    } while ((double)spent_ns < seconds_of(trial->workload) * 1e9);
    trial->contender->close(store);
    ret_numbers[0] = (double)spent_ns / 1000 / (double)pairs;
}

static struct trial trial_of(const struct workload *workload, int turn, char *folder, size_t room)
{
    int size = turn / CONTENDERS;

    snprintf(folder, room, "%s/held-%ld", folder_of(workload), held_sizes[size]);
    return (struct trial){
        .workload = workload,
        .contender = contenders[turn % CONTENDERS == 0 ? LIBDSS : HANDWRITTEN],
        .folder = folder,
        .size = held_sizes[size],
    };
}

static void fill_all(const struct workload *workload)
{
    double numbers[TRIAL_NUMBERS];
    char folder[4096];

    for (int turn = 0; turn < TURNS; turn++) {
        struct trial trial = trial_of(workload, turn, folder, sizeof(folder));

        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            die("%s: %s", folder, strerror(errno));
        run_trial(fill, &trial, numbers);
    }
    progress_done(workload->name, FILL_PLAN_S);
}

static void run_rounds(const struct workload *workload)
{
    double numbers[TRIAL_NUMBERS];
    char folder[4096];

    for (int round = 0; round < workload->rounds; round++) {
        for (int i = 0; i < TURNS; i++) {
            int turn = (round + i) % TURNS;
            struct trial trial = trial_of(workload, turn, folder, sizeof(folder));
            struct subject subject = { workload->name, workload->store, 1, trial.contender->name };

            run_trial(make_pairs, &trial, numbers);
            record(&subject, round, held_metrics[turn / CONTENDERS], numbers[0]);
            progress_done(workload->name, step_s(workload));
        }
    }
}

double cost_of_held(const struct workload *workload)
{
    return FILL_PLAN_S + TURNS * workload->rounds * step_s(workload);
}

void run_held(const struct workload *workload)
{
    fill_all(workload);
    run_rounds(workload);
}
