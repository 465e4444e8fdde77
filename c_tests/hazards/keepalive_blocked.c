/*
 * A store can't be written while locks in it are kept: another program holds SQLite's write lock.
 *
 * The holder has to learn of it in time: at two thirds of the lease that it is at risk, then that all is well again,
 * or at the lease's end, not later, that the lock is lost. And one store that is stuck must not hold up the renewals
 * of another: one thread does them all. The stuck stores are opened before and after the one that works.
 */
#include "host_sqlite.h"

#define TTL_MS 3000
/* How late an event may come on a machine that is busy. */
#define LATE_MS 700
/* Renewed at a third of its lease, a lock never has less than two thirds left, but for what a busy machine takes. */
#define LEAST_LEFT_MS (TTL_MS / 2)

#define STUCK 2

/* A store with one kept lock. */
struct store {
    char *path, *uri;
    struct dss_handle handle;
    uint64_t token;
    int64_t deadline_ms; /* when the lease ends that can't be renewed */
};

static int64_t boot_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The other program. ---- */

enum word { HOLD = 1, RELEASE, END };

struct other {
    struct line ask, answer;
    const char *paths[STUCK];
};

static void other_program(void *arg)
{
    struct other *lines = arg;
    sqlite3 *db[STUCK] = {NULL};
    int word;

    while ((word = hear(&lines->ask)) != END) {
        for (int i = 0; i < STUCK; i++) {
            if (db[i] == NULL)
                db[i] = host_open(lines->paths[i]);
            sql(db[i], word == HOLD ? "BEGIN IMMEDIATE" : "ROLLBACK");
        }
        tell(&lines->answer, word);
    }
    for (int i = 0; i < STUCK; i++)
        sqlite3_close(db[i]);
}

static void ask(struct other *lines, int word)
{
    tell(&lines->ask, word);
    CHECK(hear(&lines->answer) == word);
}

/* ---- Kept locks. ---- */

static void open_store(struct store *store, const char *name)
{
    store->path = test_path(name);
    store->uri = sqlite_uri(store->path, "");
    CHECK_RC(dss_init_uri(&store->handle, store->uri), 0);
}

static void close_store(struct store *store)
{
    dss_fini(&store->handle);
    free(store->path);
    free(store->uri);
}

static void keep(struct store *store)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    const char *ids[] = {"drive"};
    struct dss_grant grant;

    CHECK_RC(dss_lockv(&store->handle, ids, 1, "ann", &opts, &grant), 0);
    store->token = grant.token;
}

/* Nothing can be renewed from now on, so what is left says when the lease will be over. */
static void note_deadline(struct store *store)
{
    int64_t left_ms;

    CHECK_RC(dss_lock_left(&store->handle, "drive", store->token, &left_ms), 0);
    store->deadline_ms = boot_ms() + left_ms;
}

/* The answer follows the deadline to the millisecond, whether the loss was told or not. */
static void check_left(struct store *store)
{
    int64_t begun_ms = boot_ms(), left_ms = -1;
    int rc = dss_lock_left(&store->handle, "drive", store->token, &left_ms);

    if (rc == 0) {
        CHECK(begun_ms <= store->deadline_ms + 2);
        CHECK(left_ms > 0 && left_ms <= store->deadline_ms - begun_ms + 3);
    } else {
        CHECK_RC(rc, -ENOLCK);
        CHECK(left_ms == 0 && boot_ms() >= store->deadline_ms - 3);
    }
}

static void check_free_store_is_renewed(struct store *store)
{
    int64_t left_ms;

    CHECK_RC(dss_event_next(&store->handle, NULL), 0);
    CHECK_RC(dss_lock_left(&store->handle, "drive", store->token, &left_ms), 0);
    if (left_ms < LEAST_LEFT_MS)
        fprintf(stderr, "the lock in the store that works has %lld of %d ms left\n", (long long)left_ms, TTL_MS);
    CHECK(left_ms >= LEAST_LEFT_MS);
}

/* Waits for the stuck store's next event, and keeps an eye on all else meanwhile. */
static struct dss_event next_event(struct store *stuck, struct store *works)
{
    struct pollfd end = {.fd = dss_event_fd(&stuck->handle), .events = POLLIN};
    double begin = test_seconds();
    struct dss_event event;

