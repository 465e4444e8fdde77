/*
 * Workers that lock and unlock at the same time, each its own id, for so many seconds: processes with a store opened
 * by each, or threads of one process.
 */
#ifndef CREW_H
#define CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "contender.h"
#include "histogram.h"

enum { MAX_WORKERS = 64 };

struct crew_order {
    const char *what; /* for messages */
    const struct contender *contender;
    const char *folder;
    int workers;
    int readers; /* So many of the workers ask for the status of a lock instead. */
    bool threads; /* instead of processes */
    double seconds;
};

struct worker {
    int64_t calls;    /* that gave 0, and ended in the round */
    int64_t failed;   /* that gave -EBUSY */
    int64_t worst_ns; /* the longest call of which a part was in the round, also if it ended after it */
    int64_t spent_ns; /* a reader's: how long it read by the clock, and in time of the processor */
    int64_t cpu_ns;
    struct histogram latency; /* of the calls of which a part was in the round */
};

/* Valid until the next crew. Dies of whatever can't be run. */
const struct worker *run_crew(const struct crew_order *order);

#endif
