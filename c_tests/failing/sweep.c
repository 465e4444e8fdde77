/*
 * The n-th read, write, flush, open, mapping, lock or allocation of a session fails: once, or from then on until the session's
 * end is near; for every n, and with each errno that such a call may have.
 *
 * A system call can fail at the worst of all moments, and most of these moments are never seen before a disk is full, a limit is
 * hit or a cable is loose on the one machine that matters. Whichever it is: the call of the library gives an errno of the
 * contract's table and in time, 0 means done and any other errno but -EINPROGRESS means not done, what was acknowledged stays, and
 * the handle goes on when the fault is over (session.c). The process does not die, and nothing is printed.
 *
 * What it has found, each of which came back at once when it was looked for in this way: a process that had no descriptor left when it
 * opened the store read no boot id, took all leases of others for over, and granted some that were over for all others. A flush that
 * failed while a file was put into WAL mode was not heard of. A log that could not be opened once was read-only for ever. A
 * disk that could not read was called a damaged file, and a file that could not be looked at one that was moved. A read mark that
 * could not be locked shared stayed locked for all others. An index that could not be opened once was called a damaged file. And without
 * memory the process ended.
 *
 *   sweep every [SEED]           each n with each errno, once and for ever
 *   sweep sample SEED RUNS       each n as often as so many runs allow, with errnos by chance
 *   sweep kind KIND              all of one kind
 *   sweep one KIND N once|ever ERRNO     one of them, to look at it
 *
 * The store lies in $DSS_TEST_TMP, or in /dev/shm, where a run takes some milliseconds.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "calls.h"
#include "session.h"
#include "test.h"

#define WORKERS 2
#define MOST_RUNS 200000
#define RUN_SECONDS 30
#define SHOWN_FAILURES 40
#define MOST_KNOWN 40

/* What all processes of the sweep share. */
static struct shared {
    unsigned calls[CALL_KINDS]; /* that the session makes if none fails */
    atomic_uint next, failures, idle, known;
    atomic_uint runs[CALL_KINDS];
    unsigned worker_calls[WORKERS][CALL_KINDS], worker_struck[WORKERS];
} *shared;

static struct fault jobs[MOST_RUNS];
static unsigned job_count;
static char base[256];

/* ---- One run. ---- */

static void describe(const struct fault *job, char *text, size_t size)
{
    snprintf(text, size, "one %s %u %s %d", call_kinds[job->kind].name, job->nth, job->for_ever ? "ever" : "once", job->error);
}

static void in_child(const struct fault *job, const char *uri, int output, unsigned worker)
{
    int wrong;

    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    alarm(RUN_SECONDS);
    CHECK(dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0);
    fault = *job;
    wrong = session_run(uri, output);
    for (int kind = 0; kind < CALL_KINDS; kind++)
        shared->worker_calls[worker][kind] = atomic_load(&calls_made[kind]);
    shared->worker_struck[worker] = atomic_load(&calls_failed);
    _exit(wrong != 0);
}

static void show(const struct fault *job, int status, int output)
{
    char what[128], said[4096];
    ssize_t size = pread(output, said, sizeof(said) - 1, 0);

    said[size > 0 ? size : 0] = '\0';
    describe(job, what, sizeof(what));
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: killed by signal %d%s\n%s", what, WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? ", after so many seconds that it hangs" : "", said);
    else
        fprintf(stderr, "%s: exit %d\n%s", what, WEXITSTATUS(status), said);
}

/*
 * A known limit: at a thread's first call glibc itself takes memory for what is to be done at the thread's end, and Rust's
 * standard library for a thread that it starts; both end the process if it is refused. The library looks before that whether there
 * is some, so it has to fail at just these few allocations.
 */
static int is_known(const struct fault *job, int status, int output)
{
    static const char of_glibc[] = "Fatal glibc error: failed to register TLS destructor: out of memory";
    static const char of_rust[] = "memory allocation of 48 bytes failed";
    char said[sizeof(of_glibc)] = "";

    return job->kind == CALL_malloc && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
           pread(output, said, sizeof(said), 0) == (ssize_t)sizeof(said) &&
           (memcmp(said, of_glibc, sizeof(of_glibc) - 1) == 0 || memcmp(said, of_rust, sizeof(of_rust) - 1) == 0);
}

/* Whether all was well: also that nothing was printed. */
static int run(const struct fault *job, unsigned worker)
{
    char folder[300], uri[400];
    int output = memfd_create("output", MFD_CLOEXEC), status = -1, good;
    struct stat written;
    pid_t child;

    snprintf(folder, sizeof(folder), "%s/%u", base, worker);
    snprintf(uri, sizeof(uri), "sqlite:%s/dss.db", folder);
    CHECK(output >= 0 && mkdir(folder, 0700) == 0);
    shared->worker_struck[worker] = 0;
    child = fork();
    CHECK(child >= 0);
    if (child == 0)
        in_child(job, uri, output, worker);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(fstat(output, &written) == 0);
    good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && written.st_size == 0;
    if (!good && is_known(job, status, output)) {
        atomic_fetch_add(&shared->known, 1);
        good = 1;
    }
    if (!good && atomic_fetch_add(&shared->failures, 1) < SHOWN_FAILURES)
        show(job, status, output);
    close(output);
    test_remove_tree_(folder);
    return good;
}

