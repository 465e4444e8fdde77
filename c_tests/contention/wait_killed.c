/*
 * Proves: waiters that are killed with -9 hold nothing and block nobody. At whatever moment it happens, whoever goes
 * on waiting gets the lock promptly after the unlock; one who was killed with the lock just granted has it, as any
 * holder who dies has, and when it is forced the next one gets it promptly. And the queue does not clog: with 600 dead
 * waiters in it, waiting works and is prompt, for the lock that they waited for and for others.
 *
 * Prompt is 50 ms; on a server, which does not know at once who has died, it is the time after which each waiter looks by
 * itself.
 */
#include "contention.h"

#define ROUNDS test_calls(60, 24)
#define VICTIMS 3
#define DEAD_PROCESSES 30
#define THREADS 20 /* of each of these */
#define ROUNDS_AFTER test_calls(40, 16)
#define PROMPT_S (test_store_is_server() ? RECHECK_S : 0.050)
#define RECHECK_S 0.250
#define NEVER_MORE_S 1.5 /* about a second, and what a busy machine adds */

struct survivor {
    struct line go, done;
    pid_t process;
    const char *lock_id;
};

static _Atomic double *got; /* when the survivor had its lock, in test_seconds() */

static void survive(void *arg)
{
    struct survivor *survivor = arg;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    while (hear(&survivor->go)) {
        CHECK_RC(lock_waiting(&handle, survivor->lock_id, "survivor", -1, NULL), 0);
        atomic_store(got, test_seconds());
        CHECK_RC(dss_unlock(&handle, survivor->lock_id, "survivor"), 0);
        tell(&survivor->done, 0);
    }
    dss_fini(&handle);
}

static void start(struct survivor *survivor, const char *lock_id)
{
    survivor->lock_id = lock_id;
    line_make(&survivor->go);
    line_make(&survivor->done);
    survivor->process = spawn(survive, survivor);
}

static void finish(struct survivor *survivor)
{
    tell(&survivor->go, 0);
    test_join(survivor->process);
}

