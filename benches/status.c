/* How fast one thread reads who holds a lock: while nobody writes, and while four processes do. */
#include "crew.h"
#include "records.h"
#include "support.h"
#include "workloads.h"

enum { WRITERS = 4, KINDS = 4 };

/* By time of the processor, too: with fewer cores than processes the reader has to share them. */
static void run_round(const struct workload *workload, const struct contender *contender, int writers, int round)
{
    const struct subject subject = { writers > 0 ? "status-writers" : "status", workload->store, 1 + writers,
                                     contender->name };
    const struct crew_order order = {
        .what = workload->name,
        .contender = contender,
        .folder = folder_of(workload),
        .workers = 1 + writers,
        .readers = 1,
        .seconds = seconds_of(workload),
    };
    const struct worker *reader = run_crew(&order);

    record(&subject, round, "status_per_s", (double)reader->calls * 1e9 / (double)reader->spent_ns);
    record(&subject, round, "status_per_cpu_s", (double)reader->calls * 1e9 / (double)reader->cpu_ns);
    record(&subject, round, "failed_calls", (double)reader->failed);
    progress_done(workload->name, step_s(workload));
}

double cost_of_status(const struct workload *workload)
{
    return KINDS * workload->rounds * step_s(workload);
}

/* Each contender begins alone, so that its store is made by one process. */
void run_status(const struct workload *workload)
{
    for (int round = 0; round < workload->rounds; round++) {
        for (int turn = 0; turn < KINDS; turn++) {
            int kind = round == 0 ? turn : (round + turn) % KINDS;

            run_round(workload, contenders[kind % 2 == 0 ? LIBDSS : HANDWRITTEN], kind < 2 ? 0 : WRITERS, round);
        }
    }
}
