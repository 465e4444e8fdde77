/*
 * What a lease promises to those who wait, and why it takes a fence as well.
 *
 * archiver-A takes a lock for one second and is paused in the middle of its work, as a swapped-out virtual machine or a
 * debugger would pause it. archiver-B gets the lock when the lease is over. When A goes on it still believes that the
 * lock is its own, and no lock service in the world can hold a paused process back. The resource can: it remembers the
 * highest token that it has seen, and refuses every lower one.
 *
 * The processes wait for each other's word, so the order is certain; only the lease takes its time.
 */
#define _POSIX_C_SOURCE 200809L

#include <dss.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The library's calls take an array of locks; here it has one. */
static const char *const catalogue[1] = { "catalogue" };

/* What the lock protects: a record in a file. */
struct resource {
    uint64_t highest;       /* the highest token it has seen: this is the fence */
    char text[32];          /* what it holds */
    char without_fence[32]; /* what it would hold if it took every write */
};

static int resource_file;

struct archiver {
    const char *name;
    pid_t pid;
    int word; /* read from it what the archiver says */
    int go;   /* write into it to let the archiver go on */
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
    case -EACCES: return "-EACCES";
    case -ENOLCK: return "-ENOLCK";
    default: return dss_strerror(rc);
    }
}

/* Tells what a call gave, and ends the play where that is not what the library promises. */
static void expect(const char *name, const char *call, int rc, int promised)
{
    printf("   %s (pid %d)  %-17s = %s\n", name, (int)getpid(), call, name_of(rc));
    if (rc != 0)
        printf("      %s\n", dss_last_error());
    if (rc != promised) {
        fprintf(stderr, "That should have been %s.\n", name_of(promised));
        exit(1);
    }
}

static struct resource resource_read(void)
{
    struct resource resource;

    if (pread(resource_file, &resource, sizeof(resource), 0) != (ssize_t)sizeof(resource))
        die("pread");
    return resource;
}

/* The look at the token and the write are one step: nobody else may come between them. */
static int resource_write(uint64_t token, const char *text)
{
    struct flock whole_file = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct resource resource;
    int refused;

    if (fcntl(resource_file, F_SETLKW, &whole_file) != 0)
        die("fcntl");
    resource = resource_read();
    snprintf(resource.without_fence, sizeof(resource.without_fence), "%s", text);
    refused = token < resource.highest;
    if (!refused) {
        resource.highest = token;
        snprintf(resource.text, sizeof(resource.text), "%s", text);
    }
    whole_file.l_type = F_UNLCK;
    if (pwrite(resource_file, &resource, sizeof(resource), 0) != (ssize_t)sizeof(resource) ||
        fcntl(resource_file, F_SETLKW, &whole_file) != 0)
        die("pwrite");
    return refused ? -ESTALE : 0;
}

static void show_write(const char *name, uint64_t token, const char *text, int promised)
{
    int rc = resource_write(token, text);

    printf("   %s (pid %d)  writes \"%s\" with token %" PRIu64 ": %s\n", name, (int)getpid(), text, token,
           rc == 0 ? "written" : "REFUSED, a higher token was here");
    if (rc != promised)
        exit(1);
}

/* Takes the lock for so long, and waits for it if need be. */
static struct dss_grant take(struct dss_handle *dss, const char *name, uint64_t ttl_ms)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .ttl_ms = ttl_ms, .wait_ms = 30000 };
    struct dss_grant grant;
    struct timespec asked, got;

    clock_gettime(CLOCK_MONOTONIC, &asked);
    expect(name, "dss_lockv", dss_lockv(dss, catalogue, 1, name, &opts, &grant), 0);
    clock_gettime(CLOCK_MONOTONIC, &got);
    printf("      after %ld ms, with token %" PRIu64 ", for %" PRId64 " ms\n",
           (long)(got.tv_sec - asked.tv_sec) * 1000 + (got.tv_nsec - asked.tv_nsec) / 1000000, grant.token,
           grant.left_ms);
    return grant;
}

/* Tells the parent that a part is done, and waits until it says how to go on. */
static void await_go(const struct archiver *me)
{
    char byte = 0;

    if (write(me->word, &byte, 1) != 1 || read(me->go, &byte, 1) != 1)
        exit(1);
}

