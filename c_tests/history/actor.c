/*
 * What one thread does for a history: random calls, each of which is recorded before it is made and after it has returned.
 */
#include "actor.h"

struct records *records;
const char *store_uri;

/* ---- Recording ---- */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int is_over(void)
{
    int is_full = records->ring == 0 && atomic_load(&records->taken) + 2 * MOST * MOST > PLACES;

    return is_full || atomic_load(&records->stop);
}

/* Notes what is about to be asked. */
static struct record *begin(struct record asked)
{
    uint64_t taken = atomic_fetch_add(&records->taken, 1), place = records->ring == 0 ? taken : taken % records->ring;
    struct record *record = &records->all[place];

    CHECK(place < PLACES);
    asked.called_ns = now_ns();
    atomic_init(&asked.stage, 0);
    *record = asked;
    atomic_store(&record->stage, CALLED);
    return record;
}

/* What a call fails with when the store's files were harmed: it is to be opened anew. */
static int is_moved(int rc)
{
    return records->moves && (rc == -EIDRM || rc == -EUCLEAN);
}

/* Notes the answer. */
static int end(struct actor *actor, struct record *record, int rc, uint64_t returned_ns)
{
    if (rc == -ENOTRECOVERABLE) /* a defect contained: what it was is known here alone */
        fprintf(stderr, "call %u of name %u: %s\n", record->kind, record->name, dss_last_error());
    actor->is_moved |= is_moved(rc);
    record->rc = rc;
    record->returned_ns = returned_ns;
    atomic_store(&record->stage, RETURNED);
    return rc;
}

/* ---- What a thread knows, and its calls ---- */

static const char *const lock_ids[LOCKS] = {"lock 0", "lock 1", "lock 2"};
static const char *const keys[KEYS] = {"key 0", "key 1"};

static unsigned chance(struct actor *actor, unsigned of)
{
    return (unsigned)rand_r(&actor->seed) % of;
}

static const char *owner_name(char name[32], uint64_t owner)
{
    snprintf(name, 32, "%llu", (unsigned long long)owner);
    return owner == 0 ? NULL : name;
}

static void is_held(struct actor *actor, unsigned lock, uint64_t owner, uint64_t token, uint64_t ttl_ms)
{
    actor->holds[lock] = owner;
    actor->expires[lock] = ttl_ms != 0;
    if (token != 0)
        actor->tokens[lock] = token;
}

static void lock_plainly(struct actor *actor, unsigned lock)
{
    char name[32];
    struct record *record = begin((struct record){.kind = LOCK, .name = lock, .owner = actor->owner});
    int rc = dss_lock(actor->handle, lock_ids[lock], owner_name(name, actor->owner));

    if (end(actor, record, rc, now_ns()) == 0)
        is_held(actor, lock, actor->owner, 0, 0);
}

/* Takes this lock, or this and the next one, with a lease or without, and waits a little or not at all. */
static void lock_some(struct actor *actor, unsigned lock, unsigned count, int64_t wait_ms)
{
    uint64_t ttl_ms = chance(actor, 3) == 0 ? TTL_MS : 0;
    char name[32];
    const char *ids[2];
    unsigned numbers[2];
    struct record *noted[2];
    struct dss_grant grants[2];
    struct ask ask = {.ids = ids, .count = count, .owner = owner_name(name, actor->owner), .ttl_ms = ttl_ms,
                      .wait_ms = wait_ms};
    uint64_t returned_ns;
    int rc;

    for (unsigned i = 0; i < count; i++) {
        numbers[i] = (lock + i) % LOCKS;
        ids[i] = lock_ids[numbers[i]];
        noted[i] = begin((struct record){.kind = LOCK, .name = numbers[i], .owner = actor->owner, .ttl_ms = ttl_ms});
    }
    rc = lock_set(actor->handle, &ask, grants);
    returned_ns = now_ns();
    for (unsigned i = 0; i < count; i++) {
        noted[i]->number = rc == 0 ? grants[i].token : 0;
        /* Who waited was told what is in the way at its end, which is no moment of the call that it can choose. */
        end(actor, noted[i], rc == -ETIMEDOUT ? rc : grants[i].rc, returned_ns);
        if (rc == 0)
            is_held(actor, numbers[i], actor->owner, grants[i].token, ttl_ms);
    }
}

