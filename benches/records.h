/*
 * Every number that was measured, with what it belongs to. Tables and picture are made from these, and the CSV file
 * holds them all.
 */
#ifndef RECORDS_H
#define RECORDS_H

#include <stdbool.h>

#include "histogram.h"

/* A ratio of fewer rounds is none. */
enum { MIN_ROUNDS = 5, MAX_ROUNDS = 99 };

/* What was measured; the strings live until the end. */
struct subject {
    const char *workload;
    const char *store;
    int workers;
    const char *contender;
};

/* The median, least and greatest of the rounds; NAN where there were none. */
struct summary {
    double median, min, max;
};

/* Rounds count from 0, and from 1 in the file. */
void record(const struct subject *subject, int round, const char *metric, double value);

/* Adds up the rounds' durations of calls. */
void record_latency(const struct subject *subject, const struct histogram *latency);
const struct histogram *recorded_latency(const char *workload, const char *contender); /* NULL: none */

bool was_recorded(const char *workload, const char *contender, const char *metric);
struct summary summarize(const char *workload, const char *contender, const char *metric);

/* A number of one round, or NAN. */
double recorded(const char *workload, const char *contender, const char *metric, int round);

/* The median of values, which get sorted; NAN if there are none. */
double median_of(double *values, int count);

/* The median of the rounds' own ratios, over / under; NAN if fewer than MIN_ROUNDS have both. */
struct sample {
    const char *workload, *contender, *metric;
};
double median_ratio(struct sample over, struct sample under);

/* Whether a ratio was asked for that had too few rounds. */
bool ratio_was_refused(void);

/* false, with errno, if the file can't be written. */
bool write_csv(const char *path);

#endif
