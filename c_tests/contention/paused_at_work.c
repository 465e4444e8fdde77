/*
 * A process is stopped (SIGSTOP, a debugger, a paused container) while it has the write lock, and with requests of others
 * in its hands; or, where the store is a server, in the middle of a request.
 *
 * Proves: the calls of the others end in time. -EBUSY says that nothing has changed, and so it is, and so does -ENOTCONN of a
 * server that gives no sign in that time; after -EINPROGRESS, which says that nobody knows, the next call finds the lock free
 * for its owner. When the process goes on, all do.
 */
#include "crew.h"

#define TIMEOUT_MS 400
#define LONGEST_S (TIMEOUT_MS / 1000.0 + 1.0)
#define PAUSES 12

/* Nothing has changed: the store had no time for the call. A server may be so busy that there is no word from it, either. */
static int is_untouched(int rc)
{
    return rc == -EBUSY || (rc == -ENOTCONN && test_store_is_server());
}

/* One call: how long it took is looked at, unless this very process was stopped meanwhile. */
static int timed(struct member *own, int (*call)(struct dss_handle *, const char *, const char *),
                 struct dss_handle *handle, const char *id)
{
    long stops = atomic_load(&own->stops);
    double begin = test_seconds();
    int rc = call(handle, id, "member");

    CHECK(test_seconds() - begin < LONGEST_S || atomic_load(&own->stops) != stops);
    return rc;
}

static void take(struct member *own, struct dss_handle *handle, const char *id)
{
    int rc;

    /* What was given up is released with the next call; so the lock is never in its own way. */
    do {
        rc = timed(own, dss_lock, handle, id);
    } while (rc == -EINPROGRESS || is_untouched(rc));
    CHECK_RC(rc, 0);
}

static void release(struct member *own, struct dss_handle *handle, const char *id)
{
    int rc, unknown = 0;

    while ((rc = timed(own, dss_unlock, handle, id)) != 0) {
        if (rc == -ENOLCK && unknown)
            return;
        if (!is_untouched(rc))
            CHECK_RC(rc, -EINPROGRESS);
        unknown |= rc == -EINPROGRESS;
    }
}

static void take_and_release(void *arg)
{
    struct crew *crew = arg;
    struct member *own = &crew->members[own_number(crew)];
    struct dss_handle handle;
    char id[32];
    int rc;

    snprintf(id, sizeof(id), "of member %d", (int)(own - crew->members));
    /* On a machine that is busy with much else a server may need more time for an opening than a call has here. */
    while (is_untouched(rc = dss_init_uri(&handle, crew->uri)))
        continue;
    CHECK_RC(rc, 0);
    while (!atomic_load(&crew->stop)) {
        take(own, &handle, id);
        release(own, &handle, id);
        atomic_fetch_add(&own->rounds, 1);
    }
    take(own, &handle, id);
    release(own, &handle, id);
    dss_fini(&handle);
}

/* An opening is not looked at here: whoever is stopped in it may find its own time over. */
static void wait_until_all_work(struct crew *crew)
{
    struct timespec moment = {0, 1000000};

    for (int i = 0; i < CREW; i++) {
        while (atomic_load(&crew->members[i].rounds) == 0)
            CHECK(nanosleep(&moment, NULL) == 0);
    }
}

static void pause_member(struct member *member, unsigned *seed)
{
    struct timespec length = {0, 600000000};
    int status;

    pause_at_random(seed, 20000);
    atomic_fetch_add(&member->stops, 1);
    CHECK(kill(member->process, SIGSTOP) == 0);
    CHECK(waitpid(member->process, &status, WUNTRACED) == member->process && WIFSTOPPED(status));
    CHECK(nanosleep(&length, NULL) == 0);
    atomic_fetch_add(&member->stops, 1);
    CHECK(kill(member->process, SIGCONT) == 0);
}

int main(void)
{
    unsigned seed = (unsigned)time(NULL);
    struct crew *crew;
    char option[32];

    use_files_in_memory();
    watchdog(100);
    snprintf(option, sizeof(option), "timeout_ms=%d", TIMEOUT_MS);
    crew = crew_of(test_uri_with(option));
    for (int i = 0; i < CREW; i++)
        start_member(crew, i, take_and_release);
    wait_until_all_work(crew);
    printf("seed %u\n", seed);
    for (int i = 0; i < PAUSES; i++)
        pause_member(&crew->members[rand_r(&seed) % CREW], &seed);
    dismiss(crew);
    for (int i = 0; i < CREW; i++)
        CHECK(atomic_load(&crew->members[i].rounds) > 10);
    return 0;
}
