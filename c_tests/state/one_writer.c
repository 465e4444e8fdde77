/*
 * The lock was looked at, it was still held, and the value was written: but in between, the lock was taken away, and its new
 * holder had read the value already.
 *
 * Proves: the guard is checked in the transaction that writes. Eight workers take one lock from each other by force, without
 * end, and each writes as long as it believes that it holds it. All writes are guarded by the lock, so nobody but its
 * holder can write: whoever reads the value when it has the lock, and then writes with the version that it read, may be
 * told -ESTALE, but never -EAGAIN.
 *
 *   one_writer [seconds]
 */
#include "contention/contention.h"
#include "state/state.h"

#define WORKERS 8
#define SECONDS 2.0
#define WRITES 20 /* at most, of one grant */
#define AT_LEAST 10

struct scene {
    _Atomic int stop;
    _Atomic long grants, writes, stale;
};

static struct scene *scene;

/* Takes the lock from whoever has it; 0 if another one was quicker. */
static uint64_t take(struct dss_handle *handle, const char *owner)
{
    struct dss_grant grant;
    int rc = dss_unlock(handle, "lock", NULL);

    if (rc != -ENOLCK)
        CHECK_RC(rc, 0);
    rc = lock_waiting(handle, "lock", owner, 0, &grant);
    if (rc == -EEXIST)
        return 0;
    CHECK_RC(rc, 0);
    return grant.token;
}

/* Whether the lock is still its own. */
static int write_once(struct dss_handle *handle, uint64_t token, uint64_t *version)
{
    struct dss_guard guard = of_both(*version, "lock", token);
    int rc = dss_set(handle, "value", &token, sizeof(token), &guard, version);

    if (rc == -ESTALE) {
        atomic_fetch_add(&scene->stale, 1);
        return 0;
    }
    CHECK_RC(rc, 0);
    atomic_fetch_add(&scene->writes, 1);
    return 1;
}

static void work(void *arg)
{
    struct dss_handle handle;
    char owner[32];

    snprintf(owner, sizeof(owner), "worker %d", *(int *)arg);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    while (!atomic_load(&scene->stop)) {
        uint64_t token = take(&handle, owner), version;
        int writes = 0;

        if (token == 0)
            continue;
        atomic_fetch_add(&scene->grants, 1);
        version = version_of(&handle, "value");
        while (writes++ < WRITES && write_once(&handle, token, &version))
            continue;
    }
    dss_fini(&handle);
}

static void *work_as_thread(void *arg)
{
    work(arg);
    return NULL;
}

/* A store in memory has no second process. */
int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : SECONDS;
    struct timespec duration = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    struct dss_handle handle;
    pthread_t threads[WORKERS];
    pid_t processes[WORKERS];
    int numbers[WORKERS];

    use_files_in_memory();
    watchdog(HANGS_AFTER_S + (unsigned)seconds);
    scene = shared_memory(sizeof(*scene));
    for (int i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        if (test_store_is("memory"))
            threads[i] = start_thread(work_as_thread, &numbers[i]);
        else
            processes[i] = spawn(work, &numbers[i]);
    }
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK(nanosleep(&duration, NULL) == 0);
    atomic_store(&scene->stop, 1);
    for (int i = 0; test_store_is("memory") && i < WORKERS; i++)
        join_thread(threads[i]);
    if (!test_store_is("memory"))
        test_join_all(processes, WORKERS);
    dss_fini(&handle);
    fprintf(stderr, "%ld grants, %ld writes, %ld were stale\n", scene->grants, scene->writes, scene->stale);
    CHECK(scene->grants >= AT_LEAST && scene->writes >= AT_LEAST && scene->stale >= AT_LEAST);
    return 0;
}
