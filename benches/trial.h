/* A measurement by one thread in a process of its own, which ends with a number. */
#ifndef TRIAL_H
#define TRIAL_H

#include "contender.h"
#include "workloads.h"

struct trial {
    const struct workload *workload;
    const struct contender *contender;
    const char *folder;
    long size;    /* what the trial makes of it */
    bool variant; /* likewise */
};

/* Runs it in a child; its numbers are in ret_numbers, those that it left are 0. */
enum { TRIAL_NUMBERS = 2 };
typedef void (*trial_function)(const struct trial *trial, double *ret_numbers);
void run_trial(trial_function function, const struct trial *trial, double *ret_numbers);

/* Opens the contender's store, or dies. */
void *open_for_trial(const struct trial *trial);

/* Dies if the call failed. */
void need(const struct trial *trial, const char *call, int rc);

#endif
