/*
 * An event loop that works under a lock which the library keeps for it.
 *
 * The program waits with poll(2) for two things: for jobs, which come through a pipe, and for events of its lock, which
 * has a lease of one second. DSS_LOCK_KEEPALIVE renews the lease in the background, so the work goes on for as long as
 * it likes, and a crash gives the lock back within a second. When an operator takes the lock away by force, the loop is
 * told, and stops in an orderly way.
 *
 * The rest of the world is a second process: it sends the jobs, and after some of them it is the operator. Should the
 * whole machine stand still for longer than the lease, then the lease is over, as it has to be, and all begins anew.
 */
#define _POSIX_C_SOURCE 200809L

#include <dss.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The library's call takes an array of locks; here it has one. */
static const char *const robot[1] = { "library/robot" };

#define TTL_MS 1000
#define JOB_EVERY_MS 250
#define JOBS_BEFORE_THE_FORCE 13 /* the first one comes at once, the last one after three leases */

struct loop {
    struct dss_handle dss;
    uint64_t token;
    long began_ms;
    int jobs_done;
    int64_t least_left_ms; /* the shortest rest of the lease that any job found */
    int at_risk;           /* begin nothing new */
    uint32_t lost;         /* why the lock is lost: DSS_REASON_..., or 0 while it is not */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Ends the program unless the call gave 0. */
static void must(const char *call, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", call, dss_last_error());
    exit(1);
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *name_of(uint32_t reason)
{
    switch (reason) {
    case DSS_REASON_EXPIRED: return "DSS_REASON_EXPIRED: it could not be renewed in time";
    case DSS_REASON_FORCED: return "DSS_REASON_FORCED: somebody removed it by force";
    case DSS_REASON_TRANSFERRED: return "DSS_REASON_TRANSFERRED: somebody gave it to another owner";
    case DSS_REASON_RESUMED: return "DSS_REASON_RESUMED: another process of our name took it over";
    case DSS_REASON_UNLOCKED: return "DSS_REASON_UNLOCKED: another process of our name unlocked it";
    default: return "a reason of a later version";
    }
}

static void take_the_lock(struct loop *loop)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE };
    struct dss_grant grant;

    opts.ttl_ms = TTL_MS;
    opts.wait_ms = 10000; /* a holder that crashed keeps it for no longer than its lease */
    must("dss_lockv", dss_lockv(&loop->dss, robot, 1, "mover", &opts, &grant));
    loop->token = grant.token;
    loop->jobs_done = 0;
    loop->at_risk = 0;
    loop->lost = 0;
    loop->least_left_ms = grant.left_ms;
    loop->began_ms = now_ms();
    printf("%s is ours for %" PRId64 " ms, and the library renews that.\n", robot[0], grant.left_ms);
}

static void on_event(struct loop *loop, const struct dss_event *event)
{
    switch (event->type) {
    case DSS_EVENT_AT_RISK:
        printf("   event: AT_RISK, %s was not renewed for long, %" PRId64 " ms are left\n", event->lock_id,
               event->left_ms);
        loop->at_risk = 1;
        break;
    case DSS_EVENT_SAFE:
        printf("   event: SAFE, %s is renewed again, %" PRId64 " ms are left\n", event->lock_id, event->left_ms);
        loop->at_risk = 0;
        break;
    case DSS_EVENT_LOST:
        printf("   event: LOST %s, %s\n", event->lock_id, name_of(event->reason));
        loop->lost = event->reason;
        break;
    default: /* of a later version */
        break;
    }
}

/* Several events may wait behind one wake-up, so it takes them until there is none. */
static void take_events(struct loop *loop)
{
    struct dss_event event;
    int rc;

    while ((rc = dss_event_next(&loop->dss, &event)) == 1) {
        if (event.token == loop->token) /* else it is about an earlier grant */
            on_event(loop, &event);
    }
    must("dss_event_next", rc);
}

