/*
 * Proves: the tokens of a lock id grow from grant to grant, whatever ended the grants before: unlocks, forced unlocks,
 * leases that ran out, transfers, take-overs, cleaning, and kill -9 of the holder; over 100,000 grants to sixteen
 * processes (20,000 by PostgreSQL, 5,000 by etcd), and across closing and opening the store.
 *
 * How it is judged: every call that grants is noted in memory that outlives its caller, with the moments of its begin
 * and its return on one counter that all processes share. A grant whose call began after another one's had returned
 * must have the greater token; of calls that overlap nothing is known but that their tokens differ. On calm ids, where
 * nobody meddles, the holder compares with the last one's token too, on the spot.
 */
#include "contention.h"

#define WORKERS 16
#define GRANTS 100000
#define OPENINGS 5 /* the store is closed by all, and opened anew, so often */
#define CALM 8     /* ids whose holder nobody forces out */
#define IDS 32
#define NOTES (GRANTS * 4)
#define KILL_EVERY_US 40000

struct note {
    _Atomic uint64_t returned; /* 0: the caller never came back with a grant */
    uint64_t began, token;
    int id;
};

static int grants_in_all(void)
{
    return test_amount(test_store_is("etcd") ? GRANTS / 20 : test_calls(GRANTS, GRANTS / 5));
}

struct scene {
    _Atomic uint64_t moments;
    _Atomic int notes;
    _Atomic int grants;
    _Atomic int end; /* of this opening, in grants */
    _Atomic uint64_t last[CALM];
    _Atomic int forced, expired, transferred, resumed, cleaned, killed;
    struct note all[NOTES];
};

static struct scene *scene;
static char names[IDS][32];

struct worker {
    pid_t process;
    int incarnation; /* no two workers ever have the same */
};

struct run {
    struct dss_handle handle;
    char owner[32], heir[32];
    unsigned seed;
};

/* ---- Calls that grant. ---- */

static struct note *begin_note(int id)
{
    int place = atomic_fetch_add(&scene->notes, 1);
    struct note *note = &scene->all[place];

    CHECK(place < NOTES);
    note->id = id;
    note->began = atomic_fetch_add(&scene->moments, 1) + 1;
    return note;
}

static void end_note(struct note *note, uint64_t token)
{
    CHECK(token != 0 && token < UINT64_C(1) << 63);
    note->token = token;
    atomic_store(&note->returned, atomic_fetch_add(&scene->moments, 1) + 1);
    atomic_fetch_add(&scene->grants, 1);
}

/* Takes one id; 0 if somebody else has it. */
static uint64_t take(struct run *run, int id, uint64_t flags, uint64_t ttl_ms)
{
    const char *lock_id = names[id];
    struct ask ask = {.ids = &lock_id, .count = 1, .owner = run->owner, .flags = flags, .ttl_ms = ttl_ms,
                      .wait_ms = rand_r(&run->seed) % 8 == 0 ? 5 : 0};
    struct note *note = begin_note(id);
    struct dss_grant grant;
    int rc = lock_set(&run->handle, &ask, &grant);

    if (rc == -EEXIST || rc == -ETIMEDOUT)
        return 0;
    CHECK_RC(rc, 0);
    end_note(note, grant.token);
    return grant.token;
}

static void compare_on_the_spot(int id, uint64_t token)
{
    if (id < CALM)
        CHECK(atomic_exchange(&scene->last[id], token) < token);
}

/* ---- Ends of grants. On an id that is not calm, somebody else may have ended it before. ---- */

static int may_be_gone(int id, int rc)
{
    return id >= CALM && (rc == -ENOLCK || rc == -EACCES || rc == -ESTALE);
}

static void release(struct run *run, int id, const char *owner, uint64_t token)
{
    const char *lock_id = names[id];
    int rc = dss_unlockv(&run->handle, &lock_id, 1, owner, &token, NULL);

    if (!may_be_gone(id, rc))
        CHECK_RC(rc, 0);
}

