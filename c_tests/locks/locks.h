/*
 * What the programs about tokens, leases and lists share: to take a lock, to look at what was granted, and to see a
 * lock as the list shows it.
 */
#ifndef LOCKS_H
#define LOCKS_H

#include <pthread.h>

#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What an output is filled with before a call, so that what the call leaves alone can be told. */
#define UNTOUCHED 0xa5

static inline int is_all(const void *memory, unsigned char byte, size_t size)
{
    const unsigned char *bytes = memory;
    size_t i;

    for (i = 0; i < size && bytes[i] == byte; i++)
        continue;
    return i == size;
}

/* Options with all that is not named at zero. */
static inline struct dss_lock_opts options(uint64_t flags, uint64_t ttl_ms)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .flags = flags, .ttl_ms = ttl_ms };

    return opts;
}

/* Ends the test unless the grant is one of a lock for which this lease was asked; 0 stands for one that never expires. */
static inline void check_granted(const struct dss_grant *grant, uint64_t ttl_ms)
{
    CHECK(grant->rc == 0);
    CHECK(grant->token != 0 && grant->token < UINT64_C(1) << 63);
    CHECK(grant->left_ms > 0);
    CHECK(ttl_ms == 0 ? grant->left_ms == INT64_MAX : grant->left_ms <= test_ttl_ms((int64_t)ttl_ms));
    CHECK(is_all(grant->reserved, 0, sizeof(grant->reserved)));
}

/* Ends the test unless the grant says that nothing was granted, and why. */
static inline void check_refused(const struct dss_grant *grant, int rc)
{
    CHECK_RC(grant->rc, rc);
    CHECK(grant->token == 0 && grant->left_ms == 0 && grant->flags == 0);
    CHECK(is_all(grant->reserved, 0, sizeof(grant->reserved)));
}

/* Takes one lock, which must succeed. */
static inline struct dss_grant take(struct dss_handle *handle, const char *lock_id, const char *lock_owner,
                                    uint64_t flags, uint64_t ttl_ms)
{
    struct dss_lock_opts opts = options(flags, ttl_ms);
    struct dss_grant grant;

    memset(&grant, UNTOUCHED, sizeof(grant));
    CHECK_RC(dss_lockv(handle, &lock_id, 1, lock_owner, &opts, &grant), 0);
    check_granted(&grant, ttl_ms);
    return grant;
}

/* Refreshes one lock by its token. */
static inline int refresh(struct dss_handle *handle, const char *lock_id, const char *lock_owner, uint64_t token)
{
    return dss_lock_refreshv(handle, &lock_id, 1, lock_owner, &token, NULL);
}

/* Releases one lock by its token. */
static inline int release(struct dss_handle *handle, const char *lock_id, const char *lock_owner, uint64_t token)
{
    return dss_unlockv(handle, &lock_id, 1, lock_owner, &token, NULL);
}

/* A copy of what a list shows of one lock. */
struct shown {
    int times;
    char lock_id[DSS_LOCK_ID_MAX + 1], lock_owner[DSS_LOCK_OWNER_MAX + 1], note[DSS_NOTE_MAX + 1], client[1024];
    struct dss_lock_info info; /* its strings are gone */
};

static inline int copy_shown(const struct dss_lock_info *info, void *arg)
{
    struct shown *shown = arg;

    shown->times++;
    CHECK(info->size == sizeof(*info));
    CHECK(strlen(info->lock_id) < sizeof(shown->lock_id) && strlen(info->lock_owner) < sizeof(shown->lock_owner));
    CHECK(strlen(info->note) < sizeof(shown->note) && strlen(info->client) < sizeof(shown->client));
    strcpy(shown->lock_id, info->lock_id);
    strcpy(shown->lock_owner, info->lock_owner);
    strcpy(shown->note, info->note);
    strcpy(shown->client, info->client);
    shown->info = *info;
    return 0;
}

/* Looks a lock up in the list. Whether it is there. */
static inline int look_up(struct dss_handle *handle, const char *lock_id, struct shown *shown)
{
    struct dss_filter filter = { .size = sizeof(filter), .lock_id = lock_id };

    memset(shown, 0, sizeof(*shown));
    CHECK_RC(dss_lock_list(handle, &filter, copy_shown, shown), 0);
    CHECK(shown->times <= 1);
    CHECK(shown->times == 0 || strcmp(shown->lock_id, lock_id) == 0);
    return shown->times == 1;
}

/* The token of a lock that must be held. */
static inline uint64_t token_of(struct dss_handle *handle, const char *lock_id)
{
    struct shown shown;

    CHECK(look_up(handle, lock_id, &shown));
    return shown.info.token;
}

static inline int64_t stamp_of(struct dss_handle *handle, const char *lock_id)
{
    struct timeval stamp;

    CHECK_RC(dss_lock_status(handle, lock_id, NULL, &stamp), 0);
    return test_microseconds(stamp);
}

static inline int count_shown(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    ++*(size_t *)arg;
    return 0;
}

/* How many locks the store has. */
static inline size_t locks_of(struct dss_handle *handle)
{
    size_t count = 0;

    CHECK_RC(dss_lock_list(handle, NULL, count_shown, &count), 0);
    return count;
}

/* Removes every lock, so that the next check starts with an empty store. What was cleaned is OWNERDEAD afterwards. */
static inline void clear(struct dss_handle *handle)
{
    struct dss_filter everything = { .size = sizeof(everything), .flags = DSS_FILTER_EVERYTHING };

    CHECK_RC(dss_lock_clean(handle, &everything, NULL, NULL), 0);
    CHECK(locks_of(handle) == 0);
}

static inline void sleep_ms(long ms)
{
    struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

    while (nanosleep(&pause, &pause) != 0)
        CHECK(errno == EINTR);
}

static inline void check_began_within_(int64_t left_ms, uint64_t ttl_ms, double begun, double slack_ms)
{
    CHECK(left_ms > 0 && left_ms <= (int64_t)ttl_ms);
    CHECK((double)left_ms >= (double)ttl_ms - (test_seconds() - begun) * 1000 - slack_ms);
}

/* Ends the test unless a lease of which so much is left began at this time, in test_seconds(), or later. */
static inline void check_began_since(int64_t left_ms, uint64_t ttl_ms, double begun)
{
    check_began_within_(left_ms, ttl_ms, begun, 2); /* rounded down */
}

/* The same for what a list shows: etcd tells what is left of a lease in whole seconds. */
static inline void check_shown_began_since(int64_t left_ms, uint64_t ttl_ms, double begun)
{
    check_began_within_(left_ms, ttl_ms, begun, test_store_is("etcd") ? 1002 : 2);
}

/* Waits for the end of a lease, which nobody tells. */
static inline void wait_until_over(struct dss_handle *handle, const char *lock_id)
{
    double begun = test_seconds();
    int rc;

    while ((rc = dss_lock_status(handle, lock_id, NULL, NULL)) == 0) {
        CHECK(test_seconds() - begun < 30);
        sleep_ms(10);
    }
    CHECK_RC(rc, -ENOLCK);
}

/* Ends a forked child well: it leaves alone what its parent has open, which a leak checker would count against it. */
static inline void end_child(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(0);
}

static inline pthread_t start_thread(void *(*work)(void *), void *arg)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, work, arg) == 0);
    return thread;
}

static inline void join_thread(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

#endif
