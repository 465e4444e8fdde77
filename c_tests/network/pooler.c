/*
 * The site puts a pooler in front of its database, as PgBouncer is usually set up: each transaction of a client goes to whichever server
 * process is free. What was prepared is not there any more, or is there already; and notifications never come.
 *
 * Proves, with eight processes of two stores on four connections: locks, leases, waits and lists
 * work; one at a time holds a store's lock; a waiter gets it by looking again; a list shows the
 * locks of its own store alone. The same where the connections are set to SERIALIZABLE, so that
 * transactions that meet are undone and tried again.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "network/pooler.h"

#define STORES 2
#define PROCESSES 8
#define ROUNDS 40
#define TURNS 2

struct together {
    _Atomic int inside, turns;
};

/* Of each store. */
static struct together *together;

/* Each owner is named after its store. */
static int count_shown(const struct dss_lock_info *info, void *arg)
{
    int *shown = arg;

    CHECK(info->token != 0);
    CHECK(strncmp(info->lock_owner, made("store %d", shown[1]), strlen("store 0")) == 0);
    shown[0]++;
    return 0;
}

static void take_alone(struct dss_handle *handle, const char *owner, struct together *ours)
{
    struct dss_lock_opts waiting = { .size = sizeof(waiting), .wait_ms = 30000, .ttl_ms = 60000 };
    const char *id = "one at a time";

    CHECK_RC(dss_lockv(handle, &id, 1, owner, &waiting, NULL), 0);
    CHECK(atomic_fetch_add(&ours->inside, 1) == 0);
    test_check_owner(handle, id, owner);
    CHECK(atomic_fetch_sub(&ours->inside, 1) == 1);
    atomic_fetch_add(&ours->turns, 1);
    CHECK_RC(dss_unlock(handle, id, owner), 0);
}

static void be_client(const char *uri, int store, int number)
{
    struct dss_lock_opts lease = { .size = sizeof(lease), .ttl_ms = 60000 };
    const char *owner = made("store %d, client %d", store, number);
    /* The same in both stores. */
    const char *ids[2] = { made("first of %d", number / STORES), made("second of %d", number / STORES) };
    struct dss_handle handle;
    int shown[2] = { 0, store };

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_RC(dss_lock(&handle, ids[0], owner), 0);
        CHECK_RC(dss_lock(&handle, ids[0], owner), -EEXIST);
        CHECK_RC(dss_unlock(&handle, ids[0], owner), 0);
    }
    CHECK_RC(dss_lockv(&handle, ids, 2, owner, &lease, NULL), 0);
    for (int i = 0; i < TURNS; i++)
        take_alone(&handle, owner, &together[store]);
    CHECK_RC(dss_lock_list(&handle, NULL, count_shown, shown), 0);
    CHECK(shown[0] >= 2);
    CHECK_RC(dss_unlockv(&handle, ids, 2, owner, NULL, NULL), 0);
    dss_fini(&handle);
}

static void meet(const char *settings)
{
    struct dss_handle handle;
    pid_t children[PROCESSES];
    const char *uris[STORES];

    uris[0] = start_pooler(4, settings);
    uris[1] = made("%s_other", uris[0]);
    memset(together, 0, STORES * sizeof(*together));
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            be_client(uris[i % STORES], i % STORES, i);
            _exit(0);
        }
    }
    test_join_all(children, PROCESSES);
    for (int i = 0; i < STORES; i++) {
        int shown[2] = { 0, i };

        CHECK(atomic_load(&together[i].turns) == PROCESSES / STORES * TURNS);
        CHECK_RC(dss_init_uri(&handle, uris[i]), 0);
        CHECK_RC(dss_lock_list(&handle, NULL, count_shown, shown), 0);
        CHECK(shown[0] == 0);
        dss_fini(&handle);
    }
}

int main(void)
{
    together = mmap(NULL, STORES * sizeof(*together), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(together != MAP_FAILED);
    meet("");
    meet("server_reset_query = SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE\n"
         "server_reset_query_always = 1\n");
    return 0;
}