static void give_away(struct run *run, int id, uint64_t token)
{
    struct note *note = begin_note(id);
    struct dss_grant grant;
    int rc = dss_lock_transfer(&run->handle, names[id], run->owner, token, run->heir, &grant);

    if (may_be_gone(id, rc))
        return;
    CHECK_RC(rc, 0);
    CHECK(grant.token > token);
    end_note(note, grant.token);
    compare_on_the_spot(id, grant.token);
    atomic_fetch_add(&scene->transferred, 1);
    release(run, id, run->heir, grant.token);
}

static void take_over(struct run *run, int id, uint64_t token)
{
    uint64_t newer = take(run, id, DSS_LOCK_RESUME, 0);

    if (newer == 0) {
        CHECK(id >= CALM);
        return;
    }
    CHECK(newer > token);
    compare_on_the_spot(id, newer);
    atomic_fetch_add(&scene->resumed, 1);
    release(run, id, run->owner, newer);
}

static void clean(struct run *run, int id)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_id = names[id], .lock_owner = run->owner};

    CHECK_RC(dss_lock_clean(&run->handle, &filter, NULL, NULL), 0);
    atomic_fetch_add(&scene->cleaned, 1);
}

/* Forces whoever has it, which may be another worker. */
static void force(struct run *run, int id)
{
    int rc = dss_unlock(&run->handle, names[id], NULL);

    if (!may_be_gone(id, rc))
        CHECK_RC(rc, 0);
    atomic_fetch_add(&scene->forced, 1);
}

/* ---- Workers. ---- */

static void one_grant(struct run *run)
{
    int id = rand_r(&run->seed) % IDS, way = rand_r(&run->seed) % 100;
    int runs_out = way >= 98 && id >= CALM;
    uint64_t token = take(run, id, 0, runs_out ? DSS_TTL_MIN_MS : 0);

    if (token == 0) {
        if (id >= CALM && way < 3)
            force(run, id);
        return;
    }
    compare_on_the_spot(id, token);
    if (runs_out)
        atomic_fetch_add(&scene->expired, 1); /* or forced meanwhile */
    else if (way < 10)
        give_away(run, id, token);
    else if (way < 20)
        take_over(run, id, token);
    else if (way < 25)
        clean(run, id);
    else if (way < 35)
        force(run, id);
    else
        release(run, id, run->owner, token);
}

static void work(void *arg)
{
    int incarnation = *(int *)arg;
    struct run run = {.seed = (unsigned)incarnation};

    snprintf(run.owner, sizeof(run.owner), "worker %d.", incarnation);
    snprintf(run.heir, sizeof(run.heir), "worker %d.heir", incarnation);
    CHECK_RC(dss_init_uri(&run.handle, test_uri()), 0);
    while (atomic_load(&scene->grants) < atomic_load(&scene->end))
        one_grant(&run);
    dss_fini(&run.handle);
}

static void start(struct worker *worker)
{
    static int incarnations;

    worker->incarnation = ++incarnations;
    worker->process = spawn(work, &worker->incarnation);
}

static void free_what_it_held(struct dss_handle *handle, int incarnation)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_OWNER_PREFIX};
    char prefix[32];

    snprintf(prefix, sizeof(prefix), "worker %d.", incarnation);
    filter.lock_owner = prefix;
    CHECK_RC(dss_lock_clean(handle, &filter, NULL, NULL), 0);
}

/*
 * Kills a worker, frees what it held, and starts another in its place. To a server its last request may still be on its
 * way; it has come when the next one is killed.
 */
static void replace(struct dss_handle *handle, struct worker *worker)
{
    static int last;
    int status;

    CHECK(kill(worker->process, SIGKILL) == 0);
    CHECK(waitpid(worker->process, &status, 0) == worker->process);
    CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    atomic_fetch_add(&scene->killed, WIFSIGNALED(status) ? 1 : 0);
    free_what_it_held(handle, worker->incarnation);
    if (last != 0 && test_store_is_server())
        free_what_it_held(handle, last);
    last = worker->incarnation;
    start(worker);
}

