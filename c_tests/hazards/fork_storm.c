/*
 * Parents and children fight for one lock after a fork, and a process forks at random while its threads work.
 *
 * The fork copies the library in whatever state the other threads have it: a mutex that is held by a thread which the
 * child has not got, a transaction that is half done. And locks of open file descriptions are shared by both sides: a
 * SQLite that was open during the fork lets both into one transaction, and the lock has two holders.
 */
#include "contend.h"

#define SECONDS 1.5
#define CHILDREN 3
#define WORKERS 8
#define FORKS 100

static struct arena *arena;
static struct dss_handle inherited;

/* ---- Both sides go on with the handle that was open during the fork. ---- */

static void contend_with_inherited(void *arg)
{
    (void)arg;
    contend(linked_api(), &inherited, arena, "drive", SECONDS);
    dss_fini(&inherited);
}

static void contend_with_own(void *arg)
{
    struct dss_handle own;

    (void)arg;
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    contend(linked_api(), &own, arena, "drive", SECONDS);
    dss_fini(&own);
}

static void family_contends(void)
{
    pid_t children[CHILDREN];

    arena = arena_make();
    CHECK_RC(dss_init_uri(&inherited, test_uri()), 0);
    contend(linked_api(), &inherited, arena, "drive", 0.05);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = spawn(i == 0 ? contend_with_own : contend_with_inherited, NULL);
    contend(linked_api(), &inherited, arena, "drive", SECONDS);
    arena_close(arena, children, CHILDREN);
    dss_fini(&inherited);
}

/* ---- Forks at random moments from among working threads. ---- */

static _Atomic int workers_stop;

static void *work(void *arg)
{
    (void)arg;
    while (!atomic_load(&workers_stop))
        contend(linked_api(), &inherited, arena, "drive", 0.01);
    return NULL;
}

/* What the child does with the handle differs from one to the next. */
static void child_of_storm(void *arg)
{
    switch (*(int *)arg % 4) {
    case 0:
        break;
    case 1:
        contend(linked_api(), &inherited, arena, "drive", 0.01);
        break;
    case 2:
        dss_fini(&inherited);
        break;
    default:
        contend_with_own(NULL);
    }
}

static void forks_among_threads(void)
{
    pthread_t threads[WORKERS];
    pid_t children[FORKS];
    unsigned seed = 1;

    arena = arena_make();
    CHECK_RC(dss_init_uri(&inherited, test_uri()), 0);
    for (int i = 0; i < WORKERS; i++)
        threads[i] = start_thread(work, NULL);
    for (int i = 0; i < FORKS; i++) {
        /* Own handles contend for long: a few of them at a time are enough. */
        int kind = i % 20 == 3 ? 3 : i % 3;

        pause_at_random(&seed, 3000);
        children[i] = spawn(child_of_storm, &kind);
    }
    atomic_store(&workers_stop, 1);
    for (int i = 0; i < WORKERS; i++)
        join_thread(threads[i]);
    arena_close(arena, children, FORKS);
    dss_fini(&inherited);
}

int main(void)
{
    (void)test_uri();
    family_contends();
    forks_among_threads();
    return 0;
}
