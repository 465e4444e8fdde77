/*
 * A mover took a drive, the answer was lost with a switch, and the mover was told that the lock was held: by itself. Or it was
 * told that nothing had happened, and the drive stayed locked for nobody.
 *
 * Proves, for each call and each way in which an exchange with a server can break:
 *   - with contact again in time, the call is resolved: it gives 0, and is done once;
 *   - without, it ends within its time, and 0 only with the change, an error but -EINPROGRESS only without it; when contact
 *     has returned and the handle was used once, no lock is left that its caller was not told of, and others can have it;
 *   - a request that reaches the server seconds after its caller gave up changes nothing once the handle was in contact.
 *
 *   faults broken PART OF | late
 *
 * Of the calls, broken looks at this part of so many, from 0 on: parts can be run at once.
 */
#include "network/calls.h"
#include "network/proxy.h"

#define SHORT_MS 250
#define SHORT "timeout_ms=250"
#define LATE_MS 3000
#define SKIPS 3

static struct proxy proxy;
static struct dss_handle direct, patient, hasty;
static int number;

struct fault {
    const char *name;
    int mode;
};

static const struct fault faults[] = {
    {"cut before the request", PROXY_CUT_BEFORE},
    {"cut within the request", PROXY_HALF},
    {"cut after the request", PROXY_CUT_AFTER},
    {"reset before the request", PROXY_CUT_BEFORE | PROXY_BY_RESET},
    {"reset after the request", PROXY_CUT_AFTER | PROXY_BY_RESET},
};

static void say_where(const struct call *call, const char *fault, int skip, int rc)
{
    fprintf(stderr, "%s, %s, request %d: %d (%s)\n", call->name, fault, skip + 1, rc, rc ? dss_last_error() : "");
}

#define CHECK_HERE(condition)                                                                                       \
    do {                                                                                                            \
        if (!(condition)) {                                                                                         \
            say_where(call, fault, skip, rc);                                                                       \
            CHECK(condition);                                                                                       \
        }                                                                                                           \
    } while (0)

static const char *next_id(void)
{
    static char id[ID_SIZE];

    snprintf(id, sizeof(id), "id %d", number++);
    return id;
}

/* Contact returns at once. */
static void resolved(const struct call *call, int mode, const char *fault, int skip)
{
    const char *id = next_id();
    int rc;

    call->prepare(&direct, id);
    proxy_arm(&proxy, mode, skip, 0);
    rc = call->make(&patient, id);
    CHECK_HERE(rc == 0);
    CHECK_HERE(call->is_done == NULL || call->is_done(&direct, id));
    proxy_arm(&proxy, PROXY_PASS, 0, 0);
}

/* When the fault strikes, nothing goes through any more. */
static void *cut_off(void *arg)
{
    (void)arg;
    proxy_wait_caught(&proxy);
    proxy_arm(&proxy, PROXY_DOWN, 0, 0);
    return NULL;
}

/* The handle that has little time works again; on a busy machine perhaps not with its first call. */
static void check_works(void)
{
    double end = test_seconds() + 10;
    int rc = -ENOTCONN;

    while (rc == -ENOTCONN && test_seconds() < end)
        rc = dss_lock_status(&hasty, "another", NULL, NULL);
    CHECK_RC(rc, -ENOLCK);
}

static void check_end(const struct call *call, const char *fault, int skip, int rc, const char *id)
{
    CHECK_HERE(rc == 0 || rc == -EINPROGRESS || rc == -ENOTCONN);
    if (call->is_done != NULL && rc != -EINPROGRESS)
        CHECK_HERE(call->is_done(&direct, id) == (rc == 0));
    if (call->is_done == NULL)
        CHECK_HERE(rc != -EINPROGRESS);
}

/* Contact is back: the next request of the handle takes back what its caller does not know of. */
static void check_after(const struct call *call, const char *fault, int skip, int rc, const char *id)
{
    int again;

    check_works();
    if (rc != -EINPROGRESS || !call->takes)
        return;
    CHECK_HERE(!call->is_done(&direct, id));
    again = call->make(&direct, id);
    CHECK_HERE(again == 0);
}

static void given_up(const struct call *call, int mode, const char *fault, int skip)
{
    const char *id = next_id();
    pthread_t thread;
    double begun;
    int rc;

    call->prepare(&direct, id);
    check_works();
    proxy_arm(&proxy, mode, skip, PROXY_KEEP);
    thread = start_thread(cut_off, NULL);
    begun = test_seconds();
    rc = call->make(&hasty, id);
    CHECK_HERE(test_seconds() - begun < SHORT_MS / 1e3 + 1);
    join_thread(thread);
    check_end(call, fault, skip, rc, id);
    proxy_arm(&proxy, PROXY_PASS, 0, 0);
    proxy_release(&proxy);
    check_after(call, fault, skip, rc, id);
}

