/* The workload of all contenders: lock+unlock pairs by many workers, each of its own id. */
#include <math.h>
#include <stdio.h>

#include "contender.h"
#include "crew.h"
#include "records.h"
#include "support.h"
#include "workloads.h"

/*
 * Pairs per second are the calls that ended in the round, halved, over the round's nominal time: all workers count in
 * the same stretch of time, whatever they do before and after it.
 */
static void record_round(const struct workload *workload, const struct contender *contender, int round,
                         const struct worker *workers)
{
    const struct subject subject = { workload->name, workload->store, workload->workers, contender->name };
    const double seconds = seconds_of(workload);
    struct histogram latency = { { 0 } };
    double calls = 0, failed = 0, worst_ns = 0, slowest = INFINITY, fastest = 0;

    for (int i = 0; i < workload->workers; i++) {
        calls += (double)workers[i].calls;
        failed += (double)workers[i].failed;
        worst_ns = fmax(worst_ns, (double)workers[i].worst_ns);
        slowest = fmin(slowest, (double)workers[i].calls);
        fastest = fmax(fastest, (double)workers[i].calls);
        histogram_merge(&latency, &workers[i].latency);
    }
    record(&subject, round, "pairs_per_s", calls / 2 / seconds);
    record(&subject, round, "failed_calls", failed);
    record(&subject, round, "slowest_to_fastest_worker", fastest > 0 ? slowest / fastest : 0);
    record(&subject, round, "p50_us", histogram_quantile_us(&latency, 0.5));
    record(&subject, round, "p99_us", histogram_quantile_us(&latency, 0.99));
    record(&subject, round, "p99.9_us", histogram_quantile_us(&latency, 0.999));
    record(&subject, round, "worst_us", worst_ns / 1000);
    record_latency(&subject, &latency);
}

static void run_round(const struct workload *workload, const struct contender *contender, int round)
{
    const struct crew_order order = {
        .what = workload->name,
        .contender = contender,
        .folder = folder_of(workload),
        .workers = workload->workers,
        .threads = workload->threads,
        .seconds = seconds_of(workload),
    };

    record_round(workload, contender, round, run_crew(&order));
    progress_done(workload->name, step_s(workload));
}

static void make_store(void *arg)
{
    const struct workload *workload = arg;
    const struct contest *contest = contest_of(workload->store);

    for (int i = 0; i < contest->count; i++) {
        const struct contender *contender = contest->contenders[i];
        void *store;

        if (!takes_part(workload, contender))
            continue;
        store = contender->open(folder_of(workload));
        if (store == NULL)
            die("%s: %s can not make its store", workload->name, contender->name);
        contender->close(store);
    }
}

/* Ratios are taken of some contenders; the others do with fewer rounds, unless they were asked for. */
static int rounds_of(const struct workload *workload, int contender)
{
    if (contender < contest_of(workload->store)->judged || settings.rounds > 0)
        return workload->rounds;
    return workload->rounds < MIN_ROUNDS ? workload->rounds : MIN_ROUNDS;
}

double cost_of_pairs(const struct workload *workload)
{
    const struct contest *contest = contest_of(workload->store);
    int steps = 0;

    for (int i = 0; i < contest->count; i++) {
        if (takes_part(workload, contest->contenders[i]))
            steps += rounds_of(workload, i);
    }
    return steps * step_s(workload);
}

void run_pairs(const struct workload *workload)
{
    const struct contest *contest = contest_of(workload->store);
    struct workload copy = *workload;

    /* Many that make one file at the same time are no part of this. */
    run_in_child(make_store, &copy, workload->name);
    for (int round = 0; round < workload->rounds; round++) {
        for (int turn = 0; turn < contest->count; turn++) {
            int place = (round + turn) % contest->count;

            if (takes_part(workload, contest->contenders[place]) && round < rounds_of(workload, place))
                run_round(workload, contest->contenders[place], round);
        }
    }
}
