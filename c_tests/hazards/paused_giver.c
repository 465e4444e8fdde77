/*
 * An operator gave a drive on from one daemon to another by dss_lock_transfer, and his process was stopped within the call for
 * longer than the lease lasts. When it went on, the transfer was done, but counted from the time at which it had been asked for,
 * the new lease was over: so the call said that there was no such lock, while the list showed it with its new owner. He gave the
 * drive to a third one by force.
 *
 * Proves: a transfer that says that there is no such lock has not been done, however long the process was stopped within it.
 */
#include "hazard.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define TTL_MS (test_ttl_ms(1000))
#define STOPPED_MS (TTL_MS + 300)
#define VICTIMS 6
#define ROUNDS 2

struct scene {
    _Atomic int ready, over;
    _Atomic int stopped_inside; /* calls in which a stop fell */
    _Atomic int in_time, unknown; /* what these said */
};

static struct scene *scene;
static char *uris[VICTIMS];

/* The lock's owner, "" if there is none; as long as the store lets it be seen. */
static int owner_of(struct dss_handle *handle, char owner[32])
{
    char *found = NULL;
    int rc = dss_lock_status(handle, "drive", &found, NULL);

    snprintf(owner, 32, "%s", rc == 0 ? found : "");
    free(found);
    return rc;
}

static void take(struct dss_handle *handle)
{
    const char *lock_id = "drive";
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_RESUME, .ttl_ms = (uint64_t)TTL_MS};
    int rc = dss_lockv(handle, &lock_id, 1, "first", &opts, NULL);

    CHECK(rc == 0 || rc == -EEXIST);
}

/* Gives it on under a name that was never used before. */
static void give(struct dss_handle *handle, int number)
{
    struct dss_grant grant;
    double begin = test_seconds();
    char to[32], owner[32];
    int rc, was_stopped;

    snprintf(to, sizeof(to), "owner %d", number);
    rc = dss_lock_transfer(handle, "drive", NULL, 0, to, &grant);
    was_stopped = test_seconds() - begin > (double)(STOPPED_MS - 100) / 1000.0;
    scene->stopped_inside += was_stopped;
    scene->in_time += was_stopped && rc == 0;
    scene->unknown += was_stopped && rc == -EINPROGRESS;
    CHECK(rc == 0 || rc == -ENOLCK || rc == -EINPROGRESS);
    CHECK(rc != 0 || (grant.left_ms > 0 && grant.left_ms <= TTL_MS));
    if (rc != 0) {
        (void)owner_of(handle, owner);
        CHECK(rc == -EINPROGRESS || strcmp(owner, to) != 0);
        take(handle);
    }
}

static void give_over_and_over(void *arg)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uris[*(int *)arg]), 0);
    take(&handle);
    atomic_fetch_add(&scene->ready, 1);
    for (int number = 0; !atomic_load(&scene->over); number++)
        give(&handle, number);
    dss_fini(&handle);
}

static void stop(pid_t process)
{
    int status;

    CHECK(kill(process, SIGSTOP) == 0);
    CHECK(waitpid(process, &status, WUNTRACED) == process && WIFSTOPPED(status));
}

/* Whoever has the locks refreshes them, where the stopped process does not keep it out of the store. */
static void keep_alive(struct dss_handle *handles)
{
    char owner[32];

    for (int i = 0; i < VICTIMS; i++) {
        if (owner_of(&handles[i], owner) == 0)
            (void)dss_lock_refresh(&handles[i], "drive", owner);
    }
}

static void stop_all_for_a_while(struct dss_handle *handles, const pid_t *victims, unsigned *seed)
{
    struct timespec moment = {0, 20000000};
    double end;

    for (int i = 0; i < VICTIMS; i++) {
        pause_at_random(seed, 3000);
        stop(victims[i]);
    }
    for (end = test_seconds() + (double)STOPPED_MS / 1000.0; test_seconds() < end;) {
        keep_alive(handles);
        CHECK(nanosleep(&moment, NULL) == 0);
    }
    for (int i = 0; i < VICTIMS; i++)
        CHECK(kill(victims[i], SIGCONT) == 0);
}

int main(void)
{
    struct dss_handle handles[VICTIMS];
    pid_t victims[VICTIMS];
    unsigned seed = (unsigned)getpid();
    char name[32];

    (void)test_uri();
    scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(scene != MAP_FAILED);
    for (int i = 0; i < VICTIMS; i++) {
        snprintf(name, sizeof(name), "victim_%d", i);
        uris[i] = test_other_uri(name);
        victims[i] = spawn(give_over_and_over, &i);
        while (atomic_load(&scene->ready) <= i)
            pause_at_random(&seed, 5000);
    }
    for (int i = 0; i < VICTIMS; i++) {
        /* A file is kept by one that is stopped; a server is not, but to connect takes its time. */
        char *uri = test_with_option(uris[i], test_store_is("sqlite") ? "timeout_ms=20" : "timeout_ms=2000");

        CHECK_RC(dss_init_uri(&handles[i], uri), 0);
        free(uri);
    }
    for (int i = 0; i < ROUNDS; i++)
        stop_all_for_a_while(handles, victims, &seed);
    /* Those that were stopped inside a call have to come out of it first. */
    pause_at_random(&seed, 100000);
    atomic_store(&scene->over, 1);
    test_join_all(victims, VICTIMS);
    fprintf(stderr, "%d stopped inside: %d were in time nevertheless, %d unknown\n", scene->stopped_inside, scene->in_time,
            scene->unknown);
    CHECK(scene->stopped_inside >= VICTIMS * ROUNDS / 4);
    for (int i = 0; i < VICTIMS; i++) {
        dss_fini(&handles[i]);
        free(uris[i]);
    }
    return 0;
}
