/*
 * A host starts programs by vfork, posix_spawn, system and popen while its threads are in calls.
 *
 * Proves: calls and programs go on beside each other, no program gets a descriptor of the library, and none is leaked.
 */
#include "rude.h"

#include <spawn.h>

#define ROUNDS 15

extern char **environ;

static void end_well(pid_t child)
{
    int status = -1;

    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void by_vfork(void)
{
    pid_t child = vfork();

    CHECK(child >= 0);
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    end_well(child);
}

static void by_spawn(void)
{
    char *arguments[] = {"true", NULL};
    pid_t child;

    CHECK(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0);
    end_well(child);
}

/* The program shows what it has open: 0 to 2, the folder that it reads, and what the test had before. */
static void by_popen(int others)
{
    FILE *pipe = popen("exec ls /proc/self/fd | wc -l", "re");
    int count = -1;

    CHECK(pipe != NULL && fscanf(pipe, "%d", &count) == 1);
    CHECK(pclose(pipe) == 0);
    CHECK(count <= 4 + others);
}

/* Those above 2 that a program would get. */
static int inherited(void)
{
    int count = 0;

    for (int fd = 3; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);

        count += flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
    return count;
}

int main(void)
{
    struct dss_handle handle;
    struct crew crew;
    int others = inherited(), before;
    long pairs;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    crew_begins(&crew, &handle);
    pairs = atomic_load(&crew.pairs);
    by_popen(others);
    before = descriptors();
    for (int i = 0; i < ROUNDS; i++) {
        by_vfork();
        by_spawn();
        CHECK(system("exit 0") == 0);
        by_popen(others);
        CHECK(inherited() == others);
    }
    while (atomic_load(&crew.pairs) == pairs)
        sched_yield();
    crew_ends(&crew);
    CHECK(descriptors() <= before + 2); /* what a connection has open at the moment differs */
    dss_fini(&handle);
    return 0;
}
