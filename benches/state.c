/* Small values under keys: what a durable set costs beside a lock, and how fast one thread gets them. */
#include <stdio.h>
#include <string.h>

#include "records.h"
#include "support.h"
#include "trial.h"

enum { CONTENDERS = 2, KEYS = 64, VALUE_SIZE = 100, WARM_UP = 200 };

static char keys[KEYS][32];
static char value[VALUE_SIZE];

static void *open_with_keys(const struct trial *trial)
{
    void *store = open_for_trial(trial);

    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "drive/%d/tape", i);
        need(trial, "set", trial->contender->set(store, keys[i], value, sizeof(value)));
    }
    return store;
}

/* A lock, a set and an unlock in turn, so that whatever else the disk does meets them alike. */
struct spent {
    int64_t lock_ns, set_ns;
};

static void set_beside_lock(const struct trial *trial, void *store, long turn, struct spent *spent)
{
    const struct contender *contender = trial->contender;
    int64_t begun_ns = now_ns(), locked_ns, set_ns;

    memset(value, (int)turn, sizeof(value));
    need(trial, "lock", contender->lock(store, "drive/1", "mover"));
    locked_ns = now_ns();
    need(trial, "set", contender->set(store, keys[turn % KEYS], value, sizeof(value)));
    set_ns = now_ns();
    need(trial, "unlock", contender->unlock(store, "drive/1", "mover"));
    spent->lock_ns += locked_ns - begun_ns;
    spent->set_ns += set_ns - locked_ns;
}

static void make_sets(const struct trial *trial, double *ret_numbers)
{
    void *store = open_with_keys(trial);
    struct spent spent = { 0, 0 };
    int64_t begun_ns;
    long turns = 0;

    for (long i = 0; i < WARM_UP; i++)
        set_beside_lock(trial, store, i, &spent);
    spent = (struct spent){ 0, 0 };
    begun_ns = now_ns();
    do
        set_beside_lock(trial, store, turns++, &spent);
    while ((double)(now_ns() - begun_ns) < seconds_of(trial->workload) * 1e9);
    trial->contender->close(store);
    ret_numbers[0] = (double)spent.lock_ns / 1000 / (double)turns;
    ret_numbers[1] = (double)spent.set_ns / 1000 / (double)turns;
}

static void make_gets(const struct trial *trial, double *ret_numbers)
{
    void *store = open_with_keys(trial);
    int64_t begun_ns, spent_ns;
    long gets = 0;

    begun_ns = now_ns();
    do {
        for (int i = 0; i < KEYS; i++, gets++)
            need(trial, "get", trial->contender->get(store, keys[i]));
        spent_ns = now_ns() - begun_ns;
    } while ((double)spent_ns < seconds_of(trial->workload) * 1e9);
    trial->contender->close(store);
    ret_numbers[0] = (double)gets * 1e9 / (double)spent_ns;
}

double cost_of_state(const struct workload *workload)
{
    return CONTENDERS * workload->rounds * step_s(workload);
}

static void run(const struct workload *workload, trial_function make, const char *const *metrics)
{
    double numbers[TRIAL_NUMBERS];

    for (int round = 0; round < workload->rounds; round++) {
        for (int turn = 0; turn < CONTENDERS; turn++) {
            struct trial trial = {
                .workload = workload,
                .contender = contenders[(round + turn) % CONTENDERS == 0 ? LIBDSS : HANDWRITTEN],
                .folder = folder_of(workload),
            };
            struct subject subject = { workload->name, workload->store, 1, trial.contender->name };

            run_trial(make, &trial, numbers);
            for (int i = 0; metrics[i] != NULL; i++)
                record(&subject, round, metrics[i], numbers[i]);
            progress_done(workload->name, step_s(workload));
        }
    }
}

void run_state_sets(const struct workload *workload)
{
    run(workload, make_sets, (const char *const[]){ "lock_us", "set_us", NULL });
}

void run_state_gets(const struct workload *workload)
{
    run(workload, make_gets, (const char *const[]){ "get_per_s", NULL });
}
