/*
 * A database was restarted at noon. Three movers stopped with an error, one went on with a lock that the server no longer
 * knew, and the robot served two of them at once.
 *
 * Proves: eight busy processes go on by themselves when PostgreSQL is stopped at once, killed or shut down, and started again;
 * and when each of three etcd servers (so the leader is among them) is killed and started again, then two at once. No call
 * fails, unless its time is up; each process makes more grants after each restart; the tokens of an id keep rising; and at the
 * end each lock that was acknowledged is there with its owner and token, and none that was not. While etcd has no quorum,
 * nothing is granted.
 *
 *   restarts [rounds]
 */
#include "contention/contention.h"
#include "network/servers.h"

#define WORKERS 8
#define SHARED 2
#define KEPT_MAX 20000
#define KEEP_EVERY 4
#define LEASE_EVERY 4
#define LEASE_MS 600000 /* never runs out in here */
#define MORE 10
#define TIMEOUT "timeout_ms=20000"
#define TIMEOUT_S 20
#define PATIENCE_S 60
/* What was committed before the quorum was lost is answered by then; and so long nothing may be granted then. */
#define LAST_ANSWERS_S 1
#define NO_QUORUM_S 3

struct worker {
    pid_t process;
    _Atomic long grants, given_up;
    _Atomic int kept;          /* locks that it has tried to take for good */
    uint64_t tokens[KEPT_MAX]; /* of these; 0: not acknowledged */
};

struct scene {
    char uri[512];
    _Atomic int stop;
    struct {
        _Atomic int holder;
        _Atomic uint64_t token;
    } shared[SHARED];
    struct worker workers[WORKERS];
};

static struct scene *scene;
static const char *const shared_ids[SHARED] = {"shared.0", "shared.1"};

/* ---- A worker. ---- */

struct run {
    struct dss_handle handle;
    struct worker *worker;
    int number; /* from 1 on */
    char owner[32];
    unsigned seed;
};

/* A call may end without success only when its time is up. */
static void give_up(struct run *run, const char *call, int rc, double begin)
{
    double took = test_seconds() - begin;

    fprintf(stderr, "%s: %s gave %d after %.2f s: %s\n", run->owner, call, rc, took, dss_last_error());
    CHECK(rc == -EINPROGRESS || rc == -ENOTCONN || rc == -EBUSY);
    CHECK(took > TIMEOUT_S - 0.1);
    atomic_fetch_add(&run->worker->given_up, 1);
}

static void be_inside(struct run *run, const int *places, const struct dss_grant *grants, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(grants[i].rc == 0);
        CHECK(atomic_exchange(&scene->shared[places[i]].holder, run->number) == 0);
        CHECK(atomic_exchange(&scene->shared[places[i]].token, grants[i].token) < grants[i].token);
    }
    sched_yield();
    for (size_t i = 0; i < count; i++)
        CHECK(atomic_exchange(&scene->shared[places[i]].holder, 0) == run->number);
}

static void release(struct run *run, const char *const *ids, const struct dss_grant *grants, size_t count)
{
    uint64_t tokens[SHARED];
    int rc, is_unknown = 0;

    for (size_t i = 0; i < count; i++)
        tokens[i] = grants[i].token;
    for (;;) {
        double begin = test_seconds();

        rc = dss_unlockv(&run->handle, ids, count, run->owner, tokens, NULL);
        if (rc == 0 || (rc == -ENOLCK && is_unknown))
            return;
        give_up(run, "dss_unlockv", rc, begin);
        CHECK(test_seconds() - begin < TIMEOUT_S + 1);
        is_unknown |= rc == -EINPROGRESS;
    }
}

