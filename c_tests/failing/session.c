#include "session.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "calls.h"
#include "witness.h"

#define WAIT_MS 3000
#define SLACK_MS 1000
#define MOST_THINGS 32

static int complain_to, wrong;
static struct witness witness;
static struct dss_handle handle;
static char session_uri[512];

/* A lock or a value, and what has to be seen of it. */
static struct thing {
    const char *name, *text;
    const char *other; /* or this, since the answer was -EINPROGRESS */
    enum question question;
} things[MOST_THINGS];
static int thing_count;

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
    char text[512];
    va_list more;
    int size;

    va_start(more, format);
    size = vsnprintf(text, sizeof(text), format, more);
    va_end(more);
    wrong++;
    (void)!syscall(SYS_write, complain_to, text, (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1);
}

/* ---- What an answer may be. ---- */

static int is_failure_of_system(int rc)
{
    switch (rc) {
    case -EBUSY:
    case -ENOTCONN:
    case -EINPROGRESS:
    case -EIO:
    case -ENOSPC:
    case -EDQUOT:
    case -EROFS:
    case -EMFILE:
    case -ENOMEM:
        return 1;
    default:
        return 0;
    }
}

static double began;
static unsigned failed_before;

static void begin(void)
{
    failed_before = atomic_load(&calls_failed);
    began = test_seconds();
    atomic_store(&calls_count, 1);
}

/* An answer that is no success has to have a cause in this call, or in one that fails for ever. */
static void judge(const char *call, int rc, int expected, int wait_ms)
{
    unsigned failed;
    double took_ms;

    atomic_store(&calls_count, 0);
    took_ms = (test_seconds() - began) * 1000;
    failed = atomic_load(&calls_failed) - failed_before;
    if (took_ms > SESSION_TIMEOUT_MS + wait_ms + SLACK_MS)
        complain("%s took %.0f ms\n", call, took_ms);
    if (rc == expected)
        return;
    if (failed == 0 && !(fault.for_ever && atomic_load(&calls_failed) > 0))
        complain("%s gave %d (%s) though nothing failed in it: %s\n", call, rc, dss_strerror(rc), dss_last_error());
    else if (!is_failure_of_system(rc) && !(rc == -EACCES && fault.error == EACCES && strstr(call, "init") != NULL))
        complain("%s gave %d (%s), which is no answer for a failed call: %s\n", call, rc, dss_strerror(rc), dss_last_error());
    if (dss_last_error()[0] == '\0')
        complain("%s gave %d and no text\n", call, rc);
}

static struct thing *thing_of(enum question question, const char *name)
{
    for (int i = 0; i < thing_count; i++) {
        if (things[i].question == question && strcmp(things[i].name, name) == 0)
            return &things[i];
    }
    CHECK(thing_count < MOST_THINGS);
    things[thing_count] = (struct thing){name, "-", NULL, question};
    return &things[thing_count++];
}

static void see(const char *after, int rc, struct thing *thing)
{
    const char *seen = witness_ask(&witness, thing->question, thing->name, NULL);

    if (strcmp(seen, thing->text) != 0 && (thing->other == NULL || strcmp(seen, thing->other) != 0))
        complain("after %s (%d), %s is %s and not %s\n", after, rc, thing->name, seen, thing->text);
}

static void see_all(const char *after)
{
    for (int i = 0; i < thing_count; i++)
        see(after, 0, &things[i]);
}

/* What the call was about becomes `text` if it gave 0, and stays what it was if it failed; -EINPROGRESS may be either. */
static void changes(const char *call, int rc, enum question question, const char *name, const char *text)
{
    struct thing *thing = thing_of(question, name);

    if (rc == 0)
        thing->text = text, thing->other = NULL;
    else if (rc == -EINPROGRESS)
        thing->other = text;
    see(call, rc, thing);
}