/* For a random time, but not until the work is done before there were enough kills. */
static void pause_before_kill(unsigned *seed)
{
    struct timespec moment = {0, 1000000};
    int most = atomic_load(&scene->grants) + grants_in_all() / (2 * WORKERS);
    double end = test_seconds() + rand_r(seed) % KILL_EVERY_US / 1e6;

    while (test_seconds() < end && atomic_load(&scene->grants) < most)
        nanosleep(&moment, NULL);
}

static void one_opening(int number)
{
    unsigned seed = (unsigned)number + 1;
    struct worker workers[WORKERS];
    pid_t processes[WORKERS];
    struct dss_handle handle;
    int end = grants_in_all() / OPENINGS * (number + 1);

    atomic_store(&scene->end, end);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int i = 0; i < WORKERS; i++)
        start(&workers[i]);
    while (atomic_load(&scene->grants) < end) {
        pause_before_kill(&seed);
        replace(&handle, &workers[rand_r(&seed) % WORKERS]);
    }
    for (int i = 0; i < WORKERS; i++)
        processes[i] = workers[i].process;
    test_join_all(processes, WORKERS);
    dss_fini(&handle);
}

/* ---- The judgement. ---- */

static int by_token(const void *one, const void *other)
{
    uint64_t a = ((const struct note *)one)->token, b = ((const struct note *)other)->token;

    return (a > b) - (a < b);
}

/*
 * In the order of its tokens, no grant of an id may have returned before one with a smaller token began. So from the
 * greatest token down: none may begin later than the earliest return seen so far.
 */
static void judge(struct note *notes, int count, int id)
{
    uint64_t earliest_return = UINT64_MAX;

    qsort(notes, (size_t)count, sizeof(*notes), by_token);
    for (int i = count - 1; i >= 0; i--) {
        if (notes[i].began > earliest_return || (i > 0 && notes[i].token == notes[i - 1].token)) {
            fprintf(stderr, "%s: token %llu was granted after a greater one, or twice\n", names[id],
                    (unsigned long long)notes[i].token);
            exit(1);
        }
        if (notes[i].returned < earliest_return)
            earliest_return = notes[i].returned;
    }
}

static void judge_all(void)
{
    int count = atomic_load(&scene->notes), granted = 0;
    struct note *notes = calloc((size_t)count, sizeof(*notes));

    CHECK(notes != NULL);
    for (int id = 0; id < IDS; id++) {
        int of_id = 0;

        for (int i = 0; i < count; i++) {
            if (scene->all[i].id == id && atomic_load(&scene->all[i].returned) != 0)
                memcpy(&notes[of_id++], &scene->all[i], sizeof(*notes));
        }
        CHECK(of_id > grants_in_all() / 1000);
        judge(notes, of_id, id);
        granted += of_id;
    }
    free(notes);
    CHECK(granted >= grants_in_all());
}

int main(void)
{
    double begin = test_seconds();

    watchdog(110);
    use_files_in_memory();
    scene = shared_memory(sizeof(*scene));
    for (int id = 0; id < IDS; id++)
        snprintf(names[id], sizeof(names[id]), "lock %d", id);
    for (int i = 0; i < OPENINGS; i++)
        one_opening(i);
    judge_all();
    fprintf(stderr, "%d grants of %d calls in %.1f s, %d workers killed\n", atomic_load(&scene->grants),
            atomic_load(&scene->notes), test_seconds() - begin, atomic_load(&scene->killed));
    fprintf(stderr, "forced %d, ran out %d, transferred %d, taken over %d, cleaned %d\n", atomic_load(&scene->forced),
            atomic_load(&scene->expired), atomic_load(&scene->transferred), atomic_load(&scene->resumed),
            atomic_load(&scene->cleaned));
    CHECK(atomic_load(&scene->killed) >= WORKERS);
    CHECK(atomic_load(&scene->forced) > grants_in_all() / 1000 && atomic_load(&scene->expired) > grants_in_all() / 1000);
    CHECK(atomic_load(&scene->transferred) > grants_in_all() / 100);
    CHECK(atomic_load(&scene->resumed) > grants_in_all() / 100);
    return 0;
}