/* One of the shared ids, or both in any order. */
static void use_shared(struct run *run)
{
    int first = rand_r(&run->seed) % SHARED, places[SHARED] = {first, 1 - first};
    const char *ids[SHARED] = {shared_ids[first], shared_ids[1 - first]};
    struct ask ask = {.ids = ids, .count = 1 + (size_t)rand_r(&run->seed) % SHARED, .owner = run->owner, .wait_ms = -1};
    struct dss_grant grants[SHARED];
    double begin = test_seconds();
    int rc = lock_set(&run->handle, &ask, grants);

    if (rc != 0) {
        give_up(run, "dss_lockv", rc, begin);
        return;
    }
    be_inside(run, places, grants, ask.count);
    release(run, ids, grants, ask.count);
    atomic_fetch_add(&run->worker->grants, 1);
}

/* A lock that stays. */
static void keep_one(struct run *run)
{
    int kept = atomic_load(&run->worker->kept);
    char id[32];
    const char *ids[] = {id};
    struct ask ask = {.ids = ids, .count = 1, .owner = run->owner, .ttl_ms = kept % LEASE_EVERY == 0 ? LEASE_MS : 0};
    struct dss_grant grant;
    double begin = test_seconds();
    int rc;

    snprintf(id, sizeof(id), "kept.%d.%d", run->number, kept);
    rc = lock_set(&run->handle, &ask, &grant);
    if (rc == 0)
        run->worker->tokens[kept] = grant.token;
    else
        give_up(run, "dss_lockv of a lock to keep", rc, begin);
    atomic_store(&run->worker->kept, kept + 1);
}

static void work(void *arg)
{
    struct run run = {.worker = arg, .number = 1 + (int)((struct worker *)arg - scene->workers)};

    run.seed = (unsigned)run.number;
    snprintf(run.owner, sizeof(run.owner), "worker %d", run.number);
    CHECK_RC(dss_init_uri(&run.handle, scene->uri), 0);
    for (int round = 0; !atomic_load(&scene->stop); round++) {
        use_shared(&run);
        if (round % KEEP_EVERY == 0 && atomic_load(&run.worker->kept) < KEPT_MAX)
            keep_one(&run);
    }
    /* With contact again, nothing is left of what was given up. */
    CHECK_RC(dss_lock_status(&run.handle, "nothing", NULL, NULL), -ENOLCK);
    dss_fini(&run.handle);
}

/* ---- Their progress. ---- */

static long grants_of_all(void)
{
    long grants = 0;

    for (int i = 0; i < WORKERS; i++)
        grants += atomic_load(&scene->workers[i].grants);
    return grants;
}

/* Ends the test if a worker has ended, which it does by an error alone. */
static void check_workers(void)
{
    for (int i = 0; i < WORKERS; i++)
        CHECK(waitpid(scene->workers[i].process, NULL, WNOHANG) == 0);
}

static void rest(double seconds)
{
    struct timespec moment = {0, 5000000};
    double end = test_seconds() + seconds;

    while (test_seconds() < end) {
        check_workers();
        nanosleep(&moment, NULL);
    }
}

static void all_go_on(const char *after)
{
    double begin = test_seconds();
    long goals[WORKERS];

    for (int i = 0; i < WORKERS; i++)
        goals[i] = atomic_load(&scene->workers[i].grants) + MORE;
    for (int i = 0; i < WORKERS; i++) {
        while (atomic_load(&scene->workers[i].grants) < goals[i]) {
            if (test_seconds() > begin + PATIENCE_S)
                fprintf(stderr, "worker %d does not go on after: %s\n", i + 1, after);
            CHECK(test_seconds() <= begin + PATIENCE_S);
            rest(0.001);
        }
    }
    fprintf(stderr, "%s: all go on after %.2f s, %ld grants so far\n", after, test_seconds() - begin, grants_of_all());
}

static void start_all(void)
{
    for (int i = 0; i < WORKERS; i++)
        scene->workers[i].process = spawn(work, &scene->workers[i]);
    all_go_on("the start");
}

/* ---- What is there at the end. ---- */

struct tally {
    int found;
};