/* Puts things as they were before the call, which has been done: a second time would show. */
static void undo(const struct call *call, const char *id)
{
    if (call->takes) {
        (void)dss_unlock(&direct, id, NULL);
        (void)dss_unlockv(&direct, set_of(id), OF_SET, NULL, NULL, NULL);
    } else if (call->is_done == bob_holds) {
        CHECK_RC(dss_lock_transfer(&direct, id, "bob", 0, "ann", NULL), 0);
    } else if (call->is_done == is_newer) {
        stamp_before = stamp_of(&direct, id);
    } else if (call->is_done == is_set) {
        value_before(&direct, id);
    } else {
        call->prepare(&direct, id);
    }
}

/* The request stays on its way, and the server gets it when its caller has long been told. */
static void be_late(const struct call *call)
{
    const char *id = next_id(), *fault = "late";
    int rc, done, skip = 0;

    call->prepare(&direct, id);
    check_works();
    proxy_arm(&proxy, PROXY_LATE, 0, LATE_MS);
    rc = call->make(&hasty, id);
    /* It may have been done by another connection meanwhile. Or what is late is not yet the change. */
    CHECK_HERE(rc == -EINPROGRESS || rc == 0 || rc == -ENOTCONN);
    CHECK_HERE(!proxy_has_struck(&proxy));
    check_works();
    done = call->is_done(&direct, id);
    /* What is unknown may have been done by that other connection, whose answer came too late on a busy machine; but a lock
     * that was taken so has been given back by now. */
    CHECK_HERE(done == (rc == 0) || (rc == -EINPROGRESS && !call->takes));
    if (done)
        undo(call, id);
    CHECK_HERE(!call->is_done(&direct, id));
    proxy_wait_struck(&proxy);
    CHECK_HERE(!call->is_done(&direct, id));
}

/* Each with a proxy of its own, all at once: most of it is waiting. */
static pid_t start_late(const struct call *call, int first)
{
    pid_t child = fork();
    char *uri;
    int rc;

    CHECK(child >= 0);
    if (child != 0)
        return child;
    number = first;
    proxy_start_for_store(&proxy);
    uri = proxy_uri(&proxy, SHORT);
    CHECK_RC(dss_init_uri(&direct, test_uri()), 0);
    /* A busy machine may need more time for an opening than a call has here. */
    while ((rc = dss_init_uri(&hasty, uri)) == -ENOTCONN)
        continue;
    CHECK_RC(rc, 0);
    be_late(call);
    dss_fini(&hasty);
    dss_fini(&direct);
    free(uri);
    proxy_stop(&proxy);
    end_child();
    return 0;
}

static void late(void)
{
    pid_t children[CALLS];
    size_t count = 0;

    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].is_done != NULL)
            children[count++] = start_late(&calls[i], 10000 * (int)(i + 1));
    }
    test_join_all(children, count);
}

static void broken(size_t part, size_t of)
{
    char *long_uri, *short_uri;
    int rc;

    proxy_start_for_store(&proxy);
    long_uri = proxy_uri(&proxy, "timeout_ms=8000");
    short_uri = proxy_uri(&proxy, SHORT);
    CHECK_RC(dss_init_uri(&direct, test_uri()), 0);
    CHECK_RC(dss_init_uri(&patient, long_uri), 0);
    while ((rc = dss_init_uri(&hasty, short_uri)) == -ENOTCONN)
        continue;
    CHECK_RC(rc, 0);
    for (size_t i = part; i < CALLS; i += of) {
        for (size_t j = 0; j < sizeof(faults) / sizeof(faults[0]); j++) {
            for (int skip = 0; skip < SKIPS; skip++)
                resolved(&calls[i], faults[j].mode, faults[j].name, skip);
            given_up(&calls[i], faults[j].mode, faults[j].name, 0);
        }
        given_up(&calls[i], PROXY_HOLD_RESPONSE, "the answer is kept", 0);
    }
    dss_fini(&hasty);
    dss_fini(&patient);
    dss_fini(&direct);
    free(short_uri);
    free(long_uri);
    proxy_stop(&proxy);
}

int main(int count, char **arguments)
{
    CHECK(count == 2 || count == 4);
    (void)test_uri();
    if (strcmp(arguments[1], "late") == 0)
        late();
    else
        broken((size_t)atoi(arguments[2]), (size_t)atoi(arguments[3]));
    return 0;
}
