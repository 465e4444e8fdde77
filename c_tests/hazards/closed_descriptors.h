/*
 * The processes of one case of closed_descriptors.c, what they share, and the calls that the host
 * makes after it has closed its descriptors.
 */
#ifndef CLOSED_DESCRIPTORS_H
#define CLOSED_DESCRIPTORS_H

#include "own_files.h"

#include <linux/close_range.h>

/* The limit of a call of the host, and how much later than that it may end on a busy machine. */
#define TIMEOUT_MS 3000
#define LATE_S 6.0
/* Whoever tells nothing for so long hangs. */
#define PATIENCE_MS 60000
/* After so many violations a host gives up: the rest tells nothing more. */
#define ENOUGH 8

enum situation { IDLE, IN_CALL, IN_WAIT, KEPT, IN_LIST, SITUATIONS };

enum way { CLOSEFROM, CLOSE_RANGE, CLOSE_LOOP, WAYS };

/* What the host tells the observer. */
enum word { READY = 1, LOOK, FORCE, DONE, SEEN };

/* In memory that the host, its neighbour and the observer share. */
struct shared {
    _Atomic int violations;
    _Atomic int host_acked,
        neighbour_acked; /* the locks "host 0", ... and "neighbour 0", ... are held */
    _Atomic int closings_begun, closings_done;
    _Atomic int inside;        /* who holds the lock "contended": 0 for nobody */
    _Atomic int release, stop; /* what the neighbour is asked */
    _Atomic int served;        /* how many waits have ended after a release */
    struct own_files files;
};

struct scene {
    int number;
    unsigned seed;
    enum situation situation;
    enum way way;
    int is_multi, rounds, own_count;
    const char *uri;
    struct shared *shared;
    struct line to_host, from_host, from_neighbour;
};

struct host {
    struct scene *scene;
    struct dss_handle handle, other;
    struct line observer; /* 0 to hear, 1 to tell: these are not closed */
};

static inline void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* The next word, or 0 if the other process has ended or tells nothing for long. */
static inline int next_word(const struct line *line)
{
    struct pollfd end = {.fd = line->ends[0], .events = POLLIN};
    int word = 0;

    if (poll(&end, 1, PATIENCE_MS) == 1 &&
        read(end.fd, &word, sizeof(word)) == (ssize_t)sizeof(word))
        return word;
    return 0;
}

/* An id of this scene: scenes on one server share a store. */
static inline const char *id_of(const struct scene *scene, const char *name, int number,
                                char text[96])
{
    snprintf(text, 96, "moment %d %s %d", scene->number, name, number);
    return text;
}

static inline void judge(int line, const char *call, int rc, int expected, double seconds,
                         double wait_s)
{
    EXPECT(rc == expected, "line %d: %s gave %d (%s), not %d; %s", line, call, rc, dss_strerror(rc),
           expected, rc < 0 ? dss_last_error() : "");
    EXPECT(seconds < TIMEOUT_MS / 1e3 + wait_s + LATE_S, "line %d: %s took %.1f s", line, call,
           seconds);
}

/* Makes a call of the library that has to give `expected` within its time; `wait_s` is what it may
 * wait for a lock. */
