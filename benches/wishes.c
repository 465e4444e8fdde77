/* The table of what was wished for: libdss beside hand-written C, and whether that is reached. */
#include <math.h>
#include <stdio.h>

#include "contender.h"
#include "records.h"
#include "tables.h"
#include "wish.h"
#include "workloads.h"

static void print_number(int width, int decimals, double number)
{
    if (isnan(number))
        printf("%*s", width, "-");
    else
        printf("%*.*f", width, decimals, number);
}

static void print_heading(void)
{
    static bool printed;

    if (!printed)
        printf("%-46s%11s%14s%9s  %-11s  %s\n", "medians of the rounds", "libdss", "beside it", "ratio", "wanted",
               "reached");
    printed = true;
}

void print_wish(const struct wish *wish)
{
    const char *reached = "-";
    char limit[32] = "-";

    print_heading();
    if (!isnan(wish->judged))
        reached = (wish->at_most ? wish->judged <= wish->limit : wish->judged >= wish->limit) ? "yes" : "no";
    printf("%-46s", wish->text);
    print_number(11, wish->decimals, wish->libdss);
    print_number(14, wish->decimals, wish->rival);
    print_number(9, 2, wish->ratio);
    if (wish->limit > 0)
        snprintf(limit, sizeof(limit), "%s %.6g %s", wish->at_most ? "<=" : ">=", wish->limit, wish->unit);
    printf("  %-11s  %s\n", limit, reached);
}

static double middle(const char *workload, int contender, const char *metric)
{
    return summarize(workload, contenders[contender]->name, metric).median;
}

static struct sample sample(const char *workload, int contender, const char *metric)
{
    return (struct sample){ workload, contenders[contender]->name, metric };
}

static bool was_run(const char *workload, const char *metric)
{
    return was_recorded(workload, contenders[LIBDSS]->name, metric);
}

struct wish compare(const char *text, const char *workload, const char *rival, const char *metric, bool inverse)
{
    struct sample ours = sample(workload, LIBDSS, metric), theirs = { workload, rival, metric };
    double ratio = inverse ? median_ratio(theirs, ours) : median_ratio(ours, theirs);

    return (struct wish){
        .text = text,
        .libdss = middle(workload, LIBDSS, metric),
        .rival = summarize(workload, rival, metric).median,
        .ratio = ratio,
        .judged = ratio,
        .unit = "x",
    };
}

/* The same beside hand-written C. */
static struct wish compare_handwritten(const char *text, const char *workload, const char *metric, bool inverse)
{
    return compare(text, workload, contenders[HANDWRITTEN]->name, metric, inverse);
}

static void wish_pairs(const char *text, const char *workload, double limit)
{
    struct wish wish;

    if (!was_run(workload, "pairs_per_s"))
        return;
    wish = compare_handwritten(text, workload, "pairs_per_s", false);
    wish.limit = limit;
    print_wish(&wish);
}

static void wish_fairness(const char *workload, double limit)
{
    struct wish wish;

    if (!was_run(workload, "slowest_to_fastest_worker"))
        return;
    wish = compare_handwritten("  slowest / fastest process", workload, "slowest_to_fastest_worker", false);
    wish.decimals = 2;
    wish.ratio = NAN; /* It may be over 0. */
    wish.judged = isnan(recorded(workload, contenders[LIBDSS]->name, "slowest_to_fastest_worker", MIN_ROUNDS - 1))
                      ? NAN
                      : wish.libdss;
    wish.limit = limit;
    wish.unit = "";
    print_wish(&wish);
}

static void wish_worst(const char *workload, double limit)
{
    struct wish wish;

    if (!was_run(workload, "worst_us"))
        return;
    wish = compare_handwritten("  worst call, us; theirs / ours", workload, "worst_us", true);
    wish.limit = limit;
    print_wish(&wish);
}

void wish_sets(const char *text, const char *workload, double limit)
{
    struct sample at_once = sample(workload, LIBDSS, "lockv_sets_per_s");
    struct sample one_by_one = sample(workload, LIBDSS, "single_sets_per_s");
    double ratio = median_ratio(at_once, one_by_one);

    if (!was_run(workload, "lockv_sets_per_s"))
        return;
    print_wish(&(struct wish){
        .text = text,
        .libdss = middle(workload, LIBDSS, "lockv_sets_per_s"),
        .rival = NAN,
        .ratio = NAN,
        .judged = NAN,
    });
    print_wish(&(struct wish){
        .text = "  by 64 dss_lock; ratio of the two",
        .decimals = 1,
        .libdss = middle(workload, LIBDSS, "single_sets_per_s"),
        .rival = NAN,
        .ratio = ratio,
        .judged = limit > 0 ? ratio : NAN,
        .limit = limit,
        .unit = "x",
    });
}

