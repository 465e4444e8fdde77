/*
 * How much memory this process takes, and took at most.
 */
#ifndef MEMORY_USE_H
#define MEMORY_USE_H

#include "test.h"

/* A figure of /proc/self/status, such as "VmRSS:". */
static inline long memory_kib(const char *field)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;

    CHECK(status != NULL);
    while (kib < 0 && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtol(line + strlen(field), NULL, 10);
    }
    CHECK(fclose(status) == 0);
    CHECK(kib >= 0);
    return kib;
}

/* Begins to note the peak anew. Whether the system can do that. */
static inline int reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    int done = file != NULL && fputs("5\n", file) >= 0;

    if (file != NULL)
        done = fclose(file) == 0 && done;
    return done;
}

#endif
