/*
 * Two movers took turns at a drive. Once one of them had looked by itself, and not been woken, all their turns took a fifth of a
 * second: its place in the queue had stayed, and was woken in its stead.
 *
 * Proves: processes that wait for one lock over and over hand it over by waking each other, and not by their slow looks, which
 * stand behind that. On PostgreSQL also: who got a lock at a look of its own leaves no place in the queue.
 */
#include "contention/contention.h"
#include "network/psql.h"

#define WORKERS 3
#define HANDOVERS 200
#define LIMIT_S 0.1 /* of the median; by looks alone it is 0.2 */

struct scene {
    _Atomic int stop;
    _Atomic double released;
    struct figures figures; /* written by the holder alone */
};

static struct scene *scene;

static void take_turns(void *arg)
{
    struct dss_handle handle;
    int last = 0;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    while (!last) {
        CHECK_RC(lock_waiting(&handle, "drive", arg, -1, NULL), 0);
        last = scene->figures.count == HANDOVERS;
        if (!last && atomic_load(&scene->released) != 0)
            add_figure(&scene->figures, test_seconds() - atomic_load(&scene->released));
        atomic_store(&scene->released, test_seconds());
        CHECK_RC(dss_unlock(&handle, "drive", arg), 0);
    }
    dss_fini(&handle);
}

static void hand_over(void)
{
    static char *const owners[WORKERS] = {"ann", "bob", "eve"};
    pid_t children[WORKERS];

    for (int i = 0; i < WORKERS; i++)
        children[i] = spawn(take_turns, owners[i]);
    test_join_all(children, WORKERS);
    show_ms("from the release to the next grant", &scene->figures);
    CHECK(figure_at(&scene->figures, 0.5) < LIMIT_S);
}

static void wait_for_it(void *arg)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(lock_waiting(&handle, "tape", arg, -1, NULL), 0);
    dss_fini(&handle);
}

/* An administrator removes the holder's row, of which nobody is told. */
static void look_by_itself(void)
{
    struct dss_handle handle;
    struct psql psql;
    char sql[256], answer[64];
    pid_t waiter;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "tape", "holder"), 0);
    waiter = spawn(wait_for_it, "waiter");
    wait_until_waiting(waiter, waiter);
    psql_start(&psql);
    snprintf(sql, sizeof(sql), "DELETE FROM %s.lock WHERE lock_id = 'tape';", psql_schema());
    psql_do(&psql, sql);
    test_join(waiter);
    test_check_owner(&handle, "tape", "waiter");
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s.waiter WHERE lock_id = 'tape';", psql_schema());
    psql_ask(&psql, sql, answer, sizeof(answer));
    CHECK(atoi(answer) == 0 && answer[0] == '0');
    psql_end(&psql);
    dss_fini(&handle);
}

int main(void)
{
    watchdog(HANGS_AFTER_S);
    (void)test_uri();
    scene = shared_memory(sizeof(*scene));
    if (test_store_is("postgres"))
        look_by_itself();
    hand_over();
    return 0;
}