static int check_kept(const struct dss_lock_info *info, void *arg)
{
    struct tally *tally = arg;
    int number = 0, kept = -1;
    char owner[32];

    CHECK(sscanf(info->lock_id, "kept.%d.%d", &number, &kept) == 2);
    CHECK(number >= 1 && number <= WORKERS);
    CHECK(kept >= 0 && kept < atomic_load(&scene->workers[number - 1].kept));
    snprintf(owner, sizeof(owner), "worker %d", number);
    CHECK(strcmp(info->lock_owner, owner) == 0);
    CHECK(info->token == scene->workers[number - 1].tokens[kept]);
    tally->found++;
    return 0;
}

static void check_end(void)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "kept."};
    struct tally tally = {0};
    struct dss_handle handle;
    int acknowledged = 0;
    long given_up = 0;

    CHECK_RC(dss_init_uri(&handle, scene->uri), 0);
    CHECK_RC(dss_lock_list(&handle, &filter, check_kept, &tally), 0);
    for (int i = 0; i < WORKERS; i++) {
        given_up += atomic_load(&scene->workers[i].given_up);
        for (int kept = 0; kept < atomic_load(&scene->workers[i].kept); kept++)
            acknowledged += scene->workers[i].tokens[kept] != 0;
    }
    fprintf(stderr, "%ld grants; %d locks kept, %d found; %ld calls given up\n", grants_of_all(), acknowledged,
            tally.found, given_up);
    CHECK(acknowledged >= WORKERS && tally.found == acknowledged);
    for (int i = 0; i < SHARED; i++)
        test_check_owner(&handle, shared_ids[i], NULL);
    dss_fini(&handle);
}

static void stop_all(void)
{
    pid_t children[WORKERS];

    atomic_store(&scene->stop, 1);
    for (int i = 0; i < WORKERS; i++)
        children[i] = scene->workers[i].process;
    test_join_all(children, WORKERS);
    check_end();
}

/* ---- The servers. ---- */

static void postgres(int rounds)
{
    static const char *const ways[] = {"immediate", "kill", "fast"};

    start_all();
    for (int i = 0; i < rounds * (int)COUNT(ways); i++) {
        servers_do("postgres-stop", ways[i % COUNT(ways)]);
        servers_do("postgres-start", "");
        all_go_on(ways[i % COUNT(ways)]);
    }
    stop_all();
}

static const char *const nodes[] = {"n1", "n2", "n3"};

static void lose_one(const char *node)
{
    servers_do("etcd-kill", node);
    all_go_on("one of three is killed");
    servers_do("etcd-start", node);
    servers_do("etcd-wait", "");
    all_go_on("it is back");
}

static void lose_quorum(const char *one, const char *other)
{
    long granted;

    servers_do("etcd-kill", one);
    servers_do("etcd-kill", other);
    rest(LAST_ANSWERS_S);
    granted = grants_of_all();
    rest(NO_QUORUM_S);
    CHECK(grants_of_all() == granted);
    servers_do("etcd-start", one);
    servers_do("etcd-start", other);
    servers_do("etcd-wait", "");
    all_go_on("the quorum is back");
}

static void etcd(int rounds)
{
    start_all();
    for (int i = 0; i < rounds; i++) {
        for (size_t j = 0; j < COUNT(nodes); j++)
            lose_one(nodes[j]);
        lose_quorum(nodes[i % 3], nodes[(i + 1) % 3]);
    }
    stop_all();
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 1;
    char own[400], *uri;

    watchdog(HANGS_AFTER_S + 120 * (unsigned)rounds);
    servers_begin();
    scene = shared_memory(sizeof(*scene));
    servers_own("restarts", own, sizeof(own));
    uri = test_with_option(own, TIMEOUT);
    snprintf(scene->uri, sizeof(scene->uri), "%s", uri);
    free(uri);
    if (test_store_is("postgres"))
        postgres(rounds);
    else
        etcd(rounds);
    return 0;
}
