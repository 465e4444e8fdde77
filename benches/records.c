/* The numbers of records.h, in one list each for values and histograms. */
#include "records.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

struct value {
    struct subject subject;
    int round;
    const char *metric;
    double value;
};

struct latency {
    struct subject subject;
    struct histogram histogram;
};

enum { MAX_LATENCIES = 256 };

static struct value *values;
static size_t value_count, value_room;
static struct latency *latencies[MAX_LATENCIES];
static int latency_count;
static bool refused;

void record(const struct subject *subject, int round, const char *metric, double value)
{
    if (value_count == value_room) {
        value_room = 2 * value_room + 256;
        values = realloc(values, value_room * sizeof(*values));
        if (values == NULL)
            die("no memory for the numbers");
    }
    values[value_count++] = (struct value){ *subject, round, metric, value };
}

static struct latency *find_latency(const char *workload, const char *contender)
{
    for (int i = 0; i < latency_count; i++) {
        const struct subject *subject = &latencies[i]->subject;

        if (strcmp(subject->workload, workload) == 0 && strcmp(subject->contender, contender) == 0)
            return latencies[i];
    }
    return NULL;
}

void record_latency(const struct subject *subject, const struct histogram *latency)
{
    struct latency *sum = find_latency(subject->workload, subject->contender);

    if (sum == NULL) {
        sum = calloc(1, sizeof(*sum));
        if (sum == NULL || latency_count == MAX_LATENCIES)
            die("no room for the durations of %s", subject->workload);
        sum->subject = *subject;
        latencies[latency_count++] = sum;
    }
    histogram_merge(&sum->histogram, latency);
}

const struct histogram *recorded_latency(const char *workload, const char *contender)
{
    const struct latency *latency = find_latency(workload, contender);

    return latency != NULL ? &latency->histogram : NULL;
}

double recorded(const char *workload, const char *contender, const char *metric, int round)
{
    for (size_t i = 0; i < value_count; i++) {
        const struct value *value = &values[i];

        if (value->round == round && strcmp(value->metric, metric) == 0 &&
            strcmp(value->subject.workload, workload) == 0 && strcmp(value->subject.contender, contender) == 0)
            return value->value;
    }
    return NAN;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

double median_of(double *sorted, int count)
{
    if (count == 0)
        return NAN;
    qsort(sorted, (size_t)count, sizeof(*sorted), by_size);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

struct summary summarize(const char *workload, const char *contender, const char *metric)
{
    double rounds[MAX_ROUNDS];
    struct summary summary = { NAN, NAN, NAN };
    int count = 0;

    for (int round = 0; round < MAX_ROUNDS; round++) {
        rounds[count] = recorded(workload, contender, metric, round);
        if (!isnan(rounds[count]))
            count++;
    }
    if (count > 0)
        summary = (struct summary){ median_of(rounds, count), rounds[0], rounds[count - 1] };
    return summary;
}

bool was_recorded(const char *workload, const char *contender, const char *metric)
{
    return !isnan(recorded(workload, contender, metric, 0));
}

double median_ratio(struct sample over, struct sample under)
{
    double ratios[MAX_ROUNDS];
    int count = 0;

    for (int round = 0; round < MAX_ROUNDS; round++) {
        ratios[count] = recorded(over.workload, over.contender, over.metric, round) /
                        recorded(under.workload, under.contender, under.metric, round);
        if (!isnan(ratios[count])) /* 0/0 too: neither did anything in that round */
            count++;
    }
    if (count >= MIN_ROUNDS)
        return median_of(ratios, count);
    refused = refused || count > 0;
    return NAN;
}

bool ratio_was_refused(void)
{
    return refused;
}

static void write_subject(FILE *file, const struct subject *subject)
{
    fprintf(file, "%s,%s,%d,%s,", subject->workload, subject->store, subject->workers, subject->contender);
}

static void write_latency(FILE *file, const struct latency *latency)
{
    for (int i = 0; i < BUCKETS; i++) {
        if (latency->histogram.counts[i] == 0)
            continue;
        write_subject(file, &latency->subject);
        fprintf(file, "all,calls_below_%g_us,%llu\n", histogram_bound_us(i),
                (unsigned long long)latency->histogram.counts[i]);
    }
}

bool write_csv(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return false;
    fprintf(file, "workload,store,workers,contender,round,metric,value\n");
    for (size_t i = 0; i < value_count; i++) {
        write_subject(file, &values[i].subject);
        fprintf(file, "%d,%s,%.10g\n", values[i].round + 1, values[i].metric, values[i].value);
    }
    for (int i = 0; i < latency_count; i++)
        write_latency(file, latencies[i]);
    return fclose(file) == 0;
}