static void unlock(struct actor *actor, unsigned lock, uint64_t owner, uint64_t token)
{
    char name[32];
    struct record *record =
        begin((struct record){.kind = UNLOCK, .name = lock, .owner = owner, .token = token});
    int rc = token == 0 ? dss_unlock(actor->handle, lock_ids[lock], owner_name(name, owner))
                        : dss_unlockv(actor->handle, &lock_ids[lock], 1, owner_name(name, owner), &token, NULL);

    if (end(actor, record, rc, now_ns()) == 0 && owner == actor->holds[lock])
        actor->holds[lock] = 0;
}

static void refresh(struct actor *actor, unsigned lock, uint64_t owner, uint64_t token)
{
    char name[32];
    struct record *record =
        begin((struct record){.kind = REFRESH, .name = lock, .owner = owner, .token = token});
    int rc = dss_lock_refreshv(actor->handle, &lock_ids[lock], 1, owner_name(name, owner), &token, NULL);

    end(actor, record, rc, now_ns());
}

/* Gives a lock to the thread's own other name, so that somebody goes on to hold it. */
static void transfer(struct actor *actor, unsigned lock, uint64_t from, uint64_t token)
{
    char from_name[32], to_name[32];
    uint64_t heir = from == actor->owner ? actor->owner + 1 : actor->owner;
    struct record *record =
        begin((struct record){.kind = TRANSFER, .name = lock, .owner = from, .heir = heir, .token = token});
    struct dss_grant grant = {.token = 0};
    int rc = dss_lock_transfer(actor->handle, lock_ids[lock], owner_name(from_name, from), token,
                               owner_name(to_name, heir), &grant);

    record->number = grant.token;
    if (end(actor, record, rc, now_ns()) == 0)
        is_held(actor, lock, heir, grant.token, 0);
}

static void status(struct actor *actor, unsigned lock)
{
    struct record *record = begin((struct record){.kind = STATUS, .name = lock});
    char *holder = NULL;
    int rc = dss_lock_status(actor->handle, lock_ids[lock], &holder, NULL);

    record->holder = holder != NULL ? strtoull(holder, NULL, 10) : 0;
    end(actor, record, rc, now_ns());
    free(holder);
}

static void get(struct actor *actor, unsigned key)
{
    struct record *record = begin((struct record){.kind = GET, .name = LOCKS + key});
    void *value = NULL;
    size_t len = 0;
    int rc = dss_get(actor->handle, keys[key], &value, &len, &record->number);
    uint64_t returned_ns = now_ns();

    CHECK(rc != 0 || len == sizeof(record->value));
    if (rc == 0)
        memcpy(&record->value, value, sizeof(record->value));
    actor->versions[key] = record->number;
    end(actor, record, rc, returned_ns);
    free(value);
}

/* Writes a value that nobody else ever writes, or deletes; guarded by the version seen last, or by a lock. */
static void set(struct actor *actor, unsigned key, unsigned flags, unsigned lock)
{
    int deletes = chance(actor, 8) == 0;
    uint64_t value = actor->owner << 32 | ++actor->writes;
    struct dss_guard guard = {.size = sizeof(guard), .flags = flags, .version = actor->versions[key],
                              .lock_id = lock_ids[lock], .token = actor->tokens[lock]};
    struct record *record = begin((struct record){.kind = deletes ? DELETE : SET, .name = LOCKS + key, .value = value,
                                                  .guard = flags & DSS_GUARD_VERSION ? guard.version + 1 : 0,
                                                  .fence = flags & DSS_GUARD_LOCK ? lock + 1 : 0,
                                                  .token = flags & DSS_GUARD_LOCK ? guard.token : 0});
    uint64_t version = 0;
    int rc = dss_set(actor->handle, keys[key], deletes ? NULL : &value, deletes ? 0 : sizeof(value), &guard, &version);

    record->number = version;
    if (end(actor, record, rc, now_ns()) == 0 || rc == -EAGAIN)
        actor->versions[key] = version;
}

/* ---- What a thread does ---- */

/* Locks are ended by force so rarely that most leases of the dead run out before. */
#define RARELY 300

