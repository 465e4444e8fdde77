/* What every file of the benchmark needs: its settings, its clock, its end, children, and the line of progress. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* From the command line and the environment; see bench.c. Folders and servers are NULL where there are none. */
struct settings {
    const char *disk, *tmpfs;
    const char *postgres, *etcd; /* connection strings */
    const char *csv, *svg;
    const char *library; /* the stripped libdss.so, for its size */
    const char *only;
    int rounds;     /* 0: each workload's own */
    double seconds; /* 0: each workload's own */
    long calls;     /* of the search for growth */
};
extern struct settings settings;

/* Tells what can't be done, and ends the attempt; outside of one the program, or the child that calls it. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* false if the function died; its children are ended then. */
bool attempt(void (*function)(const void *arg), const void *arg);

int64_t now_ns(void);        /* CLOCK_MONOTONIC */
int64_t thread_cpu_ns(void); /* CLOCK_THREAD_CPUTIME_ID */
void sleep_until(int64_t moment_ns);

/* Zeroed memory that is shared with all children. */
void *shared_memory(size_t size);

/* A child that ends when its parent or the attempt does, and by itself should it hang. */
pid_t fork_child(void);

/* Waits for a child, and dies of any other end than exit(0). */
void wait_for_child(pid_t child, const char *what);

/* Runs the function in a child of its own, so that what it opens and allocates leaves no trace here. */
void run_in_child(void (*function)(void *arg), void *arg, const char *what);

/*
 * One line on a terminal that tells what runs and how long the rest will take; a log gets nothing. Children share it.
 * Each step costs so many seconds, as planned beforehand; one that begins has cost 0.
 */
void progress_plan(double seconds);
void progress_done(const char *what, double seconds);
void progress_clear(void);

#endif
