/*
 * An administrator looked at a lock in a transaction, and went for coffee. A mover waited for the row, was granted a lease of
 * five seconds, and had two left when it heard of it: the others had three of them while nobody held the drive.
 *
 * Proves, where another session of PostgreSQL keeps for 3 s the row of an expired lease, or one of a set, or a place where no row
 * is yet: a call with a short timeout ends in time with -EBUSY and changes nothing; one with a longer timeout gets the lock, and
 * then the lease has its full time in the store, by the list and in truth. The holder counts from before it asked.
 */
#include "locks/locks.h"
#include "network/psql.h"

#define KEPT_S 3
#define TTL_MS 5000
#define SET 3
#define BUSY_MS 500
/* The server counts a lease by another clock, and this machine may set that one a little meanwhile. */
#define CLOCKS_MS 100

struct busy_case {
    const char *name;
    int is_expired; /* there is a row, of a lease that is over */
    const char *keep, *let_go;
    size_t count;
};

static const struct busy_case cases[] = {
    {"the row is locked", 1, "SELECT FROM %s.lock WHERE lock_id = '%s' FOR UPDATE;", "COMMIT;", 1},
    {"the row is changed", 1, "UPDATE %s.lock SET note = 'x' WHERE lock_id = '%s';", "COMMIT;", 1},
    {"the row is removed", 1, "DELETE FROM %s.lock WHERE lock_id = '%s';", "COMMIT;", 1},
    {"a row is made", 0, "INSERT INTO %s.lock VALUES (1, 0, 0, 0, 0, 0, '%s', 'eve', '', '', '');", "ROLLBACK;", 1},
    {"the row of one of a set is locked", 1, "SELECT FROM %s.lock WHERE lock_id = '%s' FOR UPDATE;", "COMMIT;", SET},
    {"a row of one of a set is made", 0, "INSERT INTO %s.lock VALUES (1, 0, 0, 0, 0, 0, '%s', 'eve', '', '', '');",
     "ROLLBACK;", SET},
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

struct scene {
    const struct busy_case *busy;
    struct psql keeper;
    struct dss_handle handle, hasty, onlooker;
    char names[SET][32];
    const char *ids[SET], *busy_id; /* the last of them */
    double asked, let_go; /* the row is free from the latter on, and not before */
};

static void tell(struct psql *psql, const char *format, const char *id, char *answer, size_t size)
{
    char sql[1024];

    snprintf(sql, sizeof(sql), format, psql_schema(), id);
    psql_ask(psql, sql, answer, size);
}

static void row(struct scene *scene, char *text, size_t size)
{
    tell(&scene->keeper, "SELECT l FROM %s.lock l WHERE lock_id = '%s';", scene->busy_id, text, size);
}

/* There is not enough time: it is told so, in time, and all is as before. */
static void be_hasty(struct scene *scene)
{
    struct dss_lock_opts opts = options(0, TTL_MS);
    char before[2048], after[2048];
    double begin, took;

    row(scene, before, sizeof(before));
    begin = test_seconds();
    CHECK_RC(dss_lockv(&scene->hasty, scene->ids, scene->busy->count, "hasty", &opts, NULL), -EBUSY);
    took = test_seconds() - begin;
    fprintf(stderr, "%s: -EBUSY after %.2f s\n", scene->busy->name, took);
    CHECK(took < 1 + BUSY_MS / 1e3);
    row(scene, after, sizeof(after));
    CHECK(strcmp(before, after) == 0);
    for (size_t i = 0; i < scene->busy->count; i++)
        CHECK_RC(dss_lock_status(&scene->onlooker, scene->ids[i], NULL, NULL), -ENOLCK);
}

/* The keeper goes when the call has waited so long. */
static void *let_go(void *arg)
{
    struct scene *scene = arg;

    sleep_ms(KEPT_S * 1000);
    scene->let_go = test_seconds();
    psql_do(&scene->keeper, scene->busy->let_go);
    return NULL;
}

static void be_patient(struct scene *scene)
{
    struct dss_lock_opts opts = options(0, TTL_MS);
    struct dss_grant grants[SET];
    pthread_t keeper;

    scene->asked = test_seconds();
    keeper = start_thread(let_go, scene);
    CHECK_RC(dss_lockv(&scene->handle, scene->ids, scene->busy->count, "patient", &opts, grants), 0);
    join_thread(keeper);
    for (size_t i = 0; i < scene->busy->count; i++) {
        struct shown shown;
        int64_t free_ms;

        check_granted(&grants[i], TTL_MS);
        CHECK(grants[i].left_ms <= TTL_MS - KEPT_S * 1000 + 10);
        CHECK(look_up(&scene->onlooker, scene->ids[i], &shown));
        free_ms = (int64_t)((test_seconds() - scene->let_go) * 1000);
        fprintf(stderr, "%s: %lld ms left for the holder, %lld of the lease, %lld ms after the row became free\n",
                scene->busy->name, (long long)grants[i].left_ms, (long long)shown.info.left_ms, (long long)free_ms);
        CHECK(shown.info.token == grants[i].token && shown.info.ttl_ms == TTL_MS);
        /* It began when the row was free, and not before. */
        CHECK(shown.info.left_ms + free_ms >= TTL_MS - CLOCKS_MS);
    }
}

static void lives_so_long(struct scene *scene)
{
    for (size_t i = 0; i < scene->busy->count; i++)
        wait_until_over(&scene->onlooker, scene->ids[i]);
    CHECK((test_seconds() - scene->let_go) * 1000 > TTL_MS - CLOCKS_MS);
}

static void begin(struct scene *scene, const struct busy_case *busy, int number)
{
    char *short_uri = test_uri_with("timeout_ms=500");

    scene->busy = busy;
    for (size_t i = 0; i < busy->count; i++) {
        snprintf(scene->names[i], sizeof(scene->names[i]), "case%d.%zu", number, i);
        scene->ids[i] = scene->busy_id = scene->names[i];
    }
    psql_start(&scene->keeper);
    CHECK_RC(dss_init_uri(&scene->handle, test_uri()), 0);
    CHECK_RC(dss_init_uri(&scene->hasty, short_uri), 0);
    free(short_uri);
    if (busy->is_expired) {
        (void)take(&scene->handle, scene->busy_id, "former", 0, 1000);
        wait_until_over(&scene->handle, scene->busy_id);
    }
}

static void keep_busy(const struct busy_case *busy, int number)
{
    static struct scene scene;
    char nothing[64];

    begin(&scene, busy, number);
    CHECK_RC(dss_init_uri(&scene.onlooker, test_uri()), 0);
    psql_do(&scene.keeper, "BEGIN;");
    tell(&scene.keeper, busy->keep, scene.busy_id, nothing, sizeof(nothing));
    be_hasty(&scene);
    be_patient(&scene);
    lives_so_long(&scene);
    psql_end(&scene.keeper);
    dss_fini(&scene.onlooker);
    dss_fini(&scene.hasty);
    dss_fini(&scene.handle);
}

/* Each in a process of its own, all at once: most of it is waiting. */
int main(void)
{
    pid_t children[CASES];

    (void)test_uri();
    for (size_t i = 0; i < CASES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            keep_busy(&cases[i], (int)i);
            end_child();
        }
    }
    test_join_all(children, CASES);
    return 0;
}
