/* The buckets of histogram.h. */
#include "histogram.h"

enum { STEPS_BITS = 4, STEPS = 1 << STEPS_BITS };

static int bucket_of(uint64_t duration_ns)
{
    int power, bucket;

    if (duration_ns < STEPS)
        return (int)duration_ns;
    power = 63 - __builtin_clzll(duration_ns);
    bucket = (power - STEPS_BITS + 1) * STEPS + (int)((duration_ns >> (power - STEPS_BITS)) & (STEPS - 1));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

void histogram_add(struct histogram *histogram, int64_t duration_ns)
{
    histogram->counts[bucket_of(duration_ns > 0 ? (uint64_t)duration_ns : 0)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (int i = 0; i < BUCKETS; i++)
        into->counts[i] += from->counts[i];
}

uint64_t histogram_total(const struct histogram *histogram)
{
    uint64_t total = 0;

    for (int i = 0; i < BUCKETS; i++)
        total += histogram->counts[i];
    return total;
}

double histogram_bound_us(int bucket)
{
    uint64_t step = (uint64_t)bucket + 1;

    if (step >= STEPS)
        step = (STEPS + step % STEPS) << (step / STEPS - 1);
    return (double)step / 1000;
}

double histogram_quantile_us(const struct histogram *histogram, double share)
{
    const double wanted = share * (double)histogram_total(histogram);
    double seen = 0;

    for (int i = 0; i < BUCKETS; i++) {
        seen += (double)histogram->counts[i];
        if (seen >= wanted && seen > 0)
            return histogram_bound_us(i);
    }
    return 0;
}
