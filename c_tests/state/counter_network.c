/*
 * Proves: no increment is lost, and none is made twice, when sixteen processes count by compare-and-set while the network cuts
 * their requests and answers, while it is down for longer than a call may take, or delivers requests when their callers
 * have given up, and while the servers are killed and started again.
 *
 *   counter_network cut [seconds] | lost [seconds] | restart [rounds]
 */
#include "state/counter.h"

#include "network/proxy.h"
#include "network/servers.h"

#define SECONDS 30
#define MORE 20 /* increments after that, before something else breaks */
#define PATIENCE_S 60
#define TIMEOUT "timeout_ms=20000"
#define SHORT "timeout_ms=300"
#define LONGER_MS 1300 /* a call that has to find out what became of it takes a little more than its time */

/* ---- Their progress ----------------------------------------------------------------------------------------------- */

static void all_go_on(const char *after)
{
    double begun = test_seconds();
    long goal = acknowledged_of_all() + MORE;
    struct timespec moment = { 0, 1000000 };

    while (acknowledged_of_all() < goal) {
        for (int i = 0; i < WORKERS; i++)
            CHECK(waitpid(counting->workers[i].process, NULL, WNOHANG) == 0); /* it ends by an error alone */
        CHECK(test_seconds() < begun + PATIENCE_S);
        nanosleep(&moment, NULL);
    }
    fprintf(stderr, "%s: they go on after %.2f s\n", after, test_seconds() - begun);
}

/* ---- A network that breaks -------------------------------------------------------------------------------------- */

static const int faults[] = { PROXY_CUT_AFTER, PROXY_CUT_BEFORE, PROXY_HALF, PROXY_CUT_AFTER | PROXY_BY_RESET,
                              PROXY_CUT_BEFORE | PROXY_BY_RESET };

/* Contact returns at once. */
static void cut_once(struct proxy *proxy, unsigned *seed)
{
    proxy_arm(proxy, faults[rand_r(seed) % COUNT(faults)], rand_r(seed) % 20, 0);
    proxy_wait_caught(proxy);
    pause_at_random(seed, 10000);
}

/* Contact returns when the callers have given up; or a request arrives then, while others go on. */
static void lose_once(struct proxy *proxy, unsigned *seed)
{
    struct timespec longer = { LONGER_MS / 1000, LONGER_MS % 1000 * 1000000 };
    static int turn;

    turn++;
    proxy_arm(proxy, turn % 2 == 0 ? PROXY_LATE : PROXY_CUT_AFTER, rand_r(seed) % 20, LONGER_MS);
    proxy_wait_caught(proxy);
    if (turn % 2 == 1)
        proxy_arm(proxy, PROXY_DOWN, 0, 0);
    nanosleep(&longer, NULL);
    proxy_arm(proxy, PROXY_PASS, 0, 0);
    pause_at_random(seed, 200000);
}

static int break_for(struct proxy *proxy, double seconds, void (*once)(struct proxy *, unsigned *))
{
    double end = test_seconds() + seconds;
    unsigned seed = (unsigned)time(NULL);
    int times = 0;

    fprintf(stderr, "seed %u\n", seed);
    for (; test_seconds() < end; times++)
        once(proxy, &seed);
    proxy_arm(proxy, PROXY_PASS, 0, 0);
    return times;
}

static void through_proxy(double seconds, const char *timeout, void (*once)(struct proxy *, unsigned *))
{
    struct dss_handle direct;
    struct proxy proxy;
    long unknown;
    char *uri;
    int times;

    proxy_start_for_store(&proxy);
    uri = proxy_uri(&proxy, timeout);
    snprintf(counting->uri, sizeof(counting->uri), "%s", uri);
    free(uri);
    CHECK_RC(dss_init_uri(&direct, test_uri()), 0);
    start_workers(&direct);
    all_go_on("the start");
    times = break_for(&proxy, seconds, once);
    stop_workers();
    CHECK(acknowledged_of_all() >= WORKERS);
    unknown = check_counter(&direct);
    fprintf(stderr, "broken %d times\n", times);
    CHECK(times >= 3);
    CHECK(once == cut_once ? unknown <= times : unknown > 0);
    dss_fini(&direct);
    proxy_stop(&proxy);
}

/* ---- Restarts ---------------------------------------------------------------------------------------------------- */

static void restart_postgres(int rounds)
{
    static const char *const ways[] = { "immediate", "kill" };

    for (int i = 0; i < rounds * (int)COUNT(ways); i++) {
        servers_do("postgres-stop", ways[i % COUNT(ways)]);
        servers_do("postgres-start", "");
        all_go_on(ways[i % COUNT(ways)]);
    }
}

/* One of three after the other, so the leader is among them. */
static void restart_etcd(int rounds)
{
    static const char *const nodes[] = { "n1", "n2", "n3" };

    for (int i = 0; i < rounds * (int)COUNT(nodes); i++) {
        servers_do("etcd-kill", nodes[i % COUNT(nodes)]);
        all_go_on("one of three is killed");
        servers_do("etcd-start", nodes[i % COUNT(nodes)]);
        servers_do("etcd-wait", "");
    }
    all_go_on("they are back");
}

static void start_servers(void)
{
    char output[512];
    int ports[3];

    if (test_store_is("postgres")) {
        servers("postgres-start", "0", output, sizeof(output));
        snprintf(counting->uri, sizeof(counting->uri), "postgresql://dss@127.0.0.1:%d/dss_test?" TIMEOUT, atoi(output));
        return;
    }
    servers("etcd-cluster", "n1 n2 n3", output, sizeof(output));
    CHECK(sscanf(output, "n1 %d %*d n2 %d %*d n3 %d", &ports[0], &ports[1], &ports[2]) == 3);
    snprintf(counting->uri, sizeof(counting->uri), "etcd://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/counter?" TIMEOUT, ports[0],
             ports[1], ports[2]);
}

static void restart(int rounds)
{
    struct dss_handle handle;

    servers_begin();
    start_servers();
    CHECK_RC(dss_init_uri(&handle, counting->uri), 0);
    start_workers(&handle);
    all_go_on("the start");
    if (test_store_is("postgres"))
        restart_postgres(rounds);
    else
        restart_etcd(rounds);
    stop_workers();
    check_counter(&handle);
    dss_fini(&handle);
}

int main(int count, char **arguments)
{
    const char *way = count > 1 ? arguments[1] : "cut", *number = count > 2 ? arguments[2] : NULL;
    double seconds = number != NULL ? atof(number) : SECONDS;

    begin_counting();
    counting->may_break = 1;
    watchdog(220);
    if (strcmp(way, "cut") == 0)
        through_proxy(seconds, TIMEOUT, cut_once);
    else if (strcmp(way, "lost") == 0)
        through_proxy(seconds, SHORT, lose_once);
    else
        restart(number != NULL ? atoi(number) : 1);
    return 0;
}