/* One job, if the lock is still in time: that is asked before each, and costs nothing. */
static void take_a_job(struct loop *loop, int jobs)
{
    int64_t left_ms;
    char byte;

    if (dss_lock_left(&loop->dss, robot[0], loop->token, &left_ms) != 0) {
        take_events(loop); /* the loss may be known already, with its reason */
        if (loop->lost == 0) {
            printf("   The lease is over; its event is on the way.\n");
            loop->lost = DSS_REASON_EXPIRED;
        }
        return;
    }
    if (read(jobs, &byte, 1) != 1) {
        fprintf(stderr, "The rest of the world has ended.\n");
        exit(1);
    }
    loop->jobs_done++;
    if (left_ms < loop->least_left_ms)
        loop->least_left_ms = left_ms;
    printf("   %4ld ms: job %d is done, %" PRId64 " ms of the lease are left\n", now_ms() - loop->began_ms,
           loop->jobs_done, left_ms);
}

static void run(struct loop *loop, int jobs)
{
    struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

    fds[0].fd = dss_event_fd(&loop->dss);
    if (fds[0].fd < 0)
        must("dss_event_fd", fds[0].fd);
    while (loop->lost == 0) {
        fds[1].fd = loop->at_risk ? -1 : jobs; /* poll(2) passes over -1 */
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            die("poll");
        }
        /* Events first: there may be none to work for any more. */
        if (fds[0].revents != 0)
            take_events(loop);
        else if (fds[1].revents != 0)
            take_a_job(loop, jobs);
    }
}

static void operate(struct dss_handle *dss)
{
    printf("   The operator (pid %d) takes the lock away: dss_unlock() with a NULL owner.\n", (int)getpid());
    must("dss_unlock", dss_unlock(dss, robot[0], NULL));
}

/* The rest of the world. It ends when nobody takes its jobs any more. */
static void be_the_world(int jobs)
{
    const struct timespec pause = { .tv_nsec = JOB_EVERY_MS * 1000000 };
    struct dss_handle dss;

    must("dss_init", dss_init(&dss));
    for (int turn = 0;; turn++) {
        if (turn == JOBS_BEFORE_THE_FORCE)
            operate(&dss);
        else if (write(jobs, "", 1) != 1)
            break;
        nanosleep(&pause, NULL);
    }
    dss_fini(&dss);
    exit(0);
}

/* Gives the pipe from which the jobs come. The child opens the store by itself: locks are kept for the parent alone. */
static int start_the_world(pid_t *pid)
{
    int jobs[2];

    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || pipe(jobs) != 0 || (*pid = fork()) < 0)
        die("start");
    if (*pid == 0) {
        close(jobs[0]);
        be_the_world(jobs[1]);
    }
    close(jobs[1]);
    return jobs[0];
}

/* What was begun is done; what is still in the pipe is for the lock's next holder. There is nothing to unlock. */
static int stop(struct loop *loop)
{
    long worked_ms = now_ms() - loop->began_ms;
    int rc = dss_lock_left(&loop->dss, robot[0], loop->token, NULL);

    printf("   => The work is stopped, after %ld ms; dss_lock_left() gives %s.\n", worked_ms,
           rc == -ENOLCK ? "-ENOLCK" : dss_strerror(rc));
    printf("   => %d jobs were done under leases of %d ms; at least %" PRId64 " ms were left each time.\n",
           loop->jobs_done, TTL_MS, loop->least_left_ms);
    return rc == -ENOLCK && loop->lost == DSS_REASON_FORCED && worked_ms >= 3 * TTL_MS && loop->jobs_done > 0;
}

/* Works for as long as it has the lock. True if all came as the library promises. */
static int hold_and_work(struct loop *loop)
{
    int jobs, well, status;
    pid_t world;

    take_the_lock(loop);
    jobs = start_the_world(&world);
    run(loop, jobs);
    well = stop(loop);
    close(jobs);
    return waitpid(world, &status, 0) == world && status == 0 && well;
}

int main(void)
{
    struct loop loop = { .jobs_done = 0 };
    int well;

    /* Line by line, also into a pipe: the lines of both processes come in the order of what happens. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    must("dss_init", dss_init(&loop.dss));
    well = hold_and_work(&loop);
    for (int again = 0; again < 5 && loop.lost == DSS_REASON_EXPIRED; again++) {
        puts("The machine stood still for longer than the lease. Once more:");
        well = hold_and_work(&loop);
    }
    dss_fini(&loop.dss);
    return well ? 0 : 1;
}