/* Makes a call, and judges it. */
#define CALL(expected, call) CALL_WAITING(0, expected, call)
#define CALL_WAITING(wait_ms, expected, call)                                                                                 \
    (begin(), last_rc = (call), judge(#call, last_rc, expected, wait_ms))
static int last_rc;

#define CHANGES_LOCK(name, owner, call) (CALL(0, call), changes(#call, last_rc, WITNESS_OWNER, name, owner))
#define CHANGES_VALUE(name, text, call) (CALL(0, call), changes(#call, last_rc, WITNESS_VALUE, name, text))

/* ---- The session. ---- */

static void is_there(enum question make, const char *name, const char *text)
{
    witness_ask(&witness, make, name, text);
    thing_of(make == WITNESS_LOCK ? WITNESS_OWNER : WITNESS_VALUE, name)->text = text;
}

static void prepare(void)
{
    witness_ask(&witness, WITNESS_OPEN, NULL, NULL);
    is_there(WITNESS_LOCK, "refreshed", "ann");
    is_there(WITNESS_LOCK, "released", "ann");
    is_there(WITNESS_LOCK, "given", "ann");
    is_there(WITNESS_LOCK, "held", "bob");
    is_there(WITNESS_LOCK, "waited for", "bob");
    is_there(WITNESS_LOCK, "stale", "zed");
    is_there(WITNESS_SET, "got", "old");
    is_there(WITNESS_SET, "changed", "old");
    is_there(WITNESS_SET, "deleted", "old");
}

static void single_locks(void)
{
    char *owner = NULL;

    CHANGES_LOCK("taken", "ann", dss_lock(&handle, "taken", "ann"));
    CALL(-EEXIST, dss_lock(&handle, "held", "ann"));
    CALL(-EACCES, dss_unlock(&handle, "held", "ann"));
    CHANGES_LOCK("refreshed", "ann", dss_lock_refresh(&handle, "refreshed", "ann"));
    CALL(0, dss_lock_status(&handle, "refreshed", &owner, NULL));
    if (last_rc == 0 ? owner == NULL || strcmp(owner, "ann") != 0 : owner != NULL)
        complain("the owner is %s\n", owner != NULL ? owner : "NULL");
    free(owner);
    CHANGES_LOCK("released", "-", dss_unlock(&handle, "released", "ann"));
    CHANGES_LOCK("given", "cid", dss_lock_transfer(&handle, "given", "ann", 0, "cid", NULL));
}

static void several_locks(void)
{
    static const char *const ids[] = {"first of two", "second of two"};
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE | DSS_LOCK_RESUME, .ttl_ms = 100000};
    int rcs[2] = {0, 0}, rc;

    CALL(0, dss_lockv(&handle, ids, 2, "ann", &opts, NULL));
    rc = last_rc;
    changes("dss_lockv", rc, WITNESS_OWNER, ids[0], "ann");
    changes("dss_lockv", rc, WITNESS_OWNER, ids[1], "ann");
    if (rc != 0)
        return;
    CALL(0, dss_lock_refreshv(&handle, ids, 2, "ann", NULL, NULL));
    CALL(0, dss_unlockv(&handle, ids, 2, "ann", NULL, rcs));
    changes("dss_unlockv", rcs[0], WITNESS_OWNER, ids[0], "-");
    changes("dss_unlockv", rcs[1], WITNESS_OWNER, ids[1], "-");
}

static void values(void)
{
    static char large[40000];
    struct dss_guard guard = {.size = sizeof(guard), .flags = DSS_GUARD_VERSION};
    void *value = NULL;

    memset(large, 'x', sizeof(large));
    memcpy(large, "large", sizeof("large"));
    CALL(0, dss_get(&handle, "got", &value, NULL, NULL));
    if (last_rc == 0 ? value == NULL || strcmp(value, "old") != 0 : value != NULL)
        complain("the value is %s\n", value != NULL ? (char *)value : "NULL");
    free(value);
    value = NULL;
    CHANGES_VALUE("changed", "new", dss_set(&handle, "changed", "new", 3, NULL, NULL));
    CHANGES_VALUE("made", "new", dss_set(&handle, "made", "new", 3, &guard, NULL));
    CHANGES_VALUE("deleted", "-", dss_set(&handle, "deleted", NULL, 0, NULL, NULL));
    CHANGES_VALUE("large", "large", dss_set(&handle, "large", large, sizeof(large), NULL, NULL));
    if (last_rc == 0)
        CALL(0, dss_get(&handle, "large", &value, NULL, NULL));
    free(value);
}

static int count_lock(const struct dss_lock_info *info, void *count)
{
    (void)info;
    ++*(int *)count;
    return 0;
}

static int count_key(const struct dss_key_info *info, void *count)
{
    (void)info;
    ++*(int *)count;
    return 0;
}

/* All of a list, or an error: never a part of it as if it were all. */
static void check_count(enum question question, int rc, int count)
{
    int least = 0, most = 0;

    for (int i = 0; i < thing_count; i++) {
        if (things[i].question != question)
            continue;
        least += strcmp(things[i].text, "-") != 0 && things[i].other == NULL;
        most += strcmp(things[i].text, "-") != 0 || things[i].other != NULL;
    }
    if (rc == 0 && (count < least || count > most))
        complain("a list shows %d of %d to %d\n", count, least, most);
}

static void lists(void)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_owner = "zed"};
    int count = 0;

    CALL(0, dss_lock_list(&handle, NULL, count_lock, &count));
    check_count(WITNESS_OWNER, last_rc, count);
    count = 0;
    CALL(0, dss_list(&handle, NULL, count_key, &count));
    check_count(WITNESS_VALUE, last_rc, count);
    CALL(0, dss_lock_clean(&handle, &filter, NULL, NULL));
    /* What it has removed before it failed stays removed. */
    changes("dss_lock_clean", last_rc == 0 ? 0 : -EINPROGRESS, WITNESS_OWNER, "stale", "-");
}

static void events(void)
{
    begin();
    last_rc = dss_event_fd(&handle);
    judge("dss_event_fd", last_rc > 0 ? 0 : last_rc, 0, 0);
    CALL(0, dss_event_next(&handle, NULL));
}

