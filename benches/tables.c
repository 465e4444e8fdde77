/* The machine, and the tables of all contenders. */
#define _DEFAULT_SOURCE

#include "tables.h"

#include <dss.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "contender.h"
#include "records.h"
#include "support.h"
#include "workloads.h"

static const char *file_system(const char *folder)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        { 0xef53, "ext4" },         { 0x58465342, "xfs" },     { 0x9123683e, "btrfs" },
        { 0x01021994, "tmpfs" },    { 0x794c7630, "overlayfs" }, { 0x2fc12fc1, "zfs" },
        { 0xf2f52010, "f2fs" },
    };
    struct statfs found;

    if (statfs(folder, &found) != 0)
        return "unknown";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].magic == (unsigned long)found.f_type)
            return known[i].name;
    }
    return "another file system";
}

/* The least and the greatest number of rounds of what runs in rounds. */
static void describe_rounds(char *ret_text, size_t room)
{
    int least = MAX_ROUNDS, most = 1;

    for (int i = 0; i < workload_count; i++) {
        if (workloads[i].rounds == 1 || !is_wanted(&workloads[i]))
            continue;
        least = workloads[i].rounds < least ? workloads[i].rounds : least;
        most = workloads[i].rounds > most ? workloads[i].rounds : most;
    }
    if (least < most)
        snprintf(ret_text, room, "%d to %d rounds", least, most);
    else
        snprintf(ret_text, room, most == 1 ? "%d round" : "%d rounds", most);
}

void describe_machine(char *ret_text, size_t room)
{
    struct utsname system;
    char rounds[64], flush[64] = "";
    double flush_us = summarize("flush", "disk", "flush_us").median;

    if (!isnan(flush_us))
        snprintf(flush, sizeof(flush), " (a flush takes %.0f us)", flush_us);
    uname(&system);
    describe_rounds(rounds, sizeof(rounds));
    snprintf(ret_text, room, "libdss %s; %ld cores, %s %s, disk: %s%s; alternating, %s", dss_version(),
             sysconf(_SC_NPROCESSORS_ONLN), system.sysname, system.release, file_system(settings.disk), flush, rounds);
}

/* Whether a workload of pairs was run for a curve. One worker is the same as a process and as a thread. */
static bool is_of_curve(const struct workload *workload, const char *store, bool threads)
{
    return workload->run == run_pairs && strcmp(workload->store, store) == 0 &&
           (workload->workers == 1 || workload->threads == threads) &&
           was_recorded(workload->name, contenders[LIBDSS]->name, "pairs_per_s");
}

static int runs_of_many(const char *store, bool threads)
{
    int count = 0;

    for (int i = 0; i < workload_count; i++)
        count += workloads[i].workers > 1 && is_of_curve(&workloads[i], store, threads);
    return count;
}

static void print_heading(const char *text, const struct contest *contest)
{
    printf("\n%-36s", text);
    for (int i = 0; i < contest->count; i++)
        printf("%14s", contest->contenders[i]->name);
    putchar('\n');
}

static void print_cell(int decimals, double value)
{
    if (isnan(value))
        printf("%14s", "-");
    else
        printf("%14.*f", decimals, value);
}

static void print_cells(const struct contest *contest, const char *workload, const char *metric, int decimals)
{
    for (int i = 0; i < contest->count; i++)
        print_cell(decimals, summarize(workload, contest->contenders[i]->name, metric).median);
    putchar('\n');
}

static void print_curve(const char *text, const char *store, bool threads)
{
    const struct contest *contest = contest_of(store);

    if (runs_of_many(store, threads) == 0)
        return;
    print_heading(text, contest);
    for (int i = 0; i < workload_count; i++) {
        if (!is_of_curve(&workloads[i], store, threads))
            continue;
        printf("%-36d", workloads[i].workers);
        print_cells(contest, workloads[i].name, "pairs_per_s", 0);
    }
}

void print_curves(void)
{
    print_curve("processes: pairs/s, disk", "disk", false);
    print_curve("threads: pairs/s, disk", "disk", true);
    print_curve("threads: pairs/s, PostgreSQL", "postgres", true);
    print_curve("threads: pairs/s, etcd", "etcd", true);
}

void print_held(void)
{
    if (!was_recorded("held", contenders[LIBDSS]->name, held_metrics[0]))
        return;
    print_heading("locks held: us of a pair", contest_of("disk"));
    for (int size = 0; size < HELD_SIZES; size++) {
        printf("%-36ld", held_sizes[size]);
        print_cells(contest_of("disk"), "held", held_metrics[size], 1);
    }
}

static void print_quantile(const char *text, double share)
{
    printf("%-36s", text);
    for (int i = 0; i < contender_count; i++) {
        const struct histogram *latency = recorded_latency("procs8", contenders[i]->name);
        double worst_us = summarize("procs8", contenders[i]->name, "worst_us").max;

        print_cell(1, latency != NULL ? fmin(histogram_quantile_us(latency, share), worst_us) : NAN);
    }
    putchar('\n');
}

static void print_worst(void)
{
    printf("%-36s", "  worst");
    for (int i = 0; i < contender_count; i++)
        print_cell(1, summarize("procs8", contenders[i]->name, "worst_us").max);
    putchar('\n');
}

void print_latency(void)
{
    if (recorded_latency("procs8", contenders[LIBDSS]->name) == NULL)
        return;
    print_heading("8 processes, disk: us of a call", contest_of("disk"));
    print_quantile("  half of the calls, at most", 0.5);
    print_quantile("  99 %", 0.99);
    print_quantile("  99.9 %", 0.999);
    print_worst();
    printf("%-36s", "  calls that gave -EBUSY, a round");
    print_cells(contest_of("disk"), "procs8", "failed_calls", 0);
    printf("%-36s", "  slowest / fastest process");
    print_cells(contest_of("disk"), "procs8", "slowest_to_fastest_worker", 2);
}
