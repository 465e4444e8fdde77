/* What can be measured. Each workload has a name, a number of rounds, and a function that runs one round or all. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <stdbool.h>

struct contender;

struct workload {
    const char *name;
    const char *store; /* "disk" or "tmpfs", "postgres" or "etcd" */
    int workers;
    bool threads;
    int rounds;
    double seconds; /* of one contender in one round */
    /* Measures all rounds, and records what came out. */
    void (*run)(const struct workload *workload);
    /* What that costs by plan; the run tells the same amount to progress_done(). */
    double (*cost_s)(const struct workload *workload);
};

extern struct workload workloads[];
extern const int workload_count;

/*
 * Whether it runs: there is its folder or server, and BENCH_ONLY is empty or names it, or its family, which is the name up to
 * the number or the hyphen.
 */
bool is_wanted(const struct workload *workload);

/* Its folder, or the connection string of its server; NULL if there is none. */
const char *folder_of(const struct workload *workload);

/* Whether the contender takes part in workloads of pairs on that store. Once found there, it must stay there. */
bool takes_part(const struct workload *workload, const struct contender *contender);

/* How long a contender works in a round, and what that costs with start, warm-up and end. */
double seconds_of(const struct workload *workload);
double step_s(const struct workload *workload);

/*
 * Pairs of all contenders. In each round they take turns, and each time another one is the first, so that whatever
 * else the machine does meets all of them alike.
 */
void run_pairs(const struct workload *workload);
double cost_of_pairs(const struct workload *workload);

/* A page written and flushed; all durable contenders wait for that. */
void run_flush(const struct workload *workload);
double cost_of_flush(const struct workload *workload);

/* 64 ids, by dss_lockv() and one by one; libdss alone. */
void run_sets(const struct workload *workload);
double cost_of_sets(const struct workload *workload);

/* dss_lock_status(), alone and while four processes write. */
void run_status(const struct workload *workload);
double cost_of_status(const struct workload *workload);

/* Values of 100 bytes: durable sets, each between a lock and its unlock; and gets. */
void run_state_sets(const struct workload *workload);
void run_state_gets(const struct workload *workload);
double cost_of_state(const struct workload *workload);

/* What a pair costs while 1000 to 1,000,000 locks are held. */
enum { HELD_SIZES = 4 };
extern const long held_sizes[HELD_SIZES];
extern const char *const held_metrics[HELD_SIZES];
void run_held(const struct workload *workload);
double cost_of_held(const struct workload *workload);

/* dss_init() and dss_fini(), the memory of a handle, its growth, and the library's size. */
void run_opening(const struct workload *workload);
double cost_of_opening(const struct workload *workload);
void run_memory(const struct workload *workload);
double cost_of_memory(const struct workload *workload);
void run_growth(const struct workload *workload);
double cost_of_growth(const struct workload *workload);
void run_size(const struct workload *workload);
double cost_of_size(const struct workload *workload);

#endif
