/*
 * Proves: callers of overlapping sets of locks exclude each other, never stop each other for good, and each takes all
 * of its set or none: nobody who lists the locks ever sees a part of one, and kill -9 of a caller at any moment leaves
 * a whole set or nothing.
 *
 * Sixteen processes take random sets of 1 to 16 of 24 ids, without a wait, with a short one, and waiting for ever.
 * Words in shared memory, one for each id, witness who is inside. Each lock's note says which set it belongs to and of
 * how many.
 *
 * The last request of the dead may still be on its way to a server, and take its set any time later: the others would wait
 * for that one for ever, as they must. So whoever lists also cleans up after the dead, there.
 *
 *   sets [seconds]
 */
#include "contention.h"

#include <limits.h>

#define SECONDS 30
#define WORKERS 16
#define IDS 24
#define SET_MAX 16
#define TTL_MS 600000 /* never runs out in here: it is the mix of both kinds of locks that counts */
#define KILL_EVERY_US 200000
#define GRANTS_AT_LEAST test_calls(10, 2) /* of each worker: all make progress */
#define LEAST_PART 8 /* nobody gets less than this part of an equal share, however slow all are */
#define LISTS_AT_LEAST 50

struct scene {
    _Atomic int stop;
    _Atomic int all_left; /* the workers; so nothing needs to be listed any more */
    _Atomic int at_work[WORKERS]; /* the incarnation that works at each place: all others are dead */
    _Atomic int inside[IDS]; /* the incarnation that holds the id, from 1 on; 0 for nobody */
    _Atomic long grants[WORKERS], refused[WORKERS], timed_out[WORKERS];
    _Atomic long longest_us[WORKERS]; /* the longest of the waits without an end */
    _Atomic long lists, sets_seen;
};

static struct scene *scene;
static char names[IDS][16];

struct worker {
    int place;
    int incarnation; /* no two workers ever have the same */
    pid_t process;
};

/* ---- Workers. ---- */

struct run {
    struct dss_handle handle;
    int place, incarnation, sets;
    char owner[32], note[64];
    unsigned seed;
    int chosen[IDS]; /* the first ones are the set */
    const char *ids[SET_MAX];
    size_t size;
};

/* Chooses a set, in any order. */
static void choose(struct run *run)
{
    for (int i = 0; i < IDS; i++)
        run->chosen[i] = i;
    run->size = 1 + (size_t)rand_r(&run->seed) % SET_MAX;
    for (size_t i = 0; i < run->size; i++) {
        size_t other = i + (size_t)rand_r(&run->seed) % (IDS - i);
        int swap = run->chosen[i];

        run->chosen[i] = run->chosen[other];
        run->chosen[other] = swap;
        run->ids[i] = names[run->chosen[i]];
    }
    snprintf(run->note, sizeof(run->note), "set %d of %zu", ++run->sets, run->size);
}

/* A long, a short or no wait; the longest of the long ones is remembered. */
static int take(struct run *run, struct dss_grant *grants)
{
    int way = rand_r(&run->seed) % 4;
    int64_t wait_ms = way == 0 ? 0 : way == 1 ? 1 + rand_r(&run->seed) % 50 : -1;
    struct dss_lock_opts opts = {.size = sizeof(opts), .note = run->note, .wait_ms = wait_ms,
                                 .ttl_ms = rand_r(&run->seed) % 4 == 0 ? TTL_MS : 0};
    double begin = test_seconds();
    int rc = dss_lockv(&run->handle, run->ids, run->size, run->owner, &opts, grants);
    long took_us = (long)((test_seconds() - begin) * 1e6);

    if (rc == 0) {
        if (wait_ms < 0 && took_us > atomic_load(&scene->longest_us[run->place]))
            atomic_store(&scene->longest_us[run->place], took_us);
        return 1;
    }
    CHECK_RC(rc, wait_ms == 0 ? -EEXIST : -ETIMEDOUT);
    atomic_fetch_add(wait_ms == 0 ? &scene->refused[run->place] : &scene->timed_out[run->place], 1);
    return 0;
}

static void be_inside(struct run *run)
{
    for (size_t i = 0; i < run->size; i++)
        CHECK(atomic_exchange(&scene->inside[run->chosen[i]], run->incarnation) == 0);
    sched_yield();
    for (size_t i = 0; i < run->size; i++)
        CHECK(atomic_exchange(&scene->inside[run->chosen[i]], 0) == run->incarnation);
}

