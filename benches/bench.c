/*
 * Measures libdss beside other ways to lock, in alternating rounds of one run:
 *
 *   bench --disk=FOLDER [--tmpfs=FOLDER] [--postgres=URI] [--etcd=URI] [--library=FILE] [--csv=FILE] [--svg=FILE]
 *
 * The folders are where the stores go, and the connection strings say which servers are measured. scripts/bench.sh builds and starts
 * it, and tells of its environment.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contender.h"
#include "picture.h"
#include "records.h"
#include "support.h"
#include "tables.h"
#include "workloads.h"

static double number_from(const char *name, double least, double greatest)
{
    const char *text = getenv(name);
    double number;
    char *end;

    if (text == NULL || text[0] == '\0')
        return 0;
    number = strtod(text, &end);
    if (*end != '\0' || !(number >= least && number <= greatest))
        die("%s=%s: not a number from %g to %g", name, text, least, greatest);
    return number;
}

static void read_environment(void)
{
    settings.rounds = (int)number_from("BENCH_ROUNDS", 1, MAX_ROUNDS);
    settings.seconds = number_from("BENCH_SECONDS", 0.01, 60);
    settings.calls = (long)number_from("BENCH_CALLS", 1, 1e12);
    settings.only = getenv("BENCH_ONLY");
}

static void read_arguments(int argc, char **argv)
{
    static const struct option options[] = {
        { "disk", required_argument, NULL, 'd' },     { "tmpfs", required_argument, NULL, 't' },
        { "postgres", required_argument, NULL, 'p' }, { "etcd", required_argument, NULL, 'e' },
        { "library", required_argument, NULL, 'l' },  { "csv", required_argument, NULL, 'c' },
        { "svg", required_argument, NULL, 's' },      { NULL, 0, NULL, 0 },
    };

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'd': settings.disk = optarg; break;
        case 't': settings.tmpfs = optarg; break;
        case 'p': settings.postgres = optarg; break;
        case 'e': settings.etcd = optarg; break;
        case 'l': settings.library = optarg; break;
        case 'c': settings.csv = optarg; break;
        case 's': settings.svg = optarg; break;
        default: die("see scripts/bench.sh");
        }
    }
    if (settings.disk == NULL || optind != argc)
        die("usage: bench --disk=FOLDER [--tmpfs=FOLDER] [--postgres=URI] [--etcd=URI] [--library=FILE] ...");
}

static void refuse_unknown_names(void)
{
    for (int i = 0; i < workload_count; i++) {
        if (is_wanted(&workloads[i]))
            return;
    }
    fprintf(stderr, "bench: BENCH_ONLY=%s names none of:", settings.only);
    for (int i = 0; i < workload_count; i++)
        fprintf(stderr, " %s", workloads[i].name);
    fputc('\n', stderr);
    exit(1);
}

/* What is there with one round is no matter of time. Pairs on tmpfs are left out where there is none. */
static void plan(void)
{
    refuse_unknown_names();
    for (int i = 0; i < workload_count; i++) {
        struct workload *workload = &workloads[i];

        if (settings.tmpfs == NULL && workload->run != run_pairs && strcmp(workload->store, "tmpfs") == 0)
            workload->store = "disk";
        if (settings.rounds > 0 && workload->rounds > 1)
            workload->rounds = settings.rounds;
        if (is_wanted(workload))
            progress_plan(workload->cost_s(workload));
    }
}

static void run(const void *arg)
{
    const struct workload *workload = arg;

    workload->run(workload);
}

/* What can't be run says so, and the others go on. */
static bool measure(void)
{
    bool whole = true;

    for (int i = 0; i < workload_count; i++) {
        if (!is_wanted(&workloads[i]))
            continue;
        progress_done(workloads[i].name, 0);
        whole = attempt(run, &workloads[i]) && whole;
    }
    progress_clear();
    return whole;
}

static void print_tables(const char *machine)
{
    printf("%s\n\n", machine);
    print_wishes();
    print_curves();
    print_latency();
    print_held();
    if (ratio_was_refused())
        printf("\nno ratios from fewer than five rounds\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char machine[512];
    bool whole;

    signal(SIGINT, SIG_DFL); /* A shell that starts it in the background would have it ignored. */
    read_environment();
    read_arguments(argc, argv);
    plan();
    whole = measure();
    describe_machine(machine, sizeof(machine));
    print_tables(machine);
    if (settings.csv != NULL && !write_csv(settings.csv))
        die("%s: %s", settings.csv, strerror(errno));
    if (settings.svg != NULL && !write_picture(settings.svg, machine))
        die("%s: %s", settings.svg, strerror(errno));
    if (!whole)
        fprintf(stderr, "bench: not all could be run; see above\n");
    return whole ? 0 : 1;
}