#define CALL_WAITING(call, expected, wait_s)                                                       \
    do {                                                                                           \
        double call_began_ = test_seconds();                                                       \
        int call_rc_ = (call);                                                                     \
        judge(__LINE__, #call, call_rc_, (expected), test_seconds() - call_began_, (wait_s));      \
    } while (0)

#define CALL(call, expected) CALL_WAITING(call, expected, 0)

/* ---- The locks that were acknowledged ---- */

static inline void check_held(struct dss_handle *handle, const struct scene *scene,
                              const char *owner, int count, const char *when)
{
    char id[96];

    for (int i = 0; i < count; i++) {
        char *found = NULL;
        int rc = dss_lock_status(handle, id_of(scene, owner, i, id), &found, NULL);

        EXPECT(rc == 0 && found != NULL && strcmp(found, owner) == 0,
               "%s: the acknowledged lock \"%s\" is lost: "
               "status gave %d (%s), owner %s",
               when, id, rc, dss_strerror(rc), found != NULL ? found : "none");
        free(found);
        rc = dss_lock(handle, id, "thief");
        EXPECT(rc == -EEXIST,
               "%s: the acknowledged lock \"%s\" was granted again: dss_lock gave %d (%s)", when,
               id, rc, dss_strerror(rc));
    }
}

static inline void check_acknowledged(struct dss_handle *handle, const struct scene *scene,
                                      const char *when)
{
    check_held(handle, scene, "host", atomic_load(&scene->shared->host_acked), when);
    check_held(handle, scene, "neighbour", atomic_load(&scene->shared->neighbour_acked), when);
}

/* ---- Calls after descriptors were closed: each gives its usual answer ---- */

static inline void take_one(struct host *host)
{
    int number = atomic_load(&host->scene->shared->host_acked);
    double began = test_seconds();
    char id[96];
    int rc = dss_lock(&host->handle, id_of(host->scene, "host", number, id), "host");

    judge(__LINE__, "dss_lock", rc, 0, test_seconds() - began, 0);
    if (rc == 0)
        atomic_fetch_add(&host->scene->shared->host_acked, 1);
}

static inline void take_held(struct host *host)
{
    char id[96];

    CALL(dss_lock(&host->other, id_of(host->scene, "host", 0, id), "thief"), -EEXIST);
}

static inline void refresh_held(struct host *host)
{
    char id[96];

    CALL(dss_lock_refresh(&host->handle, id_of(host->scene, "host", 0, id), "host"), 0);
}

static inline void see_held(struct host *host)
{
    char id[96], *owner = NULL;

    CALL(dss_lock_status(&host->other, id_of(host->scene, "host", 0, id), &owner, NULL), 0);
    free(owner);
}

static inline void lock_and_unlock(struct host *host)
{
    char id[96];

    CALL(dss_lock(&host->handle, id_of(host->scene, "pair", 0, id), "host"), 0);
    CALL(dss_unlock(&host->handle, id, "host"), 0);
}

static inline void wait_in_vain(struct host *host)
{
    char id[96];

    CALL_WAITING(lock_waiting(&host->handle, id_of(host->scene, "host", 0, id), "thief", 30, NULL),
                 -ETIMEDOUT, 0.03);
}

static inline void set_and_get(struct host *host)
{
    char key[96];
    void *value = NULL;
    size_t size = 0;

    CALL(dss_set(&host->handle, id_of(host->scene, "key", 0, key), "value", 5, NULL, NULL), 0);
    CALL(dss_get(&host->handle, key, &value, &size, NULL), 0);
    EXPECT(value != NULL && size == 5 && memcmp(value, "value", 5) == 0,
           "dss_get gave another value");
    free(value);
}

static inline int count_one(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    ++*(int *)arg;
    return 0;
}

static inline int list_of(struct host *host, const char *name, dss_lock_cb callback, void *arg)
{
    char prefix[96];
    struct dss_filter filter = {
        .size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = prefix};

    snprintf(prefix, sizeof(prefix), "moment %d %s ", host->scene->number, name);
    return dss_lock_list(&host->handle, &filter, callback, arg);
}

static inline void list_held(struct host *host)
{
    int found = 0, held = atomic_load(&host->scene->shared->host_acked);

    CALL(list_of(host, "host", count_one, &found), 0);
    EXPECT(found == held, "the list has %d of %d locks", found, held);
}

/* All of them; which comes first is up to the seed. */
static inline void make_calls(struct host *host)
{
    static void (*const calls[])(struct host *) = {take_one,    take_held,       refresh_held,
                                                   see_held,    lock_and_unlock, wait_in_vain,
                                                   set_and_get, list_held};
    unsigned first = (unsigned)rand_r(&host->scene->seed);

    for (unsigned i = 0; i < COUNT(calls) && atomic_load(violation_count) < ENOUGH; i++)
        calls[(first + i) % COUNT(calls)](host);
}

/* ---- The host closes its descriptors, and opens others ---- */

static inline void close_descriptors(struct host *host)
{
    atomic_fetch_add(&host->scene->shared->closings_begun, 1);
    if (host->scene->way == CLOSEFROM)
        closefrom(3);
    else if (host->scene->way == CLOSE_RANGE)
        CHECK(close_range(3, ~0u, 0) == 0);
    else
        for (int fd = 3; fd < 1024; fd++)
            (void)close(fd);
    atomic_fetch_add(&host->scene->shared->closings_done, 1);
}

static inline void close_and_open(struct host *host)
{
    close_descriptors(host);
    own_files_open(&host->scene->shared->files);
}

/* A child closes what it inherits of a store; that is not the host's. */
static inline void check_in_a_child(struct host *host)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        own_files_check(&host->scene->shared->files, "in a forked child");
        end_child();
    }
    test_join(child);
}

#endif