static atomic_int waiter_rc;

static void *wait_for_lock(void *unused)
{
    static const char *const id = "waited for";
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = WAIT_MS};

    (void)unused;
    atomic_store(&waiter_rc, dss_lockv(&handle, &id, 1, "ann", &opts, NULL));
    if (atomic_load(&waiter_rc) != 0 && dss_last_error()[0] == '\0')
        complain("the waiter has no text\n");
    return NULL;
}

/* A second thread waits for a lock, which the witness releases when it sleeps, or has given up. */
static void waiter(void)
{
    struct thing *thing = thing_of(WITNESS_OWNER, "waited for");
    unsigned polls = atomic_load(&calls_made[CALL_poll]);
    struct timespec pause = {0, 50000};
    pthread_t thread;

    atomic_store(&waiter_rc, 1);
    CHECK(pthread_create(&thread, NULL, wait_for_lock, NULL) == 0);
    begin();
    while (atomic_load(&waiter_rc) == 1 && atomic_load(&calls_made[CALL_poll]) == polls)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    witness_ask(&witness, WITNESS_UNLOCK, "waited for", NULL);
    thing->text = "-";
    CHECK(pthread_join(thread, NULL) == 0);
    judge("a waiting dss_lockv", waiter_rc, 0, WAIT_MS);
    changes("a waiting dss_lockv", waiter_rc, WITNESS_OWNER, "waited for", "ann");
}

/* The last one who has the store open closes it, and opens it again. */
static void reopen(void)
{
    witness_ask(&witness, WITNESS_CLOSE, NULL, NULL);
    begin();
    dss_fini(&handle);
    judge("dss_fini", 0, 0, 0);
    CALL(0, dss_init_uri(&handle, session_uri));
    witness_ask(&witness, WITNESS_OPEN, NULL, NULL);
    see_all("a close");
    if (last_rc != 0)
        return;
    CHANGES_LOCK("again", "ann", dss_lock(&handle, "again", "ann"));
    if (last_rc == 0)
        CHANGES_LOCK("again", "-", dss_unlock(&handle, "again", "ann"));
    begin();
    dss_fini(&handle);
    judge("dss_fini", 0, 0, 0);
    CALL(0, dss_init_uri(&handle, session_uri));
}

/* The fault is over: the same handle does all that a handle does, and what was left in doubt is cleared up. */
static void afterwards(void)
{
    fault.nth = 0;
    fault.for_ever = 0;
    if (handle.dh_conn == NULL)
        CALL(0, dss_init_uri(&handle, session_uri));
    CHANGES_LOCK("afterwards", "ann", dss_lock(&handle, "afterwards", "ann"));
    if (thing_of(WITNESS_OWNER, "taken")->other != NULL)
        thing_of(WITNESS_OWNER, "taken")->other = NULL; /* given up, and so released before this request */
    CHANGES_LOCK("afterwards", "ann", dss_lock_refresh(&handle, "afterwards", "ann"));
    CALL(0, dss_lock_status(&handle, "afterwards", NULL, NULL));
    CHANGES_LOCK("afterwards", "-", dss_unlock(&handle, "afterwards", "ann"));
    CHANGES_VALUE("afterwards", "new", dss_set(&handle, "afterwards", "new", 3, NULL, NULL));
    several_locks();
    lists();
    dss_fini(&handle);
    see_all("dss_fini");
    witness_ask(&witness, WITNESS_CLOSE, NULL, NULL);
    witness_ask(&witness, WITNESS_OPEN, NULL, NULL);
    see_all("all is closed and opened");
    witness_ask(&witness, WITNESS_CLOSE, NULL, NULL);
}

static int descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 100; fd++)
        count += syscall(SYS_fcntl, fd, F_GETFD) >= 0;
    return count;
}

/* Whether such a failure keeps the library from seeing whose a descriptor is. */
static int hides_identity(enum call kind)
{
    return kind == CALL_stat || kind == CALL_read || kind == CALL_open;
}

int session_run(const char *uri, int complaints)
{
    int before;

    complain_to = complaints;
    snprintf(session_uri, sizeof(session_uri), "%s?timeout_ms=%d", uri, SESSION_TIMEOUT_MS);
    witness_start(&witness, uri);
    before = descriptors();
    CALL(0, dss_init_uri(&handle, session_uri));
    prepare();
    if (last_rc != 0)
        CALL(0, dss_init_uri(&handle, session_uri));
    if (handle.dh_conn != NULL) {
        single_locks();
        several_locks();
        values();
        lists();
        events();
        waiter();
        /* A fault for ever that came by now has to end before the handle does. */
        if (!fault.for_ever || atomic_load(&calls_failed) == 0)
            reopen();
    }
    afterwards();
    /* The library leaves a number open that fstat(2), or /proc, does not show to be its own: it may be
     * the host's. It never closes one more than it has opened. */
    if (descriptors() < before || (descriptors() > before && !hides_identity(fault.kind)))
        complain("%d descriptors are open, and were %d\n", descriptors(), before);
    return wrong;
}
