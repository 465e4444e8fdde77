/*
 * The processes that work on the store that is recorded.
 */
#include "power/work.h"

struct recording *record;
struct calls *calls;
char *folder;
uint64_t seed;

#define FIRST_PAGE 3 /* the write of it: after two of the journal */

static uint64_t random_state;

void begin_random(uint64_t from)
{
    random_state = from;
}

uint64_t random_below(uint64_t bound)
{
    random_state++;
    return mixed(random_state, bound) % bound;
}

struct worker {
    struct dss_handle handle;
    uint32_t number;
    uint64_t held[LOCKS]; /* the call that took it; CALLS: not held */
};

static void unlock(struct worker *worker, uint32_t lock, uint64_t taken, uint64_t token)
{
    struct call *call = call_begin(calls, CALL_NONE, lock, worker->number);
    char id[32], owner[32];
    const char *ids[] = { id };

    lock_name(id, sizeof(id), lock);
    snprintf(owner, sizeof(owner), "%llu", (unsigned long long)taken);
    call->other = taken;
    call->kind = CALL_UNLOCK;
    call_end(call, dss_unlockv(&worker->handle, ids, 1, owner, &token, NULL));
    CHECK(call->rc == 0 || call->rc == -ENOLCK);
}

static void lock(struct worker *worker, uint32_t lock)
{
    struct call *call = call_begin(calls, CALL_LOCK, lock, worker->number);
    struct dss_grant grant;
    char id[32], owner[32];
    const char *ids[] = { id };
    int rc;

    lock_name(id, sizeof(id), lock);
    snprintf(owner, sizeof(owner), "%lld", (long long)(call - calls->call));
    rc = dss_lockv(&worker->handle, ids, 1, owner, NULL, &grant);
    CHECK(rc == 0 || rc == -EEXIST);
    call->token = grant.token;
    call_end(call, rc);
    if (rc == 0)
        worker->held[lock] = (uint64_t)(call - calls->call);
}

static void set(struct worker *worker, uint32_t key)
{
    struct call *call = call_begin(calls, CALL_SET, key, worker->number);
    unsigned char value[LONGEST_VALUE];
    uint64_t version = 0;
    char name[32];
    int rc;

    key_name(name, sizeof(name), key);
    call->length = 8 + random_below(random_below(4) == 0 ? LONGEST_VALUE - 8 : 100);
    fill_value(value, call->length, (uint64_t)(call - calls->call));
    rc = dss_set(&worker->handle, name, value, call->length, NULL, &version);
    CHECK_RC(rc, 0);
    call->token = version;
    call_end(call, rc);
}

static void get(struct worker *worker, uint32_t key)
{
    struct call *call = call_begin(calls, CALL_GET, key, worker->number);
    void *value = NULL;
    size_t length = 0;
    uint64_t version = 0;
    char name[32];
    int rc;

    key_name(name, sizeof(name), key);
    rc = dss_get(&worker->handle, name, &value, &length, &version);
    CHECK_RC_OR(rc, 0, -ENOENT);
    if (rc == 0) {
        call->token = version;
        call->other = writer_of(value, length);
        CHECK(call->other < CALLS);
    }
    free(value);
    call_end(call, rc);
}

static int note_lock(const struct dss_lock_info *info, void *arg)
{
    struct found *found = arg;
    unsigned lock;

    CHECK(sscanf(info->lock_id, "drive %u", &lock) == 1 && lock < LOCKS);
    found->call[lock] = strtoull(info->lock_owner, NULL, 10);
    found->token[lock] = info->token;
    CHECK(found->call[lock] < CALLS);
    return 0;
}

struct found find_locks(struct dss_handle *handle)
{
    struct found found;

    for (uint32_t lock = 0; lock < LOCKS; lock++)
        found.call[lock] = CALLS, found.token[lock] = 0;
    CHECK_RC(dss_lock_list(handle, NULL, note_lock, &found), 0);
    return found;
}

