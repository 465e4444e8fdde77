/* Children of trial.h; their numbers come back in memory that is shared. */
#include "trial.h"

#include <string.h>

#include "support.h"

struct task {
    trial_function function;
    const struct trial *trial;
    double *numbers;
};

static void run_task(void *arg)
{
    const struct task *task = arg;

    task->function(task->trial, task->numbers);
}

void run_trial(trial_function function, const struct trial *trial, double *ret_numbers)
{
    static double *numbers;

    if (numbers == NULL)
        numbers = shared_memory(TRIAL_NUMBERS * sizeof(*numbers));
    memset(numbers, 0, TRIAL_NUMBERS * sizeof(*numbers));
    run_in_child(run_task, &(struct task){ function, trial, numbers }, trial->workload->name);
    memcpy(ret_numbers, numbers, TRIAL_NUMBERS * sizeof(*numbers));
}

void *open_for_trial(const struct trial *trial)
{
    void *store = trial->contender->open(trial->folder);

    if (store == NULL)
        die("%s: %s can not open its store", trial->workload->name, trial->contender->name);
    return store;
}

void need(const struct trial *trial, const char *call, int rc)
{
    if (rc != 0)
        die("%s: %s: %s: %s", trial->workload->name, trial->contender->name, call, strerror(-rc));
}