static void one_set(struct run *run)
{
    struct dss_grant grants[SET_MAX];
    uint64_t tokens[SET_MAX];

    choose(run);
    if (!take(run, grants))
        return;
    for (size_t i = 0; i < run->size; i++) {
        CHECK(grants[i].rc == 0 && grants[i].token != 0);
        tokens[i] = grants[i].token;
    }
    be_inside(run);
    atomic_fetch_add(&scene->grants[run->place], 1);
    CHECK_RC(dss_unlockv(&run->handle, run->ids, run->size, run->owner, tokens, NULL), 0);
}

static void work(void *arg)
{
    const struct worker *worker = arg;
    int incarnation = worker->incarnation;
    struct run run = {.place = worker->place, .incarnation = incarnation, .seed = (unsigned)incarnation};

    snprintf(run.owner, sizeof(run.owner), "worker %d", run.incarnation);
    CHECK_RC(dss_init_uri(&run.handle, test_uri()), 0);
    while (!atomic_load(&scene->stop))
        one_set(&run);
    dss_fini(&run.handle);
}

static void start(struct worker *worker)
{
    static int incarnations;

    worker->incarnation = ++incarnations;
    atomic_store(&scene->at_work[worker->place], worker->incarnation);
    worker->process = spawn(work, worker);
}

/* ---- Who lists. ---- */

/* What one list showed of each owner, who has at most one set at a time. */
struct seen {
    int count;
    struct {
        char owner[32], note[64];
        int locks, size;
    } owners[IDS];
};

static int note_lock(const struct dss_lock_info *info, void *arg)
{
    struct seen *seen = arg;
    int i, number;

    for (i = 0; i < seen->count && strcmp(seen->owners[i].owner, info->lock_owner) != 0; i++)
        continue;
    if (i == seen->count) {
        CHECK(seen->count++ < IDS);
        snprintf(seen->owners[i].owner, sizeof(seen->owners[i].owner), "%s", info->lock_owner);
        snprintf(seen->owners[i].note, sizeof(seen->owners[i].note), "%s", info->note);
        CHECK(sscanf(info->note, "set %d of %d", &number, &seen->owners[i].size) == 2);
    }
    CHECK(strcmp(seen->owners[i].note, info->note) == 0);
    seen->owners[i].locks++;
    return 0;
}

/* Lists the locks, of one owner or all, and finds every set whole; how many locks there were. */
static int list_whole_sets(struct dss_handle *handle, const char *owner, struct seen *seen)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_owner = owner};
    int locks = 0;

    *seen = (struct seen){.count = 0};
    CHECK_RC(dss_lock_list(handle, &filter, note_lock, seen), 0);
    for (int i = 0; i < seen->count; i++) {
        if (seen->owners[i].locks != seen->owners[i].size) {
            fprintf(stderr, "of %s, %s, %d locks are there\n", seen->owners[i].owner, seen->owners[i].note,
                    seen->owners[i].locks);
            exit(1);
        }
        locks += seen->owners[i].locks;
    }
    atomic_fetch_add(&scene->lists, 1);
    atomic_fetch_add(&scene->sets_seen, seen->count);
    return locks;
}

static void clean(struct dss_handle *handle, const char *owner)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_owner = owner};

    CHECK_RC(dss_lock_clean(handle, &filter, NULL, NULL), 0);
}

static int is_dead(const char *owner)
{
    int incarnation = atoi(owner + strlen("worker "));

    for (int i = 0; i < WORKERS; i++) {
        if (atomic_load(&scene->at_work[i]) == incarnation)
            return 0;
    }
    return 1;
}

static void clean_what_came_late(struct dss_handle *handle, const struct seen *seen)
{
    for (int i = 0; i < seen->count && test_store_is_server(); i++) {
        if (is_dead(seen->owners[i].owner))
            clean(handle, seen->owners[i].owner);
    }
}

static void keep_listing(void *arg)
{
    struct dss_handle handle;
    struct seen seen;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    while (!atomic_load(&scene->all_left)) {
        (void)list_whole_sets(&handle, NULL, &seen);
        clean_what_came_late(&handle, &seen);
    }
    dss_fini(&handle);
}

/* ---- How far they came. ---- */

struct progress {
    long least, most, sum, refused, timed_out, longest_us;
};

static struct progress progress_so_far(void)
{
    struct progress so_far = {.least = LONG_MAX};

    for (int i = 0; i < WORKERS; i++) {
        long grants = atomic_load(&scene->grants[i]), us = atomic_load(&scene->longest_us[i]);

        so_far.least = grants < so_far.least ? grants : so_far.least;
        so_far.most = grants > so_far.most ? grants : so_far.most;
        so_far.longest_us = us > so_far.longest_us ? us : so_far.longest_us;
        so_far.sum += grants;
        so_far.refused += atomic_load(&scene->refused[i]);
        so_far.timed_out += atomic_load(&scene->timed_out[i]);
    }
    return so_far;
}