static void kill_now(pid_t process)
{
    int status;

    CHECK(kill(process, SIGKILL) == 0);
    CHECK(waitpid(process, &status, 0) == process);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- Waiters that are killed at any moment. ---- */

static void be_victim(void *arg)
{
    struct line *ready = arg;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    tell(ready, 0);
    CHECK_RC(lock_waiting(&handle, "drive", "victim", -1, NULL), 0);
    pause(); /* it has the lock, and keeps it */
}

/* The victims come before the survivor, so that it is they who are to be woken, or after it. */
static void fill_the_line(struct survivor *survivor, pid_t *victims, struct line *ready, int victims_first)
{
    if (!victims_first) {
        tell(&survivor->go, 1);
        wait_until_waiting(survivor->process, survivor->process);
    }
    for (int i = 0; i < VICTIMS; i++)
        victims[i] = spawn(be_victim, ready);
    for (int i = 0; i < VICTIMS; i++)
        (void)hear(ready);
    if (victims_first)
        tell(&survivor->go, 1);
}

static double release(struct dss_handle *handle)
{
    double begin = test_seconds();

    CHECK_RC(dss_unlock(handle, "drive", "holder"), 0);
    return begin;
}

/* They are dead when the lock is released. */
static double kill_before(struct dss_handle *handle, struct survivor *survivor, const pid_t *victims, unsigned *seed)
{
    for (int i = 0; i < VICTIMS; i++) {
        pause_at_random(seed, 1500);
        kill_now(victims[i]);
    }
    wait_until_waiting(survivor->process, survivor->process);
    return release(handle);
}

/* They die just when the lock is released: woken or not, and perhaps with the lock. */
static double kill_meanwhile(struct dss_handle *handle, struct survivor *survivor, const pid_t *victims, unsigned *seed)
{
    char *owner = NULL;
    double begin;
    int rc;

    wait_until_waiting(survivor->process, survivor->process);
    pause_at_random(seed, 3000);
    begin = release(handle);
    pause_at_random(seed, 300);
    for (int i = 0; i < VICTIMS; i++)
        kill_now(victims[i]);
    rc = dss_lock_status(handle, "drive", &owner, NULL);
    CHECK(rc == 0 || rc == -ENOLCK);
    if (rc == 0 && strcmp(owner, "victim") == 0) {
        begin = test_seconds();
        CHECK_RC(dss_unlock(handle, "drive", NULL), 0);
    }
    free(owner);
    return begin;
}

/*
 * What a dead waiter has asked may still be on its way to a server, and give it the lock later. It is forced then, as
 * somebody would do with any lock of the dead.
 */
static double force_what_came_late(struct dss_handle *handle, struct survivor *survivor, double begin)
{
    struct pollfd end = {.fd = survivor->done.ends[0], .events = POLLIN};

    while (poll(&end, 1, 20) == 0) {
        char *owner = NULL;

        if (dss_lock_status(handle, "drive", &owner, NULL) == 0 && strcmp(owner, "victim") == 0) {
            begin = test_seconds();
            CHECK_RC(dss_unlock(handle, "drive", NULL), 0);
        }
        free(owner);
    }
    return begin;
}

static void killed_at_random(struct dss_handle *handle)
{
    struct figures dead_before = {.count = 0}, dying = {.count = 0};
    struct survivor survivor;
    struct line ready;
    unsigned seed = (unsigned)getpid();

    line_make(&ready);
    start(&survivor, "drive");
    for (int round = 0; round < ROUNDS; round++) {
        int before = round % 2 == 0;
        pid_t victims[VICTIMS];
        double begin;

        CHECK_RC(dss_lock(handle, "drive", "holder"), 0);
        fill_the_line(&survivor, victims, &ready, round % 3 != 0);
        begin = (before ? kill_before : kill_meanwhile)(handle, &survivor, victims, &seed);
        if (test_store_is_server())
            begin = force_what_came_late(handle, &survivor, begin);
        CHECK(hear(&survivor.done) == 0);
        add_figure(before ? &dead_before : &dying, atomic_load(got) - begin);
        test_check_owner(handle, "drive", NULL);
    }
    finish(&survivor);
    show_ms("with dead waiters in line", &dead_before);
    show_ms("with waiters that die meanwhile", &dying);
    CHECK(figure_at(&dead_before, 0.5) < PROMPT_S);
    CHECK(figure_at(&dead_before, 1) < NEVER_MORE_S);
    /* One that died awake took the wake-up with it, so the next one looks by itself. */
    CHECK(figure_at(&dying, 0.5) < RECHECK_S);
    CHECK(figure_at(&dying, 1) < NEVER_MORE_S);
}

/* ---- Many dead waiters. ---- */

struct crowd {
    _Atomic int begun;
    pid_t threads[THREADS];
};

static struct crowd *crowd;
static struct dss_handle handle_of_crowd;

static void *wait_in_the_crowd(void *arg)
{
    (void)arg;
    crowd->threads[atomic_fetch_add(&crowd->begun, 1)] = own_thread();
    CHECK_RC(lock_waiting(&handle_of_crowd, "crowded", "victim", -1, NULL), 0);
    return NULL;
}

static void be_crowd(void *arg)
{
    pthread_t threads[THREADS];

    (void)arg;
    CHECK_RC(dss_init_uri(&handle_of_crowd, test_uri()), 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start_thread(wait_in_the_crowd, NULL);
    join_thread(threads[0]);
}

static void kill_a_crowd(void)
{
    struct timespec moment = {0, 100000};
    pid_t process;

    memset(crowd, 0, sizeof(*crowd));
    process = spawn(be_crowd, NULL);
    for (int i = 0; i < THREADS; i++) {
        while (atomic_load(&crowd->begun) <= i || crowd->threads[i] == 0)
            nanosleep(&moment, NULL);
        wait_until_waiting(process, crowd->threads[i]);
    }
    kill_now(process);
}

static void measure(struct dss_handle *handle, const char *lock_id, int rounds, struct figures *latencies)
{
    struct survivor survivor;

    start(&survivor, lock_id);
    for (int round = 0; round < rounds; round++) {
        double begin;
        int rc = dss_lock(handle, lock_id, "holder");

        CHECK(rc == 0 || (round == 0 && rc == -EEXIST)); /* it may be held already */
        tell(&survivor.go, 1);
        wait_until_waiting(survivor.process, survivor.process);
        begin = test_seconds();
        CHECK_RC(dss_unlock(handle, lock_id, "holder"), 0);
        CHECK(hear(&survivor.done) == 0);
        add_figure(latencies, atomic_load(got) - begin);
    }
    finish(&survivor);
}

static void many_dead(struct dss_handle *handle)
{
    struct figures of_others = {.count = 0}, of_theirs = {.count = 0};

    crowd = shared_memory(sizeof(*crowd));
    CHECK_RC(dss_lock(handle, "crowded", "holder"), 0);
    for (int i = 0; i < DEAD_PROCESSES; i++)
        kill_a_crowd();
    measure(handle, "drive", ROUNDS_AFTER, &of_others);
    show_ms("for another lock, after 600 dead waiters", &of_others);
    measure(handle, "crowded", ROUNDS_AFTER, &of_theirs);
    show_ms("for the lock of 600 dead waiters", &of_theirs);
    CHECK(figure_at(&of_others, 0.5) < PROMPT_S);
    CHECK(figure_at(&of_others, 1) < NEVER_MORE_S);
    CHECK(figure_at(&of_theirs, 0.5) < PROMPT_S);
    CHECK(figure_at(&of_theirs, 1) < NEVER_MORE_S);
}

int main(void)
{
    struct dss_handle handle;

    watchdog(110);
    use_files_in_memory();
    got = shared_memory(sizeof(*got));
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    killed_at_random(&handle);
    many_dead(&handle);
    dss_fini(&handle);
    return 0;
}
