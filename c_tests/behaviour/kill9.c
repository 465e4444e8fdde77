/*
 * Proves: kill -9 at any moment costs nothing that was acknowledged. Two workers lock and unlock names and note each
 * answer in memory that outlives them; after they were killed every noted lock and unlock stands, the store opens
 * without help, and nothing that they left behind blocks anyone.
 *
 * The choices of a run follow from its seed, which is printed; $DSS_TEST_SEED repeats it.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "test.h"

#define WORKERS 2
#define NAMES 8
#define OWNER "worker"

/* What a worker was told. The name that it is about to change is noted before the call. */
struct notes {
    atomic_int held[NAMES];
    atomic_int lives[NAMES]; /* how often the name was changed for another */
    atomic_int pending; /* the name's index + 1, or 0 */
    atomic_int answers;
};

struct worker {
    pid_t pid;
    struct notes *notes;
};

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void choose_seed(void)
{
    const char *given = getenv("DSS_TEST_SEED");
    struct timespec now;

    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    random_state = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec ^ ((uint64_t)getpid() << 32);
    fprintf(stderr, "to repeat this run: DSS_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

/* Here time itself is the subject: the moment of the kill has to be anything. */
static void pause_up_to(unsigned int microseconds)
{
    struct timespec time = { 0, (long)(next_random() % microseconds) * 1000 };

    (void)nanosleep(&time, NULL);
}

static void id_of(char *id, size_t size, int worker, int name, const struct notes *notes)
{
    snprintf(id, size, "worker-%d-name-%d-%d", worker, name, atomic_load(&notes->lives[name]));
}

static void change_one(struct dss_handle *handle, int worker, struct notes *notes)
{
    int name = (int)(next_random() % NAMES), held = atomic_load(&notes->held[name]);
    char id[64];

    id_of(id, sizeof(id), worker, name, notes);
    atomic_store(&notes->pending, name + 1);
    if (held)
        CHECK_RC(dss_unlock(handle, id, OWNER), 0);
    else
        CHECK_RC(dss_lock(handle, id, OWNER), 0);
    atomic_store(&notes->held[name], !held);
    atomic_store(&notes->pending, 0);
    atomic_fetch_add(&notes->answers, 1);
}

/* Works until it is killed, and writes a byte when it has its first answer. */
static void run_worker(int worker, struct notes *notes, int ready)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    change_one(&handle, worker, notes);
    CHECK(write(ready, "", 1) == 1);
    for (;;)
        change_one(&handle, worker, notes);
}

static void start(struct worker *worker, int number, const int *ready)
{
    (void)next_random(); /* so that each worker makes choices of its own */
    worker->pid = fork();
    CHECK(worker->pid >= 0);
    if (worker->pid == 0) {
        CHECK(close(ready[0]) == 0);
        run_worker(number, worker->notes, ready[1]);
    }
}

/* Kills the worker, which must not have ended by itself: that would be a check of its own that failed. */
static void kill_now(struct worker *worker)
{
    int status;

    CHECK(kill(worker->pid, SIGKILL) == 0);
    CHECK(waitpid(worker->pid, &status, 0) == worker->pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/*
 * The change that had no answer yet is done or not, and on a file that is settled with the death of its process. To a server
 * it may still be on its way, and be done in a while: so that name is not used any more.
 */
static void settle(struct notes *notes, int name, int is_held)
{
    atomic_store(&notes->held[name], is_held);
    if (test_store_is_server()) {
        atomic_store(&notes->held[name], 0);
        atomic_fetch_add(&notes->lives[name], 1);
    }
}

/* Compares a worker's notes with the store, which may say either about the one change that had no answer yet. */
static void check_notes(struct dss_handle *handle, int worker, struct notes *notes)
{
    int pending = atomic_exchange(&notes->pending, 0) - 1, name, rc;
    char id[64];

    for (name = 0; name < NAMES; name++) {
        id_of(id, sizeof(id), worker, name, notes);
        rc = dss_lock_status(handle, id, NULL, NULL);
        CHECK(rc == 0 || rc == -ENOLCK);
        if (name == pending) {
            settle(notes, name, rc == 0);
            if (test_store_is_server())
                continue;
        }
        if (atomic_load(&notes->held[name]) != (rc == 0)) {
            fprintf(stderr, "%s was acknowledged as %s, but is not\n", id, rc == 0 ? "unlocked" : "locked");
            exit(1);
        }
        if (rc == 0)
            test_check_owner(handle, id, OWNER);
    }
}

static void check_nothing_blocks(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, "fresh", "parent"), 0);
    CHECK_RC(dss_lock_refresh(handle, "fresh", "parent"), 0);
    CHECK_RC(dss_unlock(handle, "fresh", "parent"), 0);
}

/*
 * One death of both workers. In every second cycle this process has the store open too, so that they die beside a
 * survivor; in the others nobody is left, and the next one to open a file has to recover it.
 */
static void cycle(struct worker *workers, int number)
{
    /* In some cycles nobody has an answer yet when the first dies, and the store is perhaps still being opened. */
    static const int answers_before_the_kill[] = { 0, 1, 1, 2 };
    int awaited = answers_before_the_kill[next_random() % 4], survivor = number % 2, ready[2], i;
    struct dss_handle handle;
    double since;
    char byte;

    CHECK(pipe(ready) == 0);
    for (i = 0; i < WORKERS; i++)
        start(&workers[i], i, ready);
    CHECK(close(ready[1]) == 0);
    if (survivor) {
        CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
        check_nothing_blocks(&handle);
    }
    for (; awaited > 0; awaited--)
        CHECK(read(ready[0], &byte, 1) == 1);
    pause_up_to(6000);
    kill_now(&workers[0]);
    pause_up_to(2000);
    kill_now(&workers[1]);
    CHECK(close(ready[0]) == 0);

    since = test_seconds();
    if (!survivor)
        CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (i = 0; i < WORKERS; i++)
        check_notes(&handle, i, workers[i].notes);
    check_nothing_blocks(&handle);
    CHECK(test_seconds() - since < test_repeat(5, 9));
    dss_fini(&handle);
}

int main(void)
{
    int cycles = test_amount(test_calls(test_repeat(500, 80), 150)), answers = 0, i;
    struct worker workers[WORKERS];
    struct notes *notes;

    choose_seed();
    (void)test_uri();
    notes = mmap(NULL, WORKERS * sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(notes != MAP_FAILED);
    for (i = 0; i < WORKERS; i++)
        workers[i].notes = &notes[i];
    for (i = 0; i < cycles; i++)
        cycle(workers, i);
    for (i = 0; i < WORKERS; i++)
        answers += atomic_load(&notes[i].answers);
    fprintf(stderr, "%d cycles, %d acknowledged calls\n", cycles, answers);
    CHECK(answers > cycles); /* else the workers died too early for this run to say anything */
    return 0;
}
