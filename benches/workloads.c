/* The list of workloads: their rounds and seconds are such that all of it runs in less than ten minutes. */
#include "workloads.h"

#include <ctype.h>
#include <string.h>

#include "contender.h"
#include "support.h"

enum { START_MS = 300 };

#define PAIRS(name, store, workers, threads, rounds, seconds)                                                       \
    { name, store, workers, threads, rounds, seconds, run_pairs, cost_of_pairs }

struct workload workloads[] = {
    PAIRS("single-disk", "disk", 1, false, 7, 1.0),
    PAIRS("single-tmpfs", "tmpfs", 1, false, 7, 1.0),
    PAIRS("procs2", "disk", 2, false, 5, 0.5),
    PAIRS("procs4", "disk", 4, false, 5, 0.5),
    PAIRS("procs8", "disk", 8, false, 7, 1.5),
    PAIRS("procs16", "disk", 16, false, 5, 0.5),
    PAIRS("procs32", "disk", 32, false, 7, 1.5),
    PAIRS("procs64", "disk", 64, false, 5, 0.5),
    PAIRS("threads2", "disk", 2, true, 5, 0.5),
    PAIRS("threads4", "disk", 4, true, 5, 0.5),
    PAIRS("threads8", "disk", 8, true, 7, 1.0),
    PAIRS("threads16", "disk", 16, true, 5, 0.5),
    PAIRS("threads32", "disk", 32, true, 5, 0.5),
    PAIRS("threads64", "disk", 64, true, 7, 1.0),
    { "flush", "disk", 1, false, 5, 0.1, run_flush, cost_of_flush },
    { "sets", "disk", 1, false, 7, 0.4, run_sets, cost_of_sets },
    { "status", "tmpfs", 1, false, 7, 0.5, run_status, cost_of_status },
    { "state-set", "disk", 1, false, 7, 0.5, run_state_sets, cost_of_state },
    { "state-get", "tmpfs", 1, false, 7, 0.3, run_state_gets, cost_of_state },
    { "opening", "disk", 1, false, 7, 0.2, run_opening, cost_of_opening },
    { "memory", "tmpfs", 1, false, 5, 0.1, run_memory, cost_of_memory },
    { "growth", "tmpfs", 1, false, 1, 10, run_growth, cost_of_growth },
    { "size", "disk", 1, false, 1, 0, run_size, cost_of_size },
    { "held", "disk", 1, false, 7, 0.3, run_held, cost_of_held },
    PAIRS("postgres-single", "postgres", 1, false, 7, 1.0),
    PAIRS("postgres-threads2", "postgres", 2, true, 5, 0.4),
    PAIRS("postgres-threads4", "postgres", 4, true, 5, 0.4),
    PAIRS("postgres-threads8", "postgres", 8, true, 7, 1.0),
    PAIRS("postgres-threads16", "postgres", 16, true, 5, 0.4),
    PAIRS("postgres-threads32", "postgres", 32, true, 5, 0.4),
    { "postgres-sets", "postgres", 1, false, 5, 0.4, run_sets, cost_of_sets },
    PAIRS("etcd-single", "etcd", 1, false, 7, 1.0),
    PAIRS("etcd-threads2", "etcd", 2, true, 5, 0.4),
    PAIRS("etcd-threads4", "etcd", 4, true, 5, 0.4),
    PAIRS("etcd-threads8", "etcd", 8, true, 5, 0.4),
    PAIRS("etcd-threads16", "etcd", 16, true, 5, 0.4),
    PAIRS("etcd-threads32", "etcd", 32, true, 5, 0.4),
    { "etcd-sets", "etcd", 1, false, 5, 0.4, run_sets, cost_of_sets },
};

const int workload_count = sizeof(workloads) / sizeof(workloads[0]);

/* The name up to the number of workers or the hyphen. */
static size_t length_of_family(const char *name)
{
    size_t length = 0;

    while (isalpha((unsigned char)name[length]))
        length++;
    return length;
}

bool is_wanted(const struct workload *workload)
{
    const char *name = settings.only;

    if (folder_of(workload) == NULL)
        return false;
    if (name == NULL || name[0] == '\0')
        return true;
    while (*name != '\0') {
        size_t length = strcspn(name, ",");

        if (strncmp(name, workload->name, length) == 0 &&
            (length == strlen(workload->name) || length == length_of_family(workload->name)))
            return true;
        name += length + (name[length] == ',');
    }
    return false;
}

const char *folder_of(const struct workload *workload)
{
    if (strcmp(workload->store, "postgres") == 0)
        return settings.postgres;
    if (strcmp(workload->store, "etcd") == 0)
        return settings.etcd;
    return strcmp(workload->store, "tmpfs") == 0 ? settings.tmpfs : settings.disk;
}

static bool is_there(const struct contender *contender, const char *folder)
{
    static enum { UNKNOWN, THERE, MISSING } found[MAX_CONTENDERS];
    int i = 0;

    if (contender->is_there == NULL)
        return true;
    while (contenders[i] != contender)
        i++;
    if (found[i] == UNKNOWN)
        found[i] = contender->is_there(folder) ? THERE : MISSING;
    return found[i] == THERE;
}

/* Redis has its files in one place, the disk. And what is not durable is the same on both. */
bool takes_part(const struct workload *workload, const struct contender *contender)
{
    bool in_memory = strcmp(workload->store, "tmpfs") == 0;

    if (in_memory && contender != contenders[LIBDSS] && contender != contenders[HANDWRITTEN])
        return false;
    return is_there(contender, settings.disk);
}

double seconds_of(const struct workload *workload)
{
    return settings.seconds > 0 ? settings.seconds : workload->seconds;
}

double step_s(const struct workload *workload)
{
    return seconds_of(workload) + START_MS / 1000.0;
}
