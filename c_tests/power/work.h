/*
 * The processes that work on the store that is recorded.
 */
#ifndef WORK_H
#define WORK_H

#include "power/calls.h"
#include "power/crash.h"

/* How a run is made up. Of a worker's lives all but the last end by a kill, or nearly all. */
struct run {
    uint32_t workers;
    int lives;
    int calls; /* of a life */
    int half_made;
};

/* What was found of the locks: each is said by the call that took it. */
struct found {
    uint64_t call[LOCKS], token[LOCKS];
};

extern struct recording *record;
extern struct calls *calls;
extern char *folder; /* of the store */
extern uint64_t seed;

void begin_random(uint64_t from);
uint64_t random_below(uint64_t bound);

/* All locks that are held. */
struct found find_locks(struct dss_handle *handle);

/* Lets them work to their end, and begins the record before. */
void run_workers(const struct run *run);

#endif