    CHECK(end.fd >= 0);
    while (poll(&end, 1, 5) == 0) {
        check_free_store_is_renewed(works);
        check_left(stuck);
        CHECK(test_seconds() - begin < 20);
    }
    CHECK_RC(dss_event_next(&stuck->handle, &event), 1);
    CHECK(event.token == stuck->token && strcmp(event.lock_id, "drive") == 0);
    return event;
}

static void check_at_risk(struct store *stuck, struct store *works)
{
    struct dss_event event = next_event(stuck, works);
    int64_t now_ms = boot_ms(), due_ms = stuck->deadline_ms - TTL_MS / 3;

    CHECK(event.type == DSS_EVENT_AT_RISK && event.reason == 0);
    CHECK(now_ms >= due_ms - 3 && now_ms <= due_ms + LATE_MS);
    CHECK(event.left_ms <= TTL_MS / 3 + 1 && event.left_ms > TTL_MS / 3 - LATE_MS);
    CHECK_RC(dss_lock_left(&stuck->handle, "drive", stuck->token, NULL), 0);
}

static void check_safe(struct store *stuck, struct store *works)
{
    struct dss_event event;
    int64_t released_ms = boot_ms();

    stuck->deadline_ms += 10 * TTL_MS; /* not known any more */
    event = next_event(stuck, works);
    CHECK(event.type == DSS_EVENT_SAFE && event.reason == 0);
    CHECK(boot_ms() <= released_ms + LATE_MS);
    CHECK(event.left_ms > TTL_MS - LATE_MS && event.left_ms <= TTL_MS);
}

static void check_lost(struct store *stuck, struct store *works)
{
    struct dss_event event = next_event(stuck, works);
    int64_t now_ms = boot_ms();

    CHECK(event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_EXPIRED && event.left_ms == 0);
    CHECK(now_ms >= stuck->deadline_ms - 3 && now_ms <= stuck->deadline_ms + LATE_MS);
    CHECK_RC(dss_lock_left(&stuck->handle, "drive", stuck->token, NULL), -ENOLCK);
}

/*
 * Lost is lost: nothing revives the lock, and nothing more is told of it. (The store counts a lease from a little
 * later than its holder does, so the next one may have to wait.)
 */
static void check_stays_lost(struct store *stuck)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = 10000};
    const char *ids[] = {"drive"};
    struct dss_grant grant;

    CHECK_RC(dss_lockv(&stuck->handle, ids, 1, "bob", &opts, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD && grant.token > stuck->token);
    CHECK_RC(dss_lock_refresh(&stuck->handle, "drive", "ann"), -EACCES);
    CHECK_RC(dss_lock_left(&stuck->handle, "drive", stuck->token, NULL), -ENOLCK);
    CHECK_RC(dss_event_next(&stuck->handle, NULL), 0);
}

static void check_each(struct store *stuck, struct store *works, void (*check)(struct store *, struct store *))
{
    for (int i = 0; i < STUCK; i++)
        check(&stuck[i], works);
}

static void hold(struct other *lines, struct store *stuck)
{
    ask(lines, HOLD);
    for (int i = 0; i < STUCK; i++)
        note_deadline(&stuck[i]);
}

int main(void)
{
    struct store stuck[STUCK], works;
    struct other lines;
    pid_t other;

    line_make(&lines.ask);
    line_make(&lines.answer);
    open_store(&stuck[0], "first.db");
    open_store(&works, "works.db");
    open_store(&stuck[1], "last.db");
    for (int i = 0; i < STUCK; i++)
        lines.paths[i] = stuck[i].path;
    other = spawn(other_program, &lines);
    for (int i = 0; i < STUCK; i++)
        keep(&stuck[i]);
    keep(&works);

    hold(&lines, stuck);
    check_each(stuck, &works, check_at_risk);
    ask(&lines, RELEASE);
    check_each(stuck, &works, check_safe);
    hold(&lines, stuck);
    check_each(stuck, &works, check_at_risk);
    check_each(stuck, &works, check_lost);
    ask(&lines, RELEASE);
    for (int i = 0; i < STUCK; i++)
        check_stays_lost(&stuck[i]);
    check_free_store_is_renewed(&works);

    tell(&lines.ask, END);
    test_join(other);
    for (int i = 0; i < STUCK; i++)
        close_store(&stuck[i]);
    close_store(&works);
    return 0;
}
