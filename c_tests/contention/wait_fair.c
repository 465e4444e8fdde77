/*
 * Proves: nobody starves. Of sixteen who keep asking for one lock for some seconds, processes or threads, the
 * unluckiest gets it at least a third as often as they do on average. And one who wants all of four locks, among
 * twelve who want one of these each, gets on, and so do the twelve. On a slow machine they go on until there are
 * enough grants to compare.
 *
 *   wait_fair processes | threads   one | set
 */
#include "contention.h"

#define SECONDS test_amount(8)
#define GRANTS_EACH 20
#define ASKERS 16
#define SINGLES 12
#define IDS 4
#define SETS_AT_LEAST 3

struct scene {
    _Atomic int stop;
    _Atomic int began; /* how many have had it once */
    _Atomic int counts;
    _Atomic int inside[IDS]; /* who has the lock, a number from 1 on */
    _Atomic long grants[ASKERS];
};

struct asker {
    int number;
    struct ask ask;
};

static const char *const ids[IDS] = {"drive1", "drive2", "drive3", "drive4"};
static struct scene *scene;
static struct dss_handle shared_handle;

static void be_inside(const struct asker *asker)
{
    size_t first = (size_t)(asker->ask.ids - ids), i;

    for (i = first; i < first + asker->ask.count; i++)
        CHECK(atomic_exchange(&scene->inside[i], asker->number + 1) == 0);
    for (volatile int work = 0; work < 5000; work++)
        continue;
    for (i = first; i < first + asker->ask.count; i++)
        CHECK(atomic_exchange(&scene->inside[i], 0) == asker->number + 1);
}

static void keep_asking(struct dss_handle *handle, const struct asker *asker)
{
    int rounds;

    for (rounds = 0; !atomic_load(&scene->stop); rounds++) {
        CHECK_RC(lock_set(handle, &asker->ask, NULL), 0);
        be_inside(asker);
        if (rounds == 0)
            atomic_fetch_add(&scene->began, 1);
        if (atomic_load(&scene->counts))
            atomic_fetch_add(&scene->grants[asker->number], 1);
        CHECK_RC(dss_unlockv(handle, asker->ask.ids, asker->ask.count, asker->ask.owner, NULL, NULL), 0);
    }
}

static void be_process(void *arg)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    keep_asking(&handle, arg);
    dss_fini(&handle);
}

static void *be_thread(void *arg)
{
    keep_asking(&shared_handle, arg);
    return NULL;
}

static long all_grants(int count)
{
    long sum = 0;

    for (int i = 0; i < count; i++)
        sum += atomic_load(&scene->grants[i]);
    return sum;
}

/* The time begins when all of them are there. */
static void let_them_ask(int count)
{
    struct timespec moment = {0, 1000000}, time = {SECONDS, 0};

    while (atomic_load(&scene->began) < count)
        nanosleep(&moment, NULL);
    atomic_store(&scene->counts, 1);
    nanosleep(&time, NULL);
    while (all_grants(count) < (long)GRANTS_EACH * count)
        nanosleep(&moment, NULL);
    atomic_store(&scene->stop, 1);
}

static void run(int as_threads, struct asker *askers, int count)
{
    pthread_t threads[ASKERS];
    pid_t processes[ASKERS];
    int i;

    if (as_threads) {
        CHECK_RC(dss_init_uri(&shared_handle, test_uri()), 0);
        for (i = 0; i < count; i++)
            threads[i] = start_thread(be_thread, &askers[i]);
        let_them_ask(count);
        for (i = 0; i < count; i++)
            join_thread(threads[i]);
        dss_fini(&shared_handle);
        return;
    }
    for (i = 0; i < count; i++)
        processes[i] = spawn(be_process, &askers[i]);
    let_them_ask(count);
    test_join_all(processes, (size_t)count);
}

static void make(struct asker *asker, int number, size_t first, size_t count)
{
    static char owners[ASKERS][16];

    snprintf(owners[number], sizeof(owners[number]), "asker %d", number);
    asker->number = number;
    asker->ask = (struct ask){.ids = ids + first, .count = count, .owner = owners[number], .wait_ms = -1};
}

/* The least, the greatest and the mean of what the askers from this one on were granted. */
static void look(int from, int to, long *least, long *most, double *mean)
{
    long sum = 0;

    *least = *most = atomic_load(&scene->grants[from]);
    for (int i = from; i < to; i++) {
        long grants = atomic_load(&scene->grants[i]);

        *least = grants < *least ? grants : *least;
        *most = grants > *most ? grants : *most;
        sum += grants;
    }
    *mean = (double)sum / (to - from);
}

static void sixteen_for_one(int as_threads, const char *who)
{
    struct asker askers[ASKERS];
    long least, most;
    double mean;

    for (int i = 0; i < ASKERS; i++)
        make(&askers[i], i, 0, 1);
    run(as_threads, askers, ASKERS);
    look(0, ASKERS, &least, &most, &mean);
    fprintf(stderr, "%d %s for one lock in %d s: %ld to %ld grants, mean %.0f; least/mean %.2f\n", ASKERS, who, SECONDS,
            least, most, mean, (double)least / mean);
    CHECK((double)least >= mean / 3);
}

static void one_for_all_of_four(int as_threads, const char *who)
{
    struct asker askers[1 + SINGLES];
    long least, most, sets;
    double mean;

    make(&askers[0], 0, 0, IDS);
    for (int i = 0; i < SINGLES; i++)
        make(&askers[1 + i], 1 + i, (size_t)i % IDS, 1);
    run(as_threads, askers, 1 + SINGLES);
    look(1, 1 + SINGLES, &least, &most, &mean);
    sets = atomic_load(&scene->grants[0]);
    fprintf(stderr, "%s: %ld grants of all four in %d s, %ld to %ld to each who wants one, mean %.0f\n", who, sets,
            SECONDS, least, most, mean);
    CHECK(sets >= SETS_AT_LEAST);
    CHECK((double)least >= mean / 3);
}

int main(int count, char **arguments)
{
    int as_threads;

    CHECK(count == 3);
    as_threads = strcmp(arguments[1], "threads") == 0;
    watchdog(HANGS_AFTER_S);
    use_files_in_memory();
    scene = shared_memory(sizeof(*scene));
    if (strcmp(arguments[2], "one") == 0)
        sixteen_for_one(as_threads, arguments[1]);
    else
        one_for_all_of_four(as_threads, arguments[1]);
    return 0;
}
