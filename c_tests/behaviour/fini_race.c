/*
 * Proves: a handle may be closed, and opened again, while other threads call through it. Each of their calls either
 * completes with an answer that fits or gives -EBADF; none crashes, hangs or breaks the store.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "test.h"

#define THREADS 8
#define ANSWERS 4 /* how many calls have to be answered before the handle is closed again */

static struct dss_handle handle;
static sem_t answered;
static atomic_int stop;

static int make_call(int turn, const char *owner)
{
    char *found = NULL;
    int rc;

    switch (turn % 4) {
    case 0:
        return dss_lock(&handle, "id", owner);
    case 1:
        return dss_lock_refresh(&handle, "id", owner);
    case 2:
        rc = dss_lock_status(&handle, "id", &found, NULL);
        CHECK((rc == 0) == (found != NULL));
        free(found);
        return rc;
    default:
        return dss_unlock(&handle, "id", turn % 8 == 3 ? owner : NULL);
    }
}

/* Whether the answer fits the call, while others do what they like with the lock. */
static int is_legal(int turn, int rc)
{
    switch (turn % 4) {
    case 0:
        return rc == 0 || rc == -EEXIST;
    case 1:
        return rc == 0 || rc == -ENOLCK || rc == -EACCES;
    case 2:
        return rc == 0 || rc == -ENOLCK;
    default:
        return rc == 0 || rc == -ENOLCK || (rc == -EACCES && turn % 8 == 3);
    }
}

static void *work(void *arg)
{
    int turn = (int)(intptr_t)arg, rc;
    char owner[32];

    snprintf(owner, sizeof(owner), "thread-%d", turn);
    for (; !atomic_load(&stop); turn++) {
        rc = make_call(turn, owner);
        if (rc == -EBADF) {
            sched_yield();
            continue;
        }
        if (!is_legal(turn, rc)) {
            fprintf(stderr, "call %d gave %d (%s): %s\n", turn % 4, rc, dss_strerror(rc), dss_last_error());
            exit(1);
        }
        CHECK(sem_post(&answered) == 0);
    }
    return NULL;
}

/* Leaves the semaphore at zero, so that the next round waits for answers of its own. */
static void forget_answers(void)
{
    while (sem_trywait(&answered) == 0)
        continue;
    CHECK(errno == EAGAIN);
}

static void close_under_load(void)
{
    int i;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    forget_answers();
    for (i = 0; i < ANSWERS; i++) {
        while (sem_wait(&answered) != 0)
            CHECK(errno == EINTR);
    }
    dss_fini(&handle);
    CHECK_RC(dss_lock(&handle, "id", "main"), -EBADF);
}

int main(void)
{
    int rounds = test_repeat(200, 20), i;
    pthread_t threads[THREADS];
    int rc;

    CHECK(sem_init(&answered, 0, 0) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i) == 0);
    for (i = 0; i < rounds; i++)
        close_under_load();
    atomic_store(&stop, 1);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    rc = dss_unlock(&handle, "id", NULL);
    CHECK(rc == 0 || rc == -ENOLCK);
    CHECK_RC(dss_lock(&handle, "id", "main"), 0);
    CHECK_RC(dss_unlock(&handle, "id", "main"), 0);
    dss_fini(&handle);
    CHECK(sem_destroy(&answered) == 0);
    return 0;
}
