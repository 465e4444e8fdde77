/*
 * What the hazard programs share beyond ../test.h: processes and threads that tell each other where they are, a
 * mount namespace of their own, and a user without rights. To be included first, since it asks for GNU's interfaces.
 */
#ifndef HAZARD_H
#define HAZARD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "test.h"

/* The user and group that own nothing. */
#define NOBODY 65534

/* `sqlite:` and the path of a file in test_dir(), with the options; the caller frees it. */
static inline char *sqlite_uri(const char *path, const char *options)
{
    size_t size = strlen("sqlite:?") + strlen(path) + strlen(options) + 1;
    char *uri = malloc(size);

    CHECK(uri != NULL);
    snprintf(uri, size, "sqlite:%s%s%s", path, options[0] != '\0' ? "?" : "", options);
    return uri;
}

/*
 * Ends a forked child well. It leaves alone what its parent had open, and a leak checker would count that against it:
 * so it becomes another program instead of exiting.
 */
static inline void end_child(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(0);
}

/* Runs the work in a child process, which ends well if the work returns, and is killed if this thread ends first. */
static inline pid_t spawn(void (*work)(void *), void *arg)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        work(arg);
        end_child();
    }
    return child;
}

/* A one-way line between two processes or threads: what was told is waited for, and nothing sleeps. */
struct line {
    int ends[2];
};

static inline void line_make(struct line *line)
{
    CHECK(pipe2(line->ends, O_CLOEXEC) == 0);
}

static inline void tell(struct line *line, int value)
{
    CHECK(write(line->ends[1], &value, sizeof(value)) == (ssize_t)sizeof(value));
}

/* Whoever should speak may have failed instead, and this process has the other end open too: so not for ever. */
static inline int hear(struct line *line)
{
    struct pollfd end = {.fd = line->ends[0], .events = POLLIN};
    int value = -1;

    CHECK(poll(&end, 1, 20000) == 1);
    CHECK(read(line->ends[0], &value, sizeof(value)) == (ssize_t)sizeof(value));
    return value;
}

static inline pthread_t start_thread(void *(*work)(void *), void *arg)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, work, arg) == 0);
    return thread;
}

static inline void join_thread(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Waits a random time of up to so many microseconds: for events that shall come at random moments. */
static inline void pause_at_random(unsigned *seed, long max_us)
{
    struct timespec pause = {0, (rand_r(seed) % max_us) * 1000};

    nanosleep(&pause, NULL);
}

static inline void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

static inline int exists(const char *path)
{
    struct stat found;

    return lstat(path, &found) == 0;
}

/* Maps this user to root of a new user namespace, the way by which a user without rights may mount. */
static inline int become_root_of_namespace(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char map[64];

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
    write_text("/proc/self/uid_map", map);
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
    write_text("/proc/self/gid_map", map);
    return 0;
}

/*
 * Gives this process mounts that nobody else sees. They go away with it, so a test mounts in a child process and
 * removes its folder in the parent. A machine where that is impossible fails the test: a skipped guard is no guard.
 */
static inline void private_mounts(void)
{
    int rc = geteuid() == 0 ? unshare(CLONE_NEWNS) : become_root_of_namespace();

    if (rc != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fprintf(stderr,
                "this test mounts file systems of its own: it needs root (CAP_SYS_ADMIN), or a kernel that lets a\n"
                "user make a user namespace (kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0): %s\n",
                strerror(errno));
        exit(1);
    }
}

static inline void mount_tmpfs(const char *where, const char *options)
{
    CHECK(mount("tmpfs", where, "tmpfs", 0, options) == 0);
}

/* Takes the rights of root from this process for good; one that has none stays what it is. */
static inline void become_nobody(void)
{
    if (geteuid() != 0)
        return;
    CHECK(setgroups(0, NULL) == 0);
    CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

/* A folder in test_dir() that belongs to the user that become_nobody() makes of us; the caller frees its path. */
static inline char *folder_of_nobody(const char *name)
{
    char *path = test_path(name);

    CHECK(chmod(test_dir(), 0711) == 0);
    CHECK(mkdir(path, 0755) == 0);
    if (geteuid() == 0)
        CHECK(chown(path, NOBODY, NOBODY) == 0);
    return path;
}

#endif
