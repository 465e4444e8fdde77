/*
 * A host closes its descriptors between calls, in a wait, with a kept lock, and in the callback of
 * a list.
 */
#ifndef CLOSED_SITUATIONS_H
#define CLOSED_SITUATIONS_H

#include "closed_descriptors.h"

#define TTL_MS 2000
#define LISTED 150

/* ---- Idle ---- */

static void idle(struct host *host)
{
    close_and_open(host);
}

/* ---- In a wait ---- */

struct waiter {
    struct host *host;
    const char *name;
    int64_t wait_ms;
    int expected;
    _Atomic pid_t thread;
    double ended;
};

static void *wait_for_lock(void *arg)
{
    struct waiter *waiter = arg;
    char id[96], owner[] = "waiter";

    id_of(waiter->host->scene, waiter->name, 0, id);
    atomic_store(&waiter->thread, own_thread());
    CALL_WAITING(lock_waiting(&waiter->host->handle, id, owner, waiter->wait_ms, NULL),
                 waiter->expected, (double)waiter->wait_ms / 1e3);
    waiter->ended = test_seconds();
    if (waiter->expected == 0)
        CALL(dss_unlock(&waiter->host->handle, id, owner), 0);
    return NULL;
}

static void wait_until_it_waits(struct waiter *waiter)
{
    while (atomic_load(&waiter->thread) == 0)
        sched_yield();
    wait_until_waiting(getpid(), atomic_load(&waiter->thread));
}

static void wait_for_neighbour(struct host *host, const char *id)
{
    int is_held = 0;

    while (!is_held && atomic_load(violation_count) < ENOUGH) {
        char *owner = NULL;

        (void)dss_lock_status(&host->other, id, &owner, NULL);
        is_held = owner != NULL && strcmp(owner, "neighbour") == 0;
        free(owner);
        sleep_ms(1);
    }
}

/* One waits until the lock is released, another one in vain. */
static void in_wait(struct host *host)
{
    struct waiter served = {.host = host, .name = "wanted", .wait_ms = 20000};
    struct waiter unserved = {.host = host, .name = "host", .wait_ms = 800, .expected = -ETIMEDOUT};
    pthread_t threads[2];
    double released;
    char id[96];

    id_of(host->scene, "wanted", 0, id);
    if (host->scene->is_multi) /* in a second round it takes the lock again */
        wait_for_neighbour(host, id);
    else
        CALL(dss_lock(&host->other, id, "holder"), 0);
    threads[0] = start_thread(wait_for_lock, &served);
    wait_until_it_waits(&served);
    threads[1] = start_thread(wait_for_lock, &unserved);
    wait_until_it_waits(&unserved);
    sleep_ms(rand_r(&host->scene->seed) % 300);
    close_and_open(host);
    sleep_ms(rand_r(&host->scene->seed) % 300);
    released = test_seconds();
    if (host->scene->is_multi)
        atomic_fetch_add(&host->scene->shared->release, 1);
    else
        CALL(dss_unlock(&host->other, id, "holder"), 0);
    join_thread(threads[0]);
    atomic_fetch_add(&host->scene->shared->served, 1);
    join_thread(threads[1]);
    EXPECT(served.ended - released < LATE_S, "the waiter had the lock %.1f s after its release",
           served.ended - released);
}

/* ---- With a kept lock ---- */

static void force_kept(struct dss_handle *handle, const struct scene *scene)
{
    char id[96], *owner = NULL;
    int rc = dss_lock_status(handle, id_of(scene, "kept", 0, id), &owner, NULL);

    EXPECT(rc == 0 && strcmp(owner, "host") == 0, "the kept lock is lost: status gave %d (%s)", rc,
           dss_strerror(rc));
    free(owner);
    rc = dss_lock(handle, id, "thief");
    EXPECT(rc == -EEXIST, "the kept lock was granted again: dss_lock gave %d", rc);
    rc = dss_unlock(handle, id, NULL);
    EXPECT(rc == 0, "the kept lock could not be forced: %d", rc);
}

static void check_is_not_own(const struct own_files *files, int fd)
{
    for (int i = 0; i < files->count; i++)
        EXPECT(files->all[i].fd != fd, "dss_event_fd() gave descriptor %d, which is the host's",
               fd);
}

