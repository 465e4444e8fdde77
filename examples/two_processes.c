/*
 * Two processes fight for one tape drive.
 *
 * Both children open the store by themselves and then do what the parent tells them through a pipe, so the order
 * of the scenes is certain without any waiting. Only the first scene is a race: there both ask at the same moment.
 */
#define _POSIX_C_SOURCE 200809L

#include <dss.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DRIVE "drive/LTO-3"

/* What the parent can tell a child to do. */
enum order { OPEN, LOCK, REFRESH, UNLOCK, STATUS };

struct archiver {
    const char *name;
    pid_t pid;
    int orders;  /* the parent writes an enum order into this pipe */
    int answers; /* and reads from this one what the call returned */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static const char *name_of(int rc)
{
    switch (rc) {
    case 0: return "0";
    case -EEXIST: return "-EEXIST";
    case -EACCES: return "-EACCES";
    case -ENOLCK: return "-ENOLCK";
    default: return dss_strerror(rc);
    }
}

/* Tells what a call gave, and why. */
static int show(const char *name, const char *call, int rc)
{
    printf("   %s (pid %d)  %-16s = %s\n", name, (int)getpid(), call, name_of(rc));
    if (rc != 0)
        printf("      %s\n", dss_last_error());
    fflush(stdout);
    return rc;
}

static void show_holder(const char *name, const char *owner, struct timeval since)
{
    char date[32];
    struct tm utc;

    gmtime_r(&since.tv_sec, &utc);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &utc);
    printf("   %s (pid %d)  dss_lock_status  = 0: %s is held by %s since %s.%06ld UTC\n", name, (int)getpid(), DRIVE,
           owner, date, (long)since.tv_usec);
    fflush(stdout);
}

static int show_status(struct dss_handle *dss, const char *name)
{
    char *owner = NULL;
    struct timeval since;
    int rc = dss_lock_status(dss, DRIVE, &owner, &since);

    if (rc == 0)
        show_holder(name, owner, since);
    else
        show(name, "dss_lock_status", rc);
    free(owner);
    return rc;
}

static int obey(struct dss_handle *dss, const char *name, enum order order)
{
    switch (order) {
    case OPEN: return show(name, "dss_init", dss_init(dss));
    case LOCK: return show(name, "dss_lock", dss_lock(dss, DRIVE, name));
    case REFRESH: return show(name, "dss_lock_refresh", dss_lock_refresh(dss, DRIVE, name));
    case UNLOCK: return show(name, "dss_unlock", dss_unlock(dss, DRIVE, name));
    case STATUS: return show_status(dss, name);
    }
    return -EINVAL;
}

/* The life of a child: it ends when the parent closes the pipe. */
static void work(const char *name, int orders, int answers)
{
    struct dss_handle dss = { NULL };
    enum order order;

    while (read(orders, &order, sizeof(order)) == (ssize_t)sizeof(order)) {
        int rc = obey(&dss, name, order);

        if (write(answers, &rc, sizeof(rc)) != (ssize_t)sizeof(rc))
            die("write");
    }
    dss_fini(&dss);
    exit(0);
}

/* A child must not keep the pipes of an older one open, or that one would never see their end. */
static void start(struct archiver *archiver, const struct archiver *older)
{
    int orders[2], answers[2];

    if (pipe(orders) != 0 || pipe(answers) != 0 || (archiver->pid = fork()) < 0)
        die("start");
    if (archiver->pid == 0) {
        close(orders[1]);
        close(answers[0]);
        if (older != NULL) {
            close(older->orders);
            close(older->answers);
        }
        work(archiver->name, orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    archiver->orders = orders[1];
    archiver->answers = answers[0];
}

static void tell(const struct archiver *archiver, enum order order)
{
    if (write(archiver->orders, &order, sizeof(order)) != (ssize_t)sizeof(order))
        die("write");
}

static int answer(const struct archiver *archiver)
{
    int rc;

    if (read(archiver->answers, &rc, sizeof(rc)) != (ssize_t)sizeof(rc)) {
        fprintf(stderr, "%s has died.\n", archiver->name);
        exit(1);
    }
    return rc;
}

/* Tells an archiver what to do, and ends the play where the answer is not the one that the library promises. */
static void scene(const struct archiver *archiver, enum order order, int promised)
{
    tell(archiver, order);
    if (answer(archiver) != promised) {
        fprintf(stderr, "That should have been %s.\n", name_of(promised));
        exit(1);
    }
}

static void say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

/* Both ask at the same moment; returns which one of the two won. */
static int fight(const struct archiver archivers[2])
{
    int first, second;

    tell(&archivers[0], LOCK);
    tell(&archivers[1], LOCK);
    first = answer(&archivers[0]);
    second = answer(&archivers[1]);
    if (!(first == 0 && second == -EEXIST) && !(first == -EEXIST && second == 0)) {
        fprintf(stderr, "Nobody won; is the drive held by somebody else?\n");
        exit(1);
    }
    return first == 0 ? 0 : 1;
}

static void play(const struct archiver archivers[2])
{
    int won;
    const struct archiver *winner, *loser;

    say("1. Each process opens the store.");
    scene(&archivers[0], OPEN, 0);
    scene(&archivers[1], OPEN, 0);

    say("2. Both want " DRIVE " at the same moment; exactly one gets it.");
    won = fight(archivers);
    winner = &archivers[won];
    loser = &archivers[1 - won];
    printf("   => %s won.\n", winner->name);

    say("3. The winner says that it is alive, and everybody can see it.");
    scene(winner, REFRESH, 0);
    scene(loser, STATUS, 0);

    say("4. The loser can not unlock what is not its own.");
    scene(loser, UNLOCK, -EACCES);

    say("5. The winner unlocks, and the loser takes over.");
    scene(winner, UNLOCK, 0);
    scene(loser, LOCK, 0);
    scene(winner, STATUS, 0);

    say("6. The drive is given back: there is no such lock any more.");
    scene(loser, UNLOCK, 0);
    scene(loser, STATUS, -ENOLCK);
}

int main(void)
{
    struct archiver archivers[2] = { { "archiver-A", 0, -1, -1 }, { "archiver-B", 0, -1, -1 } };
    int status, rc = 0;

    /* Only fflush(3) writes, so that the lines of two processes do not mix. */
    setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
    start(&archivers[0], NULL);
    start(&archivers[1], &archivers[0]);
    play(archivers);
    for (int i = 0; i < 2; i++) {
        close(archivers[i].orders);
        if (waitpid(archivers[i].pid, &status, 0) < 0 || status != 0)
            rc = 1;
    }
    return rc;
}
