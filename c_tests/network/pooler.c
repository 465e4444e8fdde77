/*
 * The site puts a pooler in front of its database, as PgBouncer is usually set up: each transaction of a client goes to whichever server
 * process is free. What was prepared is not there any more, or is there already; and notifications never come.
 *
 * Proves, with eight processes on four connections: locks, leases, waits and lists work; one at a time holds the lock; a waiter gets
 * it by looking again.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "network/bad.h"

#define PROCESSES 8
#define ROUNDS 40
#define TURNS 2

struct together {
    _Atomic int inside, turns;
};

static struct together *together;
static pid_t pooler;

static void end_pooler(void)
{
    if (getpid() == test_process_ && pooler > 0) {
        (void)kill(pooler, SIGKILL);
        (void)waitpid(pooler, NULL, 0);
    }
}

/* The test's store, through a pooler that has not got more connections than that. */
static const char *start_pooler(int connections)
{
    const char *server = variable("DSS_TEST_POSTGRES_PORT"), *user = variable("DSS_TEST_POSTGRES_USER"), *settings, *command;
    int port = unused_port();
    double begun = test_seconds();

    CHECK(chmod(test_dir(), 0755) == 0); /* it refuses to be root, and reads its files as somebody else */
    settings = file_of("pgbouncer.ini",
                       made("[databases]\ndss_test = host=127.0.0.1 port=%s dbname=dss_test pool_size=%d\n"
                            "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nauth_type = trust\nauth_file = %s\n"
                            "pool_mode = transaction\nunix_socket_dir =\n",
                            server, connections, port, file_of("users", made("\"%s\" \"\"\n", user), 0644)), 0644);
    command = made("PATH=\"$PATH:/usr/sbin\"; exec setpriv --pdeathsig KILL %s pgbouncer -q %s",
                   getuid() == 0 ? "--reuid nobody --regid nogroup --clear-groups" : "", settings);
    pooler = fork();
    CHECK(pooler >= 0);
    if (pooler == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    CHECK(atexit(end_pooler) == 0);
    while (system(made("%s/pg_isready -q -h 127.0.0.1 -p %d", variable("DSS_TEST_POSTGRES_BIN"), port)) != 0) {
        CHECK(waitpid(pooler, NULL, WNOHANG) == 0);
        CHECK(test_seconds() - begun < 20);
    }
    return made("postgresql://%s@127.0.0.1:%d/dss_test?schema=%s", user, port, own_name());
}

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
    const char *uri = start_pooler(4);
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