/* Looks at all there is, and unlocks what this worker held in a former life. */
static void look_around(struct worker *worker)
{
    struct call *seen[LOCKS];
    struct found found;

    for (uint32_t key = 0; key < KEYS; key++)
        get(worker, key);
    for (uint32_t lock = 0; lock < LOCKS; lock++)
        seen[lock] = call_begin(calls, CALL_SEEN, lock, worker->number);
    found = find_locks(&worker->handle);
    for (uint32_t lock = 0; lock < LOCKS; lock++) {
        seen[lock]->other = found.call[lock];
        seen[lock]->token = found.token[lock];
        call_end(seen[lock], found.call[lock] == CALLS ? -ENOLCK : 0);
    }
    for (uint32_t lock = 0; lock < LOCKS; lock++) {
        if (found.call[lock] != CALLS && calls->call[found.call[lock]].worker == worker->number)
            unlock(worker, lock, found.call[lock], found.token[lock]);
    }
}

static void call_something(struct worker *worker)
{
    uint32_t name = (uint32_t)random_below(LOCKS);
    uint64_t what = random_below(100);

    if (what >= 85) {
        get(worker, name % KEYS);
    } else if (what >= 60) {
        set(worker, name % KEYS);
    } else if (worker->held[name] == CALLS) {
        lock(worker, name);
    } else {
        unlock(worker, name, worker->held[name], calls->call[worker->held[name]].token);
        worker->held[name] = CALLS;
    }
}

/* Anywhere, or where a store is made or opened, or when something was written and not flushed. */
static void choose_end(const struct run *run, int life)
{
    if (run->half_made && life == 0) {
        recorder_die_after_operation(OP_WRITE, FIRST_PAGE);
        return;
    }
    if (run->half_made && life == 1) {
        recorder_die_after_operation(OP_TRUNCATE, 1);
        return;
    }
    switch (random_below(4)) {
    case 0:
        recorder_die_after(1 + (int)random_below(20));
        break;
    case 1:
        recorder_die_after_operation(OP_WRITE, 1 + (int)random_below((uint64_t)run->calls));
        break;
    default:
        recorder_die_after(1 + (int)random_below(2 * (uint64_t)run->calls));
    }
}

static void live(const struct run *run, uint32_t number, int life)
{
    struct worker worker = { .number = number };
    char uri[512];

    begin_random(mixed(mixed(seed, number), (uint64_t)life));
    snprintf(uri, sizeof(uri), "sqlite:%s/dss.db", folder);
    for (uint32_t i = 0; i < LOCKS; i++)
        worker.held[i] = CALLS;
    if (life + 1 < run->lives)
        choose_end(run, life);
    CHECK_RC(dss_init_uri(&worker.handle, uri), 0);
    look_around(&worker);
    for (int i = 0; i < run->calls; i++) {
        if (random_below(50) == 0) {
            dss_fini(&worker.handle);
            CHECK_RC(dss_init_uri(&worker.handle, uri), 0);
        }
        call_something(&worker);
    }
    dss_fini(&worker.handle);
}

/* A worker's lives, one after the other. */
static void work(const struct run *run, uint32_t number)
{
    for (int life = 0; life < run->lives; life++) {
        pid_t child = fork();
        int status = -1;

        CHECK(child >= 0);
        if (child == 0) {
            live(run, number, life);
            exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            calls->killed++;
        else
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(memory != MAP_FAILED);
    return memory;
}

void run_workers(const struct run *run)
{
    pid_t worker[8];

    calls = shared_memory(sizeof(*calls));
    record = recorder_begin(folder);
    for (uint32_t i = 0; i < run->workers; i++) {
        worker[i] = fork();
        CHECK(worker[i] >= 0);
        if (worker[i] == 0) {
            work(run, i);
            exit(0);
        }
    }
    test_join_all(worker, run->workers);
    recorder_stop();
    check_record(record);
}
