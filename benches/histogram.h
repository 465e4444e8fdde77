/*
 * How often a call took how long: a count for each of 16 steps in every power of two nanoseconds, so a duration is
 * known to 6 % from nanoseconds to an hour, in 5 kB that processes can share.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { BUCKETS = 640 };

struct histogram {
    uint64_t counts[BUCKETS];
};

void histogram_add(struct histogram *histogram, int64_t duration_ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
uint64_t histogram_total(const struct histogram *histogram);

/* The durations in a bucket are less than this. */
double histogram_bound_us(int bucket);

/* So many microseconds that the share (0 to 1) of the calls took no longer; 0 where there were no calls. */
double histogram_quantile_us(const struct histogram *histogram, double share);

#endif
