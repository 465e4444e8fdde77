/*
 * How a crew of crew.h starts together and ends.
 *
 * Workers are forked before anything is opened. Each opens its store, says so by a byte in a pipe, and begins when it
 * gets a byte from another. It works for a short time before the round, so that the round finds all of them in full
 * swing, and until the first call that ends after it. Only then it gives its lock back.
 */
#define _POSIX_C_SOURCE 200809L

#include "crew.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define WARM_UP_NS 150000000

struct crew {
    struct crew_order order;
    int ready[2], go[2];
    int64_t begin_ns, end_ns; /* of the round */
    struct worker workers[MAX_WORKERS];
};

struct seat {
    int number;
    void *store;
};

static struct crew *crew; /* shared with the workers */
static pid_t processes[MAX_WORKERS];

static void wait_for_start(void)
{
    char byte = 1;

    if (write(crew->ready[1], &byte, 1) != 1 || read(crew->go[0], &byte, 1) != 1)
        die("%s: a worker lost its pipe", crew->order.what);
}

/* A call counts for the times if any of it was in the round, and for the rate if it ended there. */
static void count_call(struct worker *worker, int64_t begun_ns, int64_t ended_ns, int rc)
{
    if (ended_ns < crew->begin_ns || begun_ns >= crew->end_ns)
        return;
    histogram_add(&worker->latency, ended_ns - begun_ns);
    if (ended_ns - begun_ns > worker->worst_ns)
        worker->worst_ns = ended_ns - begun_ns;
    if (rc != 0)
        worker->failed++;
    else if (ended_ns <= crew->end_ns)
        worker->calls++;
}

static void write_locks(const struct seat *seat)
{
    const struct contender *contender = crew->order.contender;
    int64_t begun_ns = now_ns();
    bool held = false;
    char id[32], owner[32];

    snprintf(id, sizeof(id), "drive/%d", seat->number);
    snprintf(owner, sizeof(owner), "mover@host%d", seat->number);
    while (held || begun_ns < crew->end_ns) {
        int rc = held ? contender->unlock(seat->store, id, owner) : contender->lock(seat->store, id, owner);
        int64_t ended_ns = now_ns();

        if (rc != 0 && rc != -EBUSY)
            die("%s: %s: %s: %s", crew->order.what, contender->name, held ? "unlock" : "lock", strerror(-rc));
        count_call(&crew->workers[seat->number], begun_ns, ended_ns, rc);
        if (rc == 0)
            held = !held;
        begun_ns = ended_ns;
    }
}

/* Reads for a while, without a look at the clock after each call. */
static void read_until(const struct seat *seat, const char *id, int64_t end_ns)
{
    struct worker *worker = &crew->workers[seat->number];

    while (now_ns() < end_ns) {
        for (int i = 0; i < 16; i++) {
            int rc = crew->order.contender->status(seat->store, id);

            if (rc == 0)
                worker->calls++;
            else if (rc == -EBUSY)
                worker->failed++;
            else
                die("%s: %s: status: %s", crew->order.what, crew->order.contender->name, strerror(-rc));
        }
    }
}

static void read_locks(const struct seat *seat)
{
    const struct contender *contender = crew->order.contender;
    struct worker *worker = &crew->workers[seat->number];
    int64_t begun_ns, begun_cpu_ns;

    (void)contender->lock(seat->store, "read/me", "reader"); /* It stays from round to round. */
    read_until(seat, "read/me", crew->begin_ns);
    worker->calls = worker->failed = 0;
    begun_ns = now_ns();
    begun_cpu_ns = thread_cpu_ns();
    read_until(seat, "read/me", crew->end_ns);
    worker->cpu_ns = thread_cpu_ns() - begun_cpu_ns;
    worker->spent_ns = now_ns() - begun_ns;
}

static void *open_store(void)
{
    void *store = crew->order.contender->open(crew->order.folder);

    if (store == NULL)
        die("%s: %s can not open its store", crew->order.what, crew->order.contender->name);
    return store;
}

static void work(struct seat *seat)
{
    bool own = seat->store == NULL;

    if (own)
        seat->store = open_store();
    wait_for_start();
    if (seat->number < crew->order.readers)
        read_locks(seat);
    else
        write_locks(seat);
    if (own)
        crew->order.contender->close(seat->store);
}

static void *thread(void *arg)
{
    work(arg);
    return NULL;
}

static void run_threads(void)
{
    void *shared = crew->order.contender->one_for_all_threads ? open_store() : NULL;
    pthread_t threads[MAX_WORKERS];
    struct seat seats[MAX_WORKERS];

    for (int i = 0; i < crew->order.workers; i++) {
        seats[i] = (struct seat){ i, shared };
        if (pthread_create(&threads[i], NULL, thread, &seats[i]) != 0)
            die("%s: no thread to be had", crew->order.what);
    }
    for (int i = 0; i < crew->order.workers; i++)
        pthread_join(threads[i], NULL);
    if (shared != NULL)
        crew->order.contender->close(shared);
}

static int start_processes(void)
{
    int count = crew->order.threads ? 1 : crew->order.workers;

    for (int i = 0; i < count; i++) {
        pid_t child = fork_child();

        if (child != 0) {
            processes[i] = child;
            continue;
        }
        if (crew->order.threads)
            run_threads();
        else
            work(&(struct seat){ i, NULL });
        _exit(0);
    }
    return count;
}

/* A worker that ends before the start would be waited for in vain. */
static void wait_until_ready(void)
{
    siginfo_t ended = { .si_pid = 0 };
    struct pollfd ready = { .fd = crew->ready[0], .events = POLLIN };
    char bytes[MAX_WORKERS];
    ssize_t got;

    for (int waiting = crew->order.workers; waiting > 0;) {
        if (poll(&ready, 1, 100) > 0 && (got = read(crew->ready[0], bytes, (size_t)waiting)) > 0)
            waiting -= (int)got;
        else if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0)
            die("%s: a worker of %s ended before the start", crew->order.what, crew->order.contender->name);
    }
}

static void start_round(void)
{
    static const char bytes[MAX_WORKERS];

    crew->begin_ns = now_ns() + WARM_UP_NS;
    crew->end_ns = crew->begin_ns + (int64_t)(crew->order.seconds * 1e9);
    if (write(crew->go[1], bytes, (size_t)crew->order.workers) != crew->order.workers)
        die("%s: can not start the workers", crew->order.what);
}

static void close_pipes(void)
{
    for (int end = 0; end < 2; end++) {
        close(crew->ready[end]);
        close(crew->go[end]);
    }
}

const struct worker *run_crew(const struct crew_order *order)
{
    int count;

    if (crew == NULL)
        crew = shared_memory(sizeof(*crew));
    if (pipe(crew->ready) != 0 || pipe(crew->go) != 0)
        die("pipe: %s", strerror(errno));
    crew->order = *order;
    memset(crew->workers, 0, sizeof(crew->workers));
    count = start_processes();
    wait_until_ready();
    start_round();
    for (int i = 0; i < count; i++)
        wait_for_child(processes[i], order->what);
    close_pipes();
    return crew->workers;
}
