/*
 * Proves: 64 threads may use one handle at once. Of all that want a lock one gets it, each gets the right answer, and
 * an ordinary variable protected by nothing but the lock is never touched by two of them.
 */
#include <pthread.h>
#include <sched.h>

#include "test.h"

#define THREADS 64
#define NAMES 4

struct worker {
    pthread_t thread;
    int number;
    int wins[NAMES];
};

static struct dss_handle handle;
static pthread_barrier_t start;
static int attempts;

/* Neither atomic nor under a mutex: only a thread that holds the lock of that name may touch them. */
static struct {
    int holders;
    int wins;
} guarded[NAMES];

static void use_resource(struct worker *worker, int name)
{
    guarded[name].holders++;
    CHECK(guarded[name].holders == 1);
    sched_yield(); /* gives a second holder, if there were one, the time to show */
    guarded[name].wins++;
    guarded[name].holders--;
    CHECK(guarded[name].holders == 0);
    worker->wins[name]++;
}

static void compete(struct worker *worker, const char *owner, int name)
{
    char id[32];
    int rc;

    snprintf(id, sizeof(id), "shared-%d", name);
    rc = dss_lock(&handle, id, owner);
    if (rc == -EEXIST) {
        rc = dss_unlock(&handle, id, owner);
        CHECK(rc == -EACCES || rc == -ENOLCK);
        return;
    }
    CHECK_RC(rc, 0);
    use_resource(worker, name);
    CHECK_RC(dss_lock(&handle, id, owner), -EEXIST);
    CHECK_RC(dss_lock_refresh(&handle, id, owner), 0);
    test_check_owner(&handle, id, owner);
    CHECK_RC(dss_unlock(&handle, id, owner), 0);
}

/* A lock that no other thread wants must behave as if this thread were alone. */
static void use_own(const char *owner)
{
    CHECK_RC(dss_lock(&handle, owner, owner), 0);
    test_check_owner(&handle, owner, owner);
    CHECK_RC(dss_unlock(&handle, owner, owner), 0);
    test_check_owner(&handle, owner, NULL);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    char owner[32];
    int i;

    snprintf(owner, sizeof(owner), "thread-%d", worker->number);
    pthread_barrier_wait(&start);
    for (i = 0; i < attempts; i++) {
        compete(worker, owner, (worker->number + i) % NAMES);
        if (i % 4 == 0)
            use_own(owner);
    }
    return NULL;
}

int main(void)
{
    static struct worker workers[THREADS];
    int i, name;

    attempts = test_repeat(40, 4);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK(pthread_barrier_init(&start, NULL, THREADS) == 0);
    for (i = 0; i < THREADS; i++) {
        workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);

    /* Each win is counted where the lock protects it and where it needs no protection: nothing may have got lost. */
    for (name = 0; name < NAMES; name++) {
        char id[32];
        int wins = 0;

        for (i = 0; i < THREADS; i++)
            wins += workers[i].wins[name];
        CHECK(wins > 0);
        CHECK(guarded[name].wins == wins);
        snprintf(id, sizeof(id), "shared-%d", name);
        test_check_owner(&handle, id, NULL);
        CHECK_RC(dss_lock(&handle, id, "main"), 0);
        CHECK_RC(dss_unlock(&handle, id, "main"), 0);
    }
    CHECK(pthread_barrier_destroy(&start) == 0);
    dss_fini(&handle);
    return 0;
}
