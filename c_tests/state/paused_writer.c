/*
 * archiver-A held the catalogue's lock for a second, and was stopped in the middle of its work, by a debugger, a full swap or a
 * sleeping virtual machine. Three seconds later it went on, believed that the lock was still its own, and wrote over what its
 * successor had written.
 *
 * Proves: a write that names the lock and the old token gives -ESTALE, and the successor's value stands. The same write without a
 * guard is done, and the successor's value lost: so it is the guard that makes the difference.
 *
 * A is a process that is stopped by SIGSTOP. A store in memory has but one process: there A is a thread, which sleeps.
 */
#include "contention/contention.h"
#include "state/state.h"

#define TTL_MS 1000
#define STOPPED_S 3

enum word { TAKEN = 1, GO_ON };

static struct line to_a, from_a;

static uint64_t take(struct dss_handle *handle, const char *owner, uint64_t ttl_ms, uint32_t flags)
{
    static const char *const id = "catalogue";
    struct ask ask = { .ids = &id, .count = 1, .owner = owner, .ttl_ms = ttl_ms, .wait_ms = 20000 };
    struct dss_grant grant;

    CHECK_RC(lock_set(handle, &ask, &grant), 0);
    CHECK(grant.flags == flags);
    return grant.token;
}

static void be_a(void *arg)
{
    struct dss_guard guard;
    struct dss_handle handle;
    uint64_t version;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    guard = of_lock("catalogue", take(&handle, "archiver-A", TTL_MS, 0));
    CHECK_RC(set_guarded(&handle, "files", "A: 3", guard), 0);
    CHECK_RC(set_guarded(&handle, "unguarded files", "A: 3", guard), 0);
    version = version_of(&handle, "files");
    tell(&from_a, TAKEN);
    /* Stopped in here. */
    CHECK(hear(&to_a) == GO_ON);
    CHECK_RC(set_guarded(&handle, "files", "A: 4", guard), -ESTALE);
    CHECK_RC(set_guarded(&handle, "files", "A: 4", of_both(version, "catalogue", guard.token)), -ESTALE);
    CHECK_RC(dss_set(&handle, "files", NULL, 0, &guard, NULL), -ESTALE);
    set_text(&handle, "unguarded files", "A: 4");
    dss_fini(&handle);
}

static void *be_a_thread(void *arg)
{
    be_a(arg);
    return NULL;
}

/* What B does meanwhile. */
static void be_b(struct dss_handle *handle)
{
    uint64_t token = take(handle, "archiver-B", 600000, DSS_GRANT_OWNERDEAD);

    check_text(handle, "files", "A: 3");
    CHECK_RC(set_guarded(handle, "files", "B: 90", of_lock("catalogue", token)), 0);
    CHECK_RC(set_guarded(handle, "unguarded files", "B: 90", of_lock("catalogue", token)), 0);
}

static void rest_until(double end)
{
    struct timespec moment = { 0, 10000000 };

    while (test_seconds() < end)
        nanosleep(&moment, NULL);
}

static void stop(pid_t process)
{
    int status;

    CHECK(kill(process, SIGSTOP) == 0);
    CHECK(waitpid(process, &status, WUNTRACED) == process && WIFSTOPPED(status));
}

int main(void)
{
    struct dss_handle handle;
    pthread_t thread = 0;
    pid_t process = 0;
    double stopped;

    watchdog(HANGS_AFTER_S);
    (void)test_uri();
    line_make(&to_a);
    line_make(&from_a);
    if (test_store_is("memory"))
        thread = start_thread(be_a_thread, NULL);
    else
        process = spawn(be_a, NULL);
    CHECK(hear(&from_a) == TAKEN);
    if (process != 0)
        stop(process);
    stopped = test_seconds();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    be_b(&handle);
    rest_until(stopped + STOPPED_S);
    if (process != 0)
        CHECK(kill(process, SIGCONT) == 0);
    tell(&to_a, GO_ON);
    if (process != 0)
        test_join(process);
    else
        join_thread(thread);
    check_text(&handle, "files", "B: 90");
    check_text(&handle, "unguarded files", "A: 4");
    dss_fini(&handle);
    return 0;
}
