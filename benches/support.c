/* The helpers of support.h. */
#define _GNU_SOURCE

#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANGS_AFTER_S = 300, MAX_CHILDREN = 100 };

struct progress {
    int64_t begun_ns;
    double planned_s, done_s;
};

struct settings settings;
static struct progress *progress;
static pid_t children[MAX_CHILDREN];
static int child_count;
static jmp_buf *failure; /* where an attempt of this very process goes on */

void die(const char *format, ...)
{
    va_list args;

    progress_clear();
    fputs("bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (failure != NULL)
        longjmp(*failure, 1);
    _exit(1); /* Children must not write the parent's buffered output. */
}

static void end_children(void)
{
    for (int i = 0; i < child_count; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    child_count = 0;
}

bool attempt(void (*function)(const void *arg), const void *arg)
{
    jmp_buf here;

    failure = &here;
    if (setjmp(here) != 0) {
        failure = NULL;
        end_children();
        return false;
    }
    function(arg);
    failure = NULL;
    return true;
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void sleep_until(int64_t moment_ns)
{
    struct timespec moment = { .tv_sec = moment_ns / 1000000000, .tv_nsec = moment_ns % 1000000000 };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL) == EINTR)
        ;
}

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        die("no shared memory: %s", strerror(errno));
    return memory;
}

pid_t fork_child(void)
{
    pid_t parent = getpid(), child;

    fflush(NULL);
    child = child_count < MAX_CHILDREN ? fork() : -1;
    if (child < 0)
        die("fork: %s", strerror(errno));
    if (child > 0)
        children[child_count++] = child;
    if (child == 0) {
        failure = NULL;
        child_count = 0;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        alarm(HANGS_AFTER_S);
    }
    return child;
}

static void forget_child(pid_t child)
{
    for (int i = 0; i < child_count; i++) {
        if (children[i] == child)
            children[i] = children[--child_count];
    }
}

void wait_for_child(pid_t child, const char *what)
{
    int status;

    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            die("%s: waitpid: %s", what, strerror(errno));
    }
    forget_child(child);
    if (WIFSIGNALED(status))
        die("%s: a worker ended by signal %d", what, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        die("%s: a worker failed", what);
}

void run_in_child(void (*function)(void *arg), void *arg, const char *what)
{
    pid_t child = fork_child();

    if (child == 0) {
        function(arg);
        _exit(0);
    }
    wait_for_child(child, what);
}

void progress_plan(double seconds)
{
    if (progress == NULL) {
        progress = shared_memory(sizeof(*progress));
        progress->begun_ns = now_ns();
    }
    progress->planned_s += seconds;
}

void progress_done(const char *what, double seconds)
{
    double spent_s, rest_s;

    progress->done_s += seconds;
    if (!isatty(STDERR_FILENO))
        return;
    spent_s = (double)(now_ns() - progress->begun_ns) / 1e9;
    rest_s = progress->planned_s - progress->done_s;
    if (progress->done_s > 0)
        rest_s *= spent_s / progress->done_s;
    fprintf(stderr, "\r\033[K%3.0f %%, about %d:%02d left (%s)", 100 * progress->done_s / progress->planned_s,
            (int)rest_s / 60, (int)rest_s % 60, what);
}

void progress_clear(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}
