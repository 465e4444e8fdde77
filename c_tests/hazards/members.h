/*
 * Processes that are told which call to make, one by one, and that may be killed by it: for stories
 * in which the order of the steps matters.
 */
#ifndef MEMBERS_H
#define MEMBERS_H

#include "contention/contention.h"

enum command { OPEN = 1, TAKE, FREE, SEE, CLOSE, END };

struct member {
    int number; /* 1 or 2, which is its name as an owner */
    pid_t process;
    struct line ask, answer;
    const char *uri;
};

static char case_name[160];
static int failures;

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s: ", case_name);                                                    \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static int do_command(struct member *member, struct dss_handle *handle, int command, int lock)
{
    char id[32], me[8], *owner = NULL;
    int rc;

    snprintf(id, sizeof(id), "lock %d", lock);
    snprintf(me, sizeof(me), "%d", member->number);
    switch (command) {
    case OPEN:
        return dss_init_uri(handle, member->uri);
    case TAKE:
        return dss_lock(handle, id, me);
    case FREE:
        return dss_unlock(handle, id, me);
    case SEE: /* the owner's number */
        rc = dss_lock_status(handle, id, &owner, NULL);
        rc = rc == 0 ? atoi(owner) : rc;
        free(owner);
        return rc;
    default:
        dss_fini(handle);
        return 0;
    }
}

static void be_member(void *arg)
{
    struct member *member = arg;
    struct dss_handle handle = {NULL};
    int command;

    while ((command = hear(&member->ask)) / 100 != END)
        tell(&member->answer, do_command(member, &handle, command / 100, command % 100));
    dss_fini(&handle);
}

/* -ECHILD if the process was killed. */
static int ask(struct member *member, int command, int lock)
{
    struct pollfd end = {.fd = member->answer.ends[0], .events = POLLIN};
    int rc, status = 0;

    if (member->process == 0)
        return -ECHILD;
    tell(&member->ask, command * 100 + lock);
    if (poll(&end, 1, HANGS_AFTER_S * 1000) == 1 && read(end.fd, &rc, sizeof(rc)) == sizeof(rc))
        return rc;
    (void)kill(member->process, SIGKILL);
    CHECK(waitpid(member->process, &status, 0) == member->process);
    EXPECT(0, "process %d %s %d", member->number,
           WTERMSIG(status) == SIGKILL ? "hangs, killed by" : "got signal", WTERMSIG(status));
    member->process = 0;
    return -ECHILD;
}

static void start(struct member *member, int number, const char *uri)
{
    line_make(&member->ask);
    line_make(&member->answer);
    member->number = number;
    member->uri = uri;
    member->process = spawn(be_member, member);
    close(member->answer.ends[1]);
}

static void stop(struct member *member)
{
    if (member->process != 0) {
        tell(&member->ask, END * 100);
        test_join(member->process);
    }
    close(member->ask.ends[0]);
    close(member->ask.ends[1]);
    close(member->answer.ends[0]);
}

#endif