/* Waits for DSS_EVENT_LOST; others may come before on a busy machine. */
static void expect_loss(struct host *host, uint64_t token)
{
    double end = test_seconds() + 20;
    struct dss_event event = {.type = 0};

    while (test_seconds() < end && event.type != DSS_EVENT_LOST) {
        struct pollfd waits = {.fd = dss_event_fd(&host->handle), .events = POLLIN};

        check_is_not_own(&host->scene->shared->files, waits.fd);
        EXPECT(poll(&waits, 1, 10000) == 1 && waits.revents == POLLIN,
               "no event can be read from descriptor %d: %d", waits.fd, waits.revents);
        if (dss_event_next(&host->handle, &event) < 1 || atomic_load(violation_count) >= ENOUGH)
            break;
    }
    EXPECT(event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_FORCED &&
               event.token == token,
           "the loss of the "
           "lock gave event %u, reason %u",
           event.type, event.reason);
}

static void kept(struct host *host)
{
    struct dss_event event;
    struct dss_grant grant;
    int64_t left;
    char id[96];
    const char *ids[] = {id_of(host->scene, "kept", 0, id)};
    struct ask ask = {
        .ids = ids, .count = 1, .owner = "host", .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    int rc;

    CHECK_RC(lock_set(&host->handle, &ask, &grant), 0);
    CHECK(dss_event_fd(&host->handle) >= 3);
    sleep_ms(rand_r(&host->scene->seed) % 800);
    close_and_open(host);
    if (rand_r(&host->scene->seed) %
        2) /* else the thread that renews is the first to use the store */
        make_calls(host);
    sleep_ms(TTL_MS * 3 / 2);
    CALL(dss_lock_left(&host->handle, id, grant.token, &left), 0);
    while ((rc = dss_event_next(&host->handle, &event)) == 1)
        EXPECT(event.type != DSS_EVENT_LOST, "the kept lock is lost, reason %u", event.reason);
    EXPECT(rc == 0, "dss_event_next gave %d: %s", rc, dss_last_error());
    if (test_store_is("memory")) {
        force_kept(&host->other, host->scene);
    } else {
        tell(&host->observer, FORCE);
        CHECK(next_word(&host->observer) == SEEN);
    }
    expect_loss(host, grant.token);
}

/* ---- In the callback of a list ---- */

struct listing {
    struct host *host;
    int seen, closes_at;
    char last[96];
};

static int close_in_callback(const struct dss_lock_info *info, void *arg)
{
    struct listing *listing = arg;

    EXPECT(strcmp(info->lock_id, listing->last) > 0, "the list is not in order: %s", info->lock_id);
    snprintf(listing->last, sizeof(listing->last), "%s", info->lock_id);
    if (listing->seen++ == listing->closes_at) {
        close_and_open(listing->host);
        if (rand_r(&listing->host->scene->seed) % 2)
            make_calls(listing->host);
    }
    return 0;
}

static void in_list(struct host *host)
{
    struct listing listing = {.host = host, .closes_at = rand_r(&host->scene->seed) % LISTED};
    char id[96];
    double began;
    int rc;

    for (int i = 0; i < LISTED; i++)
        CHECK_RC_OR(dss_lock(&host->handle, id_of(host->scene, "listed", 1000 + i, id), "host"), 0,
                    -EEXIST);
    began = test_seconds();
    rc = list_of(host, "listed", close_in_callback, &listing);
    /* That of a list which has lost its snapshot, or the connection that has it: run it again. */
    if (rc == -EINTR || (test_store_is_server() && rc == -ENOTCONN))
        rc = 0, listing.seen = LISTED;
    judge(__LINE__, "dss_lock_list", rc, 0, test_seconds() - began, 10 * LATE_S);
    EXPECT(rc != 0 || listing.seen == LISTED, "the list ended with 0 after %d of %d locks",
           listing.seen, LISTED);
    listing.seen = 0;
    CALL(list_of(host, "listed", count_one, &listing.seen), 0);
    EXPECT(listing.seen == LISTED, "the next list has %d of %d locks", listing.seen, LISTED);
}

#endif
