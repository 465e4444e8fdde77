/*
 * Proves: over 10,000 deletes of one key, by threads of several processes that set it and delete it at the same time, no
 * version comes twice, and each is greater than that of every write that had returned before it began, and across closing and
 * opening the store.
 *
 *   versions [deletes]
 */
#include "contention/contention.h"
#include "state/state.h"

#define DELETES 10000
#define OPENINGS 2 /* the store is closed by all, and opened anew, so often */
#define PROCESSES 4
#define THREADS 4
#define NOTES_MAX (16 * DELETES)

/* One write, with the moments of its begin and its return on one counter that all processes share. */
struct note {
    uint64_t began, returned, version; /* 0: it was a delete, or failed */
};

struct scene {
    _Atomic uint64_t moments;
    _Atomic int notes, deletes;
    int until; /* so many deletes */
    struct note all[NOTES_MAX];
};

static struct scene *scene;

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

static void set_once(struct dss_handle *handle, unsigned *seed)
{
    int place = atomic_fetch_add(&scene->notes, 1);
    struct note *note = &scene->all[place];
    struct dss_guard must_be_new = of_version(0), *guard = rand_r(seed) % 2 == 0 ? &must_be_new : NULL;
    int rc;

    CHECK(place < NOTES_MAX);
    note->began = atomic_fetch_add(&scene->moments, 1) + 1;
    rc = dss_set(handle, "key", "value", 5, guard, &note->version);
    note->returned = atomic_fetch_add(&scene->moments, 1) + 1;
    if (rc == -EAGAIN && guard != NULL) {
        CHECK(note->version != 0);
        note->version = 0; /* another's */
        return;
    }
    CHECK_RC(rc, 0);
    CHECK(note->version != 0 && note->version < UINT64_C(1) << 63);
}

static void delete_once(struct dss_handle *handle)
{
    int rc = delete_key(handle, "key");

    if (rc == 0)
        atomic_fetch_add(&scene->deletes, 1);
    else
        CHECK_RC(rc, -ENOENT);
}

struct worker {
    struct dss_handle *handle;
    unsigned seed;
};

static void *work(void *arg)
{
    struct worker *worker = arg;

    while (atomic_load(&scene->deletes) < scene->until) {
        set_once(worker->handle, &worker->seed);
        delete_once(worker->handle);
    }
    return NULL;
}

static void work_in_threads(void *arg)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ &handle, *(unsigned *)arg * THREADS + (unsigned)i };
        threads[i] = start_thread(work, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    dss_fini(&handle);
}

/* A store in memory has no second process, and lives as long as a handle. */
static void work_in_memory(void)
{
    unsigned first = 0;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    scene->until *= OPENINGS;
    work_in_threads(&first);
    dss_fini(&handle);
}

static void work_in_processes(void)
{
    pid_t children[PROCESSES];

    for (unsigned i = 0; i < PROCESSES; i++)
        children[i] = spawn(work_in_threads, &i);
    test_join_all(children, PROCESSES);
}

/* ---- The judgement ----------------------------------------------------------------------------------------------- */

static int by_version(const void *one, const void *other)
{
    uint64_t a = ((const struct note *)one)->version, b = ((const struct note *)other)->version;

    return (a > b) - (a < b);
}

/* In the order of versions, from the greatest down: none may have begun after a greater one had returned. */
static void judge(void)
{
    int count = atomic_load(&scene->notes);
    uint64_t earliest_return = UINT64_MAX;

    qsort(scene->all, (size_t)count, sizeof(struct note), by_version);
    for (int i = count - 1; i >= 0 && scene->all[i].version != 0; i--) {
        const struct note *note = &scene->all[i];

        if (note->began > earliest_return || (i > 0 && note->version == note[-1].version)) {
            fprintf(stderr, "version %llu came after a greater one, or twice\n", (unsigned long long)note->version);
            exit(1);
        }
        if (note->returned < earliest_return)
            earliest_return = note->returned;
    }
}

/* On etcd the writes of one key stand in line for its log: 10,000 deletes take half a minute there (`versions 10000`). */
static int deletes_to_make(int count, char **arguments)
{
    if (count > 1)
        return atoi(arguments[1]);
    return test_amount(test_store_is("etcd") ? DELETES / 10 : DELETES);
}

int main(int count, char **arguments)
{
    int deletes = deletes_to_make(count, arguments);
    double begun = test_seconds();

    watchdog(110);
    use_files_in_memory();
    scene = shared_memory(sizeof(*scene));
    for (int i = 1; i <= OPENINGS; i++) {
        scene->until = deletes / OPENINGS * i;
        if (test_store_is("memory")) {
            work_in_memory();
            break;
        }
        work_in_processes();
    }
    judge();
    CHECK(atomic_load(&scene->deletes) >= deletes);
    fprintf(stderr, "%d deletes and %d writes in %.1f s\n", atomic_load(&scene->deletes), atomic_load(&scene->notes),
            test_seconds() - begun);
    return 0;
}