/* ---- Which runs. ---- */

/* Every kind of call has to be made, or else the session tells nothing about it. */
static void count_calls(void)
{
    const struct fault none = {0};

    CHECK(run(&none, 0));
    memcpy(shared->calls, shared->worker_calls[0], sizeof(shared->calls));
    for (int kind = 0; kind < CALL_KINDS; kind++) {
        if (shared->calls[kind] == 0)
            fprintf(stderr, "no call of the kind %s was seen\n", call_kinds[kind].name);
        CHECK(shared->calls[kind] > 0);
    }
}

static void add_job(enum call kind, unsigned nth, int for_ever, int error)
{
    CHECK(job_count < MOST_RUNS);
    jobs[job_count++] = (struct fault){.kind = kind, .error = error, .for_ever = for_ever, .nth = nth};
}

static void add_jobs(enum call kind)
{
    const int *errnos = call_kinds[kind].errnos;

    for (unsigned nth = 1; nth <= shared->calls[kind]; nth++) {
        for (int i = 0; errnos[i] != 0; i++) {
            add_job(kind, nth, 0, errnos[i]);
            /* What is interrupted, or done by half, is simply done again, for ever if it has to be. */
            if (errnos[i] != EINTR && errnos[i] != PART)
                add_job(kind, nth, 1, errnos[i]);
        }
    }
}

/* Leaves so many of them, in an order by chance. */
static void choose(unsigned seed, unsigned most)
{
    for (unsigned i = job_count; i > 1; i--) {
        unsigned other = (unsigned)rand_r(&seed) % i;
        struct fault job = jobs[i - 1];

        jobs[i - 1] = jobs[other];
        jobs[other] = job;
    }
    if (most < job_count)
        job_count = most;
}

static void work(unsigned worker)
{
    unsigned number;

    while ((number = atomic_fetch_add(&shared->next, 1)) < job_count) {
        atomic_fetch_add(&shared->runs[jobs[number].kind], 1);
        run(&jobs[number], worker);
        if (shared->worker_struck[worker] == 0)
            atomic_fetch_add(&shared->idle, 1);
        if (number % 1000 == 999)
            printf("%u of %u runs, %u failed\n", number + 1, job_count, atomic_load(&shared->failures)), fflush(stdout);
    }
}

static void sweep(void)
{
    pid_t children[WORKERS];
    double start = test_seconds();

    for (unsigned worker = 0; worker < WORKERS; worker++) {
        children[worker] = fork();
        CHECK(children[worker] >= 0);
        if (children[worker] == 0) {
            work(worker);
            _exit(0);
        }
    }
    test_join_all(children, WORKERS);
    for (int kind = 0; kind < CALL_KINDS; kind++)
        printf("%-10s %5u calls, %6u runs\n", call_kinds[kind].name, shared->calls[kind], atomic_load(&shared->runs[kind]));
    printf("%u runs in %.1f s, %u failed; in %u the fault came to no call; in %u there was no memory for a thread\n", job_count,
           test_seconds() - start, atomic_load(&shared->failures), atomic_load(&shared->idle), atomic_load(&shared->known));
    CHECK(atomic_load(&shared->known) <= MOST_KNOWN);
}

static enum call kind_of(const char *name)
{
    for (int kind = 0; kind < CALL_KINDS; kind++) {
        if (strcmp(call_kinds[kind].name, name) == 0)
            return (enum call)kind;
    }
    CHECK(!"a kind of calls");
    return CALL_KINDS;
}

/* What the words of the command line ask for. */
static void add_asked(int count, char **words)
{
    if (strcmp(words[1], "one") == 0 && count == 6) {
        add_job(kind_of(words[2]), (unsigned)atoi(words[3]), strcmp(words[4], "ever") == 0, atoi(words[5]));
        return;
    }
    if (strcmp(words[1], "kind") == 0 && count == 3) {
        add_jobs(kind_of(words[2]));
        return;
    }
    for (int kind = 0; kind < CALL_KINDS; kind++)
        add_jobs((enum call)kind);
    choose(count > 2 ? (unsigned)atoi(words[2]) : 1, count > 3 ? (unsigned)atoi(words[3]) : MOST_RUNS);
}

int main(int argc, char **argv)
{
    const char *where = getenv("DSS_TEST_TMP");

    if (where == NULL)
        where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    CHECK(setenv("DSS_TEST_TMP", where, 1) == 0);
    snprintf(base, sizeof(base), "%s", test_dir());
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && argc >= 2);
    count_calls();
    add_asked(argc, argv);
    sweep();
    return atomic_load(&shared->failures) != 0;
}