static void use_lock(struct actor *actor, unsigned lock)
{
    uint64_t owner = actor->holds[lock], token = chance(actor, 2) ? actor->tokens[lock] : 0;
    unsigned way = chance(actor, 100);

    if (actor->expires[lock] && chance(actor, 8) == 0)
        actor->holds[lock] = 0; /* its lease will end it */
    else if (way < 50)
        unlock(actor, lock, owner, token);
    else if (way < 60)
        refresh(actor, lock, owner, token);
    else if (way < 75)
        transfer(actor, lock, owner, token);
    else if (way < 95 && actor->tokens[lock] != 0)
        set(actor, chance(actor, KEYS), DSS_GUARD_LOCK, lock);
    else
        lock_plainly(actor, lock);
}

static void want_lock(struct actor *actor, unsigned lock)
{
    unsigned way = chance(actor, 100);

    if (way < 30)
        lock_plainly(actor, lock);
    else if (way < 60)
        lock_some(actor, lock, 1, 0);
    else if (way < 70)
        lock_some(actor, lock, 1, 5);
    else if (way < 80)
        lock_some(actor, lock, 2, 0);
    else if (way < 84)
        lock_some(actor, lock, 2, 5);
    else if (way < 90 && chance(actor, RARELY) == 0)
        (way < 87 ? unlock : transfer)(actor, lock, 0, 0);
    else if (way < 94)
        unlock(actor, lock, actor->owner, actor->tokens[lock]);
    else if (way < 97 && actor->tokens[lock] != 0)
        set(actor, chance(actor, KEYS), DSS_GUARD_LOCK, lock);
    else
        refresh(actor, lock, actor->owner, actor->tokens[lock]);
}

static void one_call(struct actor *actor)
{
    unsigned way = chance(actor, 100), lock = chance(actor, LOCKS), key = chance(actor, KEYS);

    if (way < 65)
        (actor->holds[lock] != 0 ? use_lock : want_lock)(actor, lock);
    else if (way < 75)
        status(actor, lock);
    else if (way < 85)
        get(actor, key);
    else
        set(actor, key, chance(actor, 2) ? DSS_GUARD_VERSION : 0, 0);
}

static int may_be_opened_soon(int rc)
{
    return rc == -ENOTCONN || rc == -EINPROGRESS || rc == -EBUSY || rc == -EIO || rc == -ENOSPC || is_moved(rc);
}

int open_store(struct dss_handle *handle, unsigned seed)
{
    struct timespec moment = {0, 1000000};
    char *uri = test_with_option(store_uri, seed % 2 ? HASTY : PATIENT);
    double begin = test_seconds();
    int rc;

    while ((rc = dss_init_uri(handle, uri)) != 0) {
        int is_refused = records->loses && rc == -EUCLEAN;

        if (is_refused)
            atomic_store(&records->refused, 1);
        if (is_refused && is_over())
            break;
        if (!is_refused && (!may_be_opened_soon(rc) || test_seconds() - begin > HANGS_AFTER_S / 2))
            CHECK_RC(rc, 0);
        nanosleep(&moment, NULL);
    }
    free(uri);
    return rc == 0;
}

static int open_anew(struct actor *actor)
{
    dss_fini(actor->handle);
    actor->is_moved = 0;
    return open_store(actor->handle, actor->seed);
}

void *act(void *arg)
{
    struct actor *actor = arg;

    while (!is_over()) {
        one_call(actor);
        if (records->rest_us != 0)
            nanosleep(&(struct timespec){0, (long)records->rest_us * 1000}, NULL);
        if (actor->is_moved || (actor->handle == &actor->own && chance(actor, 200) == 0))
            open_anew(actor);
    }
    return NULL;
}

void take_and_look(struct actor *actor, void (*others)(unsigned *seed))
{
    unsigned lock = chance(actor, LOCKS);

    for (int tries = 0; tries < 50 && actor->holds[lock] == 0; tries++) {
        lock = chance(actor, LOCKS);
        lock_plainly(actor, lock);
        if (actor->is_moved)
            open_anew(actor);
    }
    if (chance(actor, 2)) /* it leaves before others have noticed */
        open_anew(actor);
    others(&actor->seed);
    status(actor, lock);
    if (actor->holds[lock] == 0)
        return;
    do {
        if (actor->is_moved)
            open_anew(actor);
        unlock(actor, lock, actor->holds[lock], 0);
    } while (actor->is_moved && !is_over());
}

void look_at_all(struct actor *actor)
{
    if (records->moves && !open_anew(actor))
        return;
    for (unsigned i = 0; i < LOCKS; i++)
        status(actor, i);
    for (unsigned i = 0; i < KEYS; i++)
        get(actor, i);
}