/* A number of libdss that has a limit of its own; that of hand-written C stands beside it where there is one. */
static void wish_number(const char *text, const char *workload, const char *metric, int decimals, bool at_most,
                        double limit, const char *unit)
{
    struct wish wish;

    if (!was_run(workload, metric))
        return;
    wish = (struct wish){
        .text = text,
        .decimals = decimals,
        .libdss = middle(workload, LIBDSS, metric),
        .rival = middle(workload, HANDWRITTEN, metric),
        .ratio = NAN,
        .at_most = at_most,
        .limit = limit,
        .unit = unit,
    };
    wish.judged = wish.libdss;
    print_wish(&wish);
}

/* Two numbers of libdss by their ratio, in one line: the first is shown, and the ratio over the second is judged. */
static void wish_change(const char *text, int decimals, const char *workload, const char *metric,
                        const char *workload_before, const char *metric_before, bool at_most, double limit)
{
    double ratio = median_ratio(sample(workload, LIBDSS, metric), sample(workload_before, LIBDSS, metric_before));

    if (!was_run(workload, metric))
        return;
    print_wish(&(struct wish){
        .text = text,
        .decimals = decimals,
        .libdss = middle(workload, LIBDSS, metric),
        .rival = middle(workload, HANDWRITTEN, metric),
        .ratio = ratio,
        .judged = ratio,
        .at_most = at_most,
        .limit = limit,
        .unit = "x",
    });
}

static void wish_growth(void)
{
    char text[64];

    if (!was_run("growth", "growth_kib"))
        return;
    snprintf(text, sizeof(text), "%.0f calls: growth of memory, KiB",
             recorded("growth", contenders[LIBDSS]->name, "growth_calls", 0));
    wish_number(text, "growth", "growth_kib", 0, true, 64, "KiB");
    wish_number("  the same on memory:", "growth", "growth_of_memory_store_kib", 0, true, 64, "KiB");
}

static void wish_of_libdss(void)
{
    wish_sets("64 ids, disk: sets/s by dss_lockv", "sets", 25);
    wish_number("dss_lock_status, 1 thread, tmpfs: calls/s", "status", "status_per_s", 0, false, 150000, "");
    wish_change("  4 processes write: per s of CPU, and / alone", 0, "status-writers", "status_per_cpu_s", "status",
                "status_per_cpu_s", false, 0.8);
    wish_change("100-byte dss_set, disk: us, and / dss_lock", 1, "state-set", "set_us", "state-set", "lock_us", true, 1.1);
    wish_number("100-byte dss_get, 1 thread, tmpfs: calls/s", "state-get", "get_per_s", 0, false, 100000, "");
    wish_change("1,000,000 held: us of a pair, and / 1000 held", 1, "held", held_metrics[HELD_SIZES - 1], "held",
                held_metrics[0], true, 1.3);
    wish_number("dss_init + dss_fini, alone, disk: ms", "opening", "open_close_ms", 2, true, 2, "ms");
    wish_number("  while another process has it open", "opening", "open_close_beside_ms", 2, true, 2, "ms");
    wish_number("memory of an open handle: MiB", "memory", "handle_mib", 2, true, 8, "MiB");
    wish_growth();
    wish_number("libdss.so, stripped: MiB", "size", "library_mib", 2, true, 2.5, "MiB");
}

void print_wishes(void)
{
    wish_pairs("1 thread, disk: pairs/s", "single-disk", 1.0);
    wish_pairs("1 thread, tmpfs: pairs/s", "single-tmpfs", 0.9);
    wish_pairs("8 processes, 8 ids, disk: pairs/s", "procs8", 3);
    wish_fairness("procs8", 0.7);
    wish_worst("procs8", 20);
    wish_pairs("32 processes, 32 ids, disk: pairs/s", "procs32", 4);
    wish_fairness("procs32", 0.6);
    wish_pairs("8 threads, 8 ids, disk: pairs/s", "threads8", 6);
    wish_pairs("64 threads, 64 ids, disk: pairs/s", "threads64", 15);
    wish_of_libdss();
    print_server_wishes();
}
