/*
 * Proves: the one thread that the library starts, to renew locks, runs from the first lock with DSS_LOCK_KEEPALIVE to
 * the last dss_fini() and not a moment without need; it has a name by which people know it, and takes no signal from
 * the host.
 */
#include "locks.h"

#define TTL_MS 60000
#define BIT(signal) (1ULL << ((signal) - 1))

static struct dss_handle one, two;

/* Empty where the thread is just ending. */
static void read_first_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "r");

    line[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(line, (int)size, file) == NULL)
        line[0] = '\0';
    CHECK(fclose(file) == 0);
}

/*
 * Whether the thread blocks every signal but SIGKILL and SIGSTOP, which can't be blocked, and two that are the C
 * library's own. Those that tell of a fault in the thread itself may be missing while it starts, the others never.
 */
static int blocks_signals(const char *thread)
{
    const unsigned long long optional = BIT(SIGKILL) | BIT(SIGSTOP) | BIT(32) | BIT(33);
    const unsigned long long of_faults =
        BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGSEGV) | BIT(SIGSYS);
    unsigned long long blocked = ~0ULL; /* of a thread that is just ending */
    char path[300], line[256];
    FILE *file;

    if (getenv("DSS_TEST_VALGRIND") != NULL)
        return 1; /* the mask that the system knows is valgrind's own */
    snprintf(path, sizeof(path), "/proc/self/task/%s/status", thread);
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "SigBlk: %llx", &blocked);
    CHECK(file == NULL || fclose(file) == 0);
    CHECK((blocked | optional | of_faults) == ~0ULL);
    return (blocked | optional) == ~0ULL;
}

/* How many threads the process has, and how many of them are the library's and block signals. */
static int count_threads(int *of_library)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    char path[300], name[64];
    int count = 0;

    *of_library = 0;
    CHECK(tasks != NULL);
    while ((task = readdir(tasks)) != NULL) {
        if (task->d_name[0] == '.')
            continue;
        count++;
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
        read_first_line(path, name, sizeof(name));
        if (strcmp(name, "dss-keepalive\n") == 0 && blocks_signals(task->d_name))
            ++*of_library;
    }
    CHECK(closedir(tasks) == 0);
    return count;
}

/* A thread gets its name a moment after it was started, and leaves /proc a moment after it was joined. */
static void check_threads(int expected_of_library)
{
    double begun = test_seconds();
    int of_library, count;

    while (count = count_threads(&of_library), of_library != expected_of_library || count != 1 + expected_of_library) {
        CHECK(test_seconds() - begun < 5);
        sleep_ms(1);
    }
}

/* A signal to the process waits for the host's own thread, which blocks it for the moment. */
static void check_takes_no_signal(void)
{
    static const int signals[] = { SIGUSR1, SIGTERM, SIGALRM, SIGCHLD, SIGHUP };
    sigset_t blocked, before, pending;
    size_t i;

    CHECK(sigemptyset(&blocked) == 0);
    for (i = 0; i < COUNT(signals); i++)
        CHECK(sigaddset(&blocked, signals[i]) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
    for (i = 0; i < COUNT(signals); i++)
        CHECK(kill(getpid(), signals[i]) == 0);
    CHECK_RC(dss_lock_refresh(&one, "kept", "ann"), 0);
    CHECK(sigpending(&pending) == 0);
    for (i = 0; i < COUNT(signals); i++) {
        CHECK(sigismember(&pending, signals[i]) == 1 || signals[i] == SIGCHLD);
        CHECK(signal(signals[i], SIG_IGN) != SIG_ERR); /* drops it */
        CHECK(signal(signals[i], SIG_DFL) != SIG_ERR);
    }
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

/* Whatever else the library does, it does in the host's threads. */
static void check_not_started(void)
{
    static const char *const ids[] = { "a", "b" };
    struct dss_lock_opts opts = options(0, 1000);

    check_threads(0);
    opts.wait_ms = 100;
    CHECK_RC(dss_lockv(&one, ids, 2, "ann", &opts, NULL), 0);
    opts.wait_ms = 10;
    CHECK(dss_lockv(&two, ids, 2, "bob", &opts, NULL) <= 0);
    opts = options(DSS_LOCK_KEEPALIVE, 0);
    CHECK_RC(dss_lockv(&one, ids, 2, "ann", &opts, NULL), -EINVAL);
    CHECK(dss_event_fd(&one) >= 0);
    CHECK_RC(dss_event_next(&one, NULL), 0);
    check_threads(0);
}

/* A child has its parent's handles, but not the thread: a lock of its own brings it one. */
static void check_child(void)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        check_threads(0);
        take(&one, "of the child", "ann", DSS_LOCK_KEEPALIVE, TTL_MS);
        check_threads(1);
        dss_fini(&one);
        dss_fini(&two);
        check_threads(0);
        end_child();
    }
    test_join(child);
    check_threads(1);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&one, test_uri()), 0);
    CHECK_RC(dss_init_uri(&two, test_uri()), 0);
    check_not_started();
    take(&one, "kept", "ann", DSS_LOCK_KEEPALIVE, TTL_MS);
    check_threads(1);
    take(&one, "kept too", "ann", DSS_LOCK_KEEPALIVE, TTL_MS);
    take(&two, "kept by the other", "ann", DSS_LOCK_KEEPALIVE, TTL_MS);
    check_threads(1);
    check_takes_no_signal();
    if (!test_store_is("memory"))
        check_child(); /* a store in memory stays with the parent */
    dss_fini(&one);
    check_threads(1);
    dss_fini(&two);
    check_threads(0);

    CHECK_RC(dss_init_uri(&one, test_uri()), 0);
    check_threads(0);
    take(&one, "again", "ann", DSS_LOCK_KEEPALIVE, TTL_MS);
    check_threads(1);
    dss_fini(&one);
    check_threads(0);
    return 0;
}
