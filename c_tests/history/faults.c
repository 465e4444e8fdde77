#include "faults.h"
#include "network/proxy.h"
#include "network/servers.h"

static struct proxy proxy;
static char own_uri[600];

static void pause_ms(unsigned ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

static unsigned below(unsigned *seed, unsigned limit)
{
    return (unsigned)rand_r(seed) % limit;
}

/* ---- Processes ---- */

struct crowd {
    pid_t *processes;
    unsigned count;
    pid_t (*start)(unsigned seed);
};

static void kill_these(pid_t *processes, unsigned count)
{
    int status;

    for (unsigned i = 0; i < count; i++)
        CHECK(kill(processes[i], SIGKILL) == 0);
    for (unsigned i = 0; i < count; i++) {
        CHECK(waitpid(processes[i], &status, 0) == processes[i]);
        CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0)); /* it may have filled the record */
    }
}

static void kill_one(struct crowd *crowd, unsigned *seed)
{
    pid_t *process = &crowd->processes[below(seed, crowd->count)];

    kill_these(process, 1);
    *process = crowd->start(*seed);
}

/* Sometimes for longer than leases last. */
static void stop_one(struct crowd *crowd, unsigned *seed)
{
    pid_t process = crowd->processes[below(seed, crowd->count)];

    CHECK(kill(process, SIGSTOP) == 0);
    pause_ms(below(seed, 6) == 0 ? TTL_MS + below(seed, 400) : below(seed, 60));
    CHECK(kill(process, SIGCONT) == 0);
}

/* ---- The way to a server ---- */

static void cut(struct crowd *crowd, unsigned *seed)
{
    static const int once[] = {PROXY_CUT_BEFORE, PROXY_HALF, PROXY_CUT_AFTER, PROXY_LATE, PROXY_HOLD_RESPONSE,
                               PROXY_CUT_BEFORE | PROXY_BY_RESET, PROXY_CUT_AFTER | PROXY_BY_RESET};
    static const int lasting[] = {PROXY_SILENT, PROXY_REFUSE, PROXY_DOWN};

    (void)crowd;
    if (below(seed, 6) != 0) {
        for (unsigned times = below(seed, 20); times > 0; times--) {
            proxy_arm(&proxy, once[below(seed, COUNT(once))], (long)below(seed, 5), (long)below(seed, 400));
            pause_ms(below(seed, 10));
        }
        return;
    }
    proxy_arm(&proxy, lasting[below(seed, COUNT(lasting))], 0, 0);
    pause_ms(below(seed, 600));
    proxy_arm(&proxy, PROXY_PASS, 0, 0);
}

static void cut_begins(void)
{
    proxy_start_for_store(&proxy);
    store_uri = proxy_through(&proxy, store_uri, NULL);
}

static void cut_ends(void)
{
    proxy_arm(&proxy, PROXY_PASS, 0, 0);
    proxy_release(&proxy);
}

/* ---- Servers ---- */

static void restart_begins(void)
{
    servers_begin();
    servers_own("history", own_uri, sizeof(own_uri));
    store_uri = own_uri;
}

static void restart(struct crowd *crowd, unsigned *seed)
{
    static const char *const ways[] = {"immediate", "kill", "fast"}, *const nodes[] = {"n1", "n2", "n3"};
    unsigned first = below(seed, COUNT(nodes)), count = 1 + (below(seed, 3) == 0);

    (void)crowd;
    if (test_store_is("postgres")) {
        servers_do("postgres-stop", ways[below(seed, COUNT(ways))]);
        pause_ms(below(seed, 400));
        servers_do("postgres-start", "");
        return;
    }
    for (unsigned i = 0; i < count; i++)
        servers_do("etcd-kill", nodes[(first + i) % COUNT(nodes)]);
    pause_ms(below(seed, 1000));
    for (unsigned i = 0; i < count; i++)
        servers_do("etcd-start", nodes[(first + i) % COUNT(nodes)]);
    servers_do("etcd-wait", "");
}

/* ---- A disk ---- */

static void break_disk(struct crowd *crowd, unsigned *seed)
{
    (void)crowd;
    atomic_store(&records->disk_fails, 1 + below(seed, 200));
    pause_ms(1 + below(seed, 40));
    atomic_store(&records->disk_fails, 0);
}

/* ---- The files beside a store ---- */

static void sides_begin(void)
{
    records->moves = 1;
}

static void harm_sides(struct crowd *crowd, unsigned *seed)
{
    (void)crowd;
    harm_side_file(seed);
}

static void log_begins(void)
{
    records->moves = 1;
    records->loses = 1;
}

static void harm_log(struct crowd *crowd, unsigned *seed)
{
    if (!lose_log(seed))
        return;
    /* With the last process goes the index of the log, and the next one reads the log itself. */
    kill_these(crowd->processes, crowd->count);
    for (unsigned i = 0; i < crowd->count; i++)
        crowd->processes[i] = crowd->start(rand_r(seed));
}

/* ---- Which ---- */

static struct fault {
    const char *name;
    void (*begin)(void);
    void (*strike)(struct crowd *crowd, unsigned *seed);
    void (*end)(void);
    int is_chosen, times;
} faults[] = {
    {.name = "kill", .strike = kill_one},
    {.name = "stop", .strike = stop_one},
    {.name = "cut", .begin = cut_begins, .strike = cut, .end = cut_ends},
    {.name = "restart", .begin = restart_begins, .strike = restart},
    {.name = "disk", .strike = break_disk},
    {.name = "sides", .begin = sides_begin, .strike = harm_sides},
    {.name = "log", .begin = log_begins, .strike = harm_log},
};

void faults_begin(const char *names)
{
    size_t named = 0;

    for (const char *name = names; name[0] != '\0'; name += strcspn(name, ",") + (strchr(name, ',') != NULL)) {
        for (size_t i = 0; i < COUNT(faults); i++) {
            if (strcspn(name, ",") == strlen(faults[i].name) && strncmp(name, faults[i].name, strlen(faults[i].name)) == 0)
                faults[i].is_chosen = 1;
        }
        named++;
    }
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (faults[i].is_chosen && faults[i].begin != NULL)
            faults[i].begin();
        named -= (size_t)faults[i].is_chosen;
    }
    CHECK(named == 0); /* else one is not known */
}

void disturb(pid_t *processes, int count, unsigned *seed, pid_t (*start)(unsigned seed))
{
    struct crowd crowd = {processes, (unsigned)count, start};
    unsigned chosen = 0, number;

    for (size_t i = 0; i < COUNT(faults); i++)
        chosen += (unsigned)faults[i].is_chosen;
    if (chosen == 0)
        return;
    number = below(seed, chosen);
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (faults[i].is_chosen && number-- == 0) {
            faults[i].strike(&crowd, seed);
            faults[i].times++;
        }
    }
}

void faults_end(void)
{
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (faults[i].is_chosen && faults[i].end != NULL)
            faults[i].end();
    }
}

void show_faults(void)
{
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (faults[i].is_chosen)
            printf("%s %d ", faults[i].name, faults[i].times);
    }
}