static void play_a(const struct archiver *me)
{
    struct dss_handle dss;
    struct dss_grant grant;

    expect(me->name, "dss_init", dss_init(&dss), 0);
    grant = take(&dss, me->name, 1000);
    show_write(me->name, grant.token, "A: 3 files", 0);
    await_go(me);

    /* Asking helps against most delays, and costs nothing; but one could be paused right after the answer, too. */
    expect(me->name, "dss_lock_left", dss_lock_left(&dss, catalogue[0], grant.token, NULL), -ENOLCK);
    show_write(me->name, grant.token, "A: 4 files", -ESTALE);
    expect(me->name, "dss_lock_refreshv", dss_lock_refreshv(&dss, catalogue, 1, me->name, &grant.token, NULL), -EACCES);
    expect(me->name, "dss_unlockv", dss_unlockv(&dss, catalogue, 1, me->name, &grant.token, NULL), -EACCES);
    dss_fini(&dss);
}

static void play_b(const struct archiver *me)
{
    struct dss_handle dss;
    struct dss_grant grant;
    char *owner;

    expect(me->name, "dss_init", dss_init(&dss), 0);
    grant = take(&dss, me->name, 10000);
    if ((grant.flags & DSS_GRANT_OWNERDEAD) == 0)
        exit(1);
    printf("      DSS_GRANT_OWNERDEAD: the last holder never unlocked, so look first; it left \"%s\"\n",
           resource_read().text);
    show_write(me->name, grant.token, "B: 90 files", 0);
    await_go(me);

    expect(me->name, "dss_lock_status", dss_lock_status(&dss, catalogue[0], &owner, NULL), 0);
    printf("      held by %s\n", owner);
    if (strcmp(owner, me->name) != 0)
        exit(1);
    free(owner);
    expect(me->name, "dss_unlockv", dss_unlockv(&dss, catalogue, 1, me->name, &grant.token, NULL), 0);
    dss_fini(&dss);
}

/* False if there can't be another process. */
static int start(struct archiver *archiver, void (*play)(const struct archiver *))
{
    int word[2], go[2];

    if (pipe(word) != 0 || pipe(go) != 0 || (archiver->pid = fork()) < 0)
        return 0;
    archiver->word = archiver->pid == 0 ? word[1] : word[0];
    archiver->go = archiver->pid == 0 ? go[0] : go[1];
    close(archiver->pid == 0 ? word[0] : word[1]);
    close(archiver->pid == 0 ? go[1] : go[0]);
    if (archiver->pid == 0) {
        play(archiver);
        exit(0);
    }
    return 1;
}

/* Waits until the archiver has done its first part; false if it died. */
static int first_part_done(const struct archiver *archiver)
{
    char byte;

    return read(archiver->word, &byte, 1) == 1;
}

/* Lets the archiver do its second part; true if all went as promised. */
static int ends_well(const struct archiver *archiver)
{
    int status = -1;

    return write(archiver->go, "", 1) == 1 && waitpid(archiver->pid, &status, 0) == archiver->pid && status == 0;
}

/* Whatever becomes of B meanwhile, A does not stay stopped. */
static int lease_runs_out(const struct archiver *a, struct archiver *b)
{
    int status, well;

    puts("2. A is paused: SIGSTOP. It knows nothing of the time that passes.");
    well = kill(a->pid, SIGSTOP) == 0 && waitpid(a->pid, &status, WUNTRACED) == a->pid && WIFSTOPPED(status);
    puts("3. B waits, and has the lock when A's lease is over.");
    well = well && start(b, play_b) && first_part_done(b);
    puts("4. A goes on: SIGCONT. It would write what it had in hand, and is too late for everything.");
    return kill(a->pid, SIGCONT) == 0 && well;
}

int main(void)
{
    struct archiver a = { .name = "archiver-A" }, b = { .name = "archiver-B" };
    struct resource resource = { .text = "nothing", .without_fence = "nothing" };
    FILE *file = tmpfile();

    /* Line by line, also into a pipe: the lines of three processes come in the order of what happens. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (file == NULL || (resource_file = fileno(file)) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        die("start");
    if (pwrite(resource_file, &resource, sizeof(resource), 0) != (ssize_t)sizeof(resource))
        die("pwrite");

    puts("1. A takes the lock with a lease of one second, and begins to work.");
    if (!start(&a, play_a) || !first_part_done(&a) || !lease_runs_out(&a, &b) || !ends_well(&a))
        return 1;
    puts("5. B has noticed nothing of all that: the lock is still its own.");
    if (!ends_well(&b))
        return 1;

    resource = resource_read();
    printf("   => The resource holds \"%s\". Without the fence it would hold \"%s\": B's work would be lost.\n",
           resource.text, resource.without_fence);
    return strcmp(resource.text, "B: 90 files") == 0 && strcmp(resource.without_fence, "A: 4 files") == 0 ? 0 : 1;
}
