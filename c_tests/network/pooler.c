/*
 * The site puts a pooler in front of its database, as PgBouncer is usually set up: each transaction of a client goes to whichever server
 * process is free. What was prepared is not there any more, or is there already; and notifications never come.
 *
 * Proves, with eight processes on four connections: locks, leases, waits and lists work; one at a time holds the lock; a waiter gets
 * it by looking again.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "network/pooler.h"

#define PROCESSES 8
#define ROUNDS 40
#define TURNS 2

struct together {
    _Atomic int inside, turns;
};

static struct together *together;

static int count_shown(const struct dss_lock_info *info, void *arg)
{
    CHECK(info->token != 0);
    ++*(int *)arg;
    return 0;
}

static void take_alone(struct dss_handle *handle, const char *owner)
{
    struct dss_lock_opts waiting = { .size = sizeof(waiting), .wait_ms = 30000, .ttl_ms = 60000 };
    const char *id = "one at a time";

    CHECK_RC(dss_lockv(handle, &id, 1, owner, &waiting, NULL), 0);
    CHECK(atomic_fetch_add(&together->inside, 1) == 0);
    test_check_owner(handle, id, owner);
    CHECK(atomic_fetch_sub(&together->inside, 1) == 1);
    atomic_fetch_add(&together->turns, 1);
    CHECK_RC(dss_unlock(handle, id, owner), 0);
}

static void be_client(const char *uri, int number)
{
    struct dss_lock_opts lease = { .size = sizeof(lease), .ttl_ms = 60000 };
    const char *owner = made("client %d", number), *ids[2] = { made("first of %d", number), made("second of %d", number) };
    struct dss_handle handle;
    int shown = 0;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_RC(dss_lock(&handle, ids[0], owner), 0);
        CHECK_RC(dss_lock(&handle, ids[0], owner), -EEXIST);
        CHECK_RC(dss_unlock(&handle, ids[0], owner), 0);
    }
    CHECK_RC(dss_lockv(&handle, ids, 2, owner, &lease, NULL), 0);
    for (int i = 0; i < TURNS; i++)
        take_alone(&handle, owner);
    CHECK_RC(dss_lock_list(&handle, NULL, count_shown, &shown), 0);
    CHECK(shown >= 2);
    CHECK_RC(dss_unlockv(&handle, ids, 2, owner, NULL, NULL), 0);
    dss_fini(&handle);
}

int main(void)
{
    struct dss_handle handle;
    pid_t children[PROCESSES];
    const char *uri = start_pooler(4, "");
    int shown = 0;

    together = mmap(NULL, sizeof(*together), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(together != MAP_FAILED);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            be_client(uri, i);
            _exit(0);
        }
    }
    test_join_all(children, PROCESSES);
    CHECK(atomic_load(&together->turns) == PROCESSES * TURNS);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock_list(&handle, NULL, count_shown, &shown), 0);
    CHECK(shown == 0);
    dss_fini(&handle);
    return 0;
}
