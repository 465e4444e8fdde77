/* A line of the table of what was wished for: a number of libdss, one beside it, and what is to be reached. */
#ifndef WISH_H
#define WISH_H

#include <stdbool.h>

struct wish {
    const char *text;
    int decimals;
    double libdss, rival; /* NAN: none */
    double ratio;
    double judged; /* what the limit is for; NAN: nothing was measured, or in too few rounds */
    bool at_most;
    double limit; /* 0: none */
    const char *unit; /* of the limit; "x" for a ratio */
};

void print_wish(const struct wish *wish);

/* Numbers of libdss and of another, and the median of their ratio: libdss over that one, or the other way round. */
struct wish compare(const char *text, const char *workload, const char *rival, const char *metric, bool inverse);

/* 64 ids at once, beside 64 pairs; the limit is that of their ratio, or 0. */
void wish_sets(const char *text, const char *workload, double limit);

/* Those of the server stores. */
void print_server_wishes(void);

#endif
