/*
 * What the benchmark measures: something that can lock and unlock by name, in files in a folder, or at a server.
 *
 * Each contender is a C file that defines one of these, and has its place in contenders.c. The calls give 0 or a
 * negative errno, as those of libdss. What is opened belongs to one worker, and only its thread calls with it.
 */
#ifndef CONTENDER_H
#define CONTENDER_H

#include <stdbool.h>
#include <stddef.h>

struct contender {
    const char *name;
    const char *title; /* the same for people who look at the picture */
    /* The threads of a process share what one open gave, and call with it at the same time. */
    bool one_for_all_threads;
    /* Whether it can be measured in the folder, as when its server runs there; NULL: always. */
    bool (*is_there)(const char *folder);
    /*
     * Opens its files in the folder, made where there are none, or connects to the server, if it is the connection string of
     * one; NULL after a failure, which has been told on stderr.
     */
    void *(*open)(const char *folder);
    int (*lock)(void *self, const char *id, const char *owner);
    int (*unlock)(void *self, const char *id, const char *owner);
    /* Looks who holds a lock, and since when; NULL where that is not measured. */
    int (*status)(void *self, const char *id);
    /* Sets a value under a key, durably; gets it, as a copy of the caller's; NULL where that is not measured. */
    int (*set)(void *self, const char *key, const void *value, size_t len);
    int (*get)(void *self, const char *key);
    /* Takes the locks "held/0" to "held/N-1" as fast as it can; NULL where that is not measured. */
    int (*fill)(void *self, long count);
    void (*close)(void *self);
};

extern const struct contender contender_libdss;
extern const struct contender contender_handwritten;
extern const struct contender contender_flock;
extern const struct contender contender_redis; /* only where its client library was found, as for those below */
extern const struct contender contender_postgres_text;
extern const struct contender contender_postgres_prepared;
extern const struct contender contender_postgres_text_bare;
extern const struct contender contender_postgres_prepared_bare;
extern const struct contender contender_etcd_bare;
extern const struct contender contender_etcd_session;
extern const struct contender contender_etcd_lease;

/*
 * Who is measured beside each other: all that were compiled in for a kind of store. The first is libdss. Ratios are taken of the
 * first `judged` ones.
 */
enum { LIBDSS, HANDWRITTEN, MAX_CONTENDERS = 8 };
struct contest {
    const struct contender *const *contenders;
    int count, judged;
};

/* Of a workload's store: "disk", "tmpfs", or that of a server. */
const struct contest *contest_of(const char *store);

/* Those with files on this host. The second is hand-written C. */
extern const struct contender *const contenders[];
extern const int contender_count;

#endif