/* On a busy machine that takes its time; where somebody makes no progress, the watchdog barks. */
static int is_enough(void)
{
    struct progress so_far = progress_so_far();

    return so_far.least >= GRANTS_AT_LEAST && so_far.refused > 0 && so_far.timed_out > 0 &&
           atomic_load(&scene->lists) >= LISTS_AT_LEAST && atomic_load(&scene->sets_seen) >= LISTS_AT_LEAST;
}

static void report_progress(void)
{
    struct progress made = progress_so_far();

    fprintf(stderr, "%ld sets, %ld to %ld of each worker; %ld refused, %ld timed out; longest wait %.2f s\n", made.sum,
            made.least, made.most, made.refused, made.timed_out, (double)made.longest_us / 1e6);
    fprintf(stderr, "%ld lists, %ld sets in them\n", atomic_load(&scene->lists), atomic_load(&scene->sets_seen));
    CHECK(made.least * LEAST_PART >= made.sum / WORKERS);
}

/* ---- Who kills. ---- */

/* How many of the witnesses name a dead worker; it holds its set then, so nobody else changes them meanwhile. */
static int forget_inside(int incarnation)
{
    int found = 0;

    for (int id = 0; id < IDS; id++) {
        int expected = incarnation;

        found += atomic_compare_exchange_strong(&scene->inside[id], &expected, 0);
    }
    return found;
}

/* Whether the dead one held a set. */
static int replace(struct dss_handle *handle, struct worker *worker)
{
    struct seen seen;
    int status, locks;
    char owner[32];

    CHECK(kill(worker->process, SIGKILL) == 0);
    CHECK(waitpid(worker->process, &status, 0) == worker->process);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* else a check of its own has failed */
    snprintf(owner, sizeof(owner), "worker %d", worker->incarnation);
    locks = list_whole_sets(handle, owner, &seen);
    CHECK(forget_inside(worker->incarnation) <= locks);
    clean(handle, owner);
    start(worker);
    return locks > 0;
}

/* Any worker, or every second time one that is inside just now, and so most probably dies with a set of locks. */
static struct worker *choose_victim(struct worker *workers, int number, unsigned *seed)
{
    double end = test_seconds() + 0.1;

    while (number % 2 == 0 && test_seconds() < end) {
        int inside = atomic_load(&scene->inside[rand_r(seed) % IDS]);

        for (int i = 0; i < WORKERS && inside != 0; i++) {
            if (workers[i].incarnation == inside)
                return &workers[i];
        }
    }
    return &workers[rand_r(seed) % WORKERS];
}

static void keep_killing(struct dss_handle *handle, struct worker *workers, double seconds)
{
    double end = test_seconds() + seconds;
    unsigned seed = (unsigned)getpid();
    int killed, with_set = 0;

    for (killed = 0; test_seconds() < end || with_set == 0 || !is_enough(); killed++) {
        pause_at_random(&seed, KILL_EVERY_US);
        with_set += replace(handle, choose_victim(workers, killed, &seed));
    }
    fprintf(stderr, "%d workers killed, %d of them with a set of locks\n", killed, with_set);
    CHECK(with_set > 0 && with_set < killed);
}

/* ---- */

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : SECONDS;
    struct worker workers[WORKERS];
    pid_t processes[WORKERS], lister;
    struct dss_handle handle;
    struct seen seen;
    int i;

    CHECK(seconds > 0);
    watchdog((unsigned)seconds + HANGS_AFTER_S); /* waits without an end must end when the others stop */
    use_files_in_memory();
    scene = shared_memory(sizeof(*scene));
    for (i = 0; i < IDS; i++)
        snprintf(names[i], sizeof(names[i]), "drive %d", i);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (i = 0; i < WORKERS; i++) {
        workers[i].place = i;
        start(&workers[i]);
    }
    lister = spawn(keep_listing, NULL);
    keep_killing(&handle, workers, seconds);
    atomic_store(&scene->stop, 1);
    for (i = 0; i < WORKERS; i++)
        processes[i] = workers[i].process;
    test_join_all(processes, WORKERS);
    atomic_store(&scene->all_left, 1);
    test_join(lister);
    report_progress();
    (void)list_whole_sets(&handle, NULL, &seen);
    clean_what_came_late(&handle, &seen);
    CHECK(list_whole_sets(&handle, NULL, &seen) == 0);
    for (i = 0; i < IDS; i++)
        CHECK(atomic_load(&scene->inside[i]) == 0);
    dss_fini(&handle);
    return 0;
}
