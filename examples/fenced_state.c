/*
 * A write that a stale holder can't make.
 *
 * archiver-A takes a lock for one second and is paused in the middle of its work. archiver-B gets the lock when the lease is
 * over, and sets the value that it protects. When A goes on it still believes that the lock is its own, and sets the value too:
 * with DSS_GUARD_LOCK the store looks at the lock in the transaction that writes, so A gets -ESTALE, and B's value stands.
 *
 * lease_and_fence shows what a resource of your own has to do for that. Here it is the store that does it.
 */
#define _POSIX_C_SOURCE 200809L

#include <dss.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The lock, and the key of the value that it protects; they may have the same name. */
static const char *const drive = "drive/3";

/* Sets the value only if the lock is still held by the grant of this token. This is all there is to it. */
static int set_fenced(struct dss_handle *dss, const char *value, uint64_t token)
{
    struct dss_guard guard = { .size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = drive, .token = token };

    return dss_set(dss, drive, value, strlen(value), &guard, NULL);
}

/* Tells what a call gave, and ends the play where that is not what the library promises. */
static void expect(const char *name, const char *call, int rc, int promised)
{
    printf("   %s (pid %d)  %s: %s\n", name, (int)getpid(), call, rc == 0 ? "0" : rc == -ESTALE ? "-ESTALE" : dss_strerror(rc));
    if (rc != 0)
        printf("      %s\n", dss_last_error());
    if (rc != promised)
        exit(1);
}

static void show_value(struct dss_handle *dss, const char *name, const char *promised)
{
    void *value; /* with a NUL behind it */
    uint64_t version;

    expect(name, "dss_get", dss_get(dss, drive, &value, NULL, &version), 0);
    printf("      \"%s\", version %" PRIu64 "\n", (char *)value, version);
    if (strcmp(value, promised) != 0)
        exit(1);
    free(value);
}

/* Takes the lock for so long, waiting for it if need be. Gives its token. */
static uint64_t take(struct dss_handle *dss, const char *name, uint64_t ttl_ms)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .ttl_ms = ttl_ms, .wait_ms = 30000 };
    struct dss_grant grant;

    expect(name, "dss_lockv", dss_lockv(dss, &drive, 1, name, &opts, &grant), 0);
    printf("      with token %" PRIu64 ", for %" PRId64 " ms\n", grant.token, grant.left_ms);
    return grant.token;
}

/* Tells by one pipe that it has the lock, and learns by the other one that it shall go on. */
static void play_a(int tell, int hear)
{
    struct dss_handle dss;
    uint64_t token;
    char byte = 0;

    expect("archiver-A", "dss_init", dss_init(&dss), 0);
    token = take(&dss, "archiver-A", 1000);
    expect("archiver-A", "dss_set \"A: tape 7 is in\"", set_fenced(&dss, "A: tape 7 is in", token), 0);
    if (write(tell, &byte, 1) != 1 || read(hear, &byte, 1) != 1)
        exit(1);
    expect("archiver-A", "dss_set \"A: tape 7 is out\"", set_fenced(&dss, "A: tape 7 is out", token), -ESTALE);
    dss_fini(&dss);
}

static void play_b(struct dss_handle *dss)
{
    uint64_t token = take(dss, "archiver-B", 30000);

    show_value(dss, "archiver-B", "A: tape 7 is in");
    expect("archiver-B", "dss_set \"B: tape 9 is in\"", set_fenced(dss, "B: tape 9 is in", token), 0);
}

/* ---- A as a process that this one starts, stops and lets go on. Whatever goes wrong, it does not stay stopped. ---- */

static pid_t a; /* 0: there is none, or this is A */
static int word[2], go[2];

static void end_a(void)
{
    if (a > 0)
        kill(a, SIGKILL);
}

static void need(int is_so)
{
    if (is_so)
        return;
    perror("fenced_state");
    exit(1);
}

static void start_a(void)
{
    char byte;

    need(atexit(end_a) == 0 && pipe(word) == 0 && pipe(go) == 0 && (a = fork()) >= 0);
    close(word[a != 0]);
    close(go[a == 0]);
    if (a == 0) {
        play_a(word[1], go[0]);
        exit(0);
    }
    need(read(word[0], &byte, 1) == 1);
}

static void stop_a(void)
{
    int status;

    need(kill(a, SIGSTOP) == 0 && waitpid(a, &status, WUNTRACED) == a && WIFSTOPPED(status));
}

static void let_a_go_on(void)
{
    int status = -1;

    need(kill(a, SIGCONT) == 0 && write(go[1], "", 1) == 1 && waitpid(a, &status, 0) == a);
    a = 0;
    need(status == 0);
}

int main(void)
{
    struct dss_handle dss;

    /* Line by line, also into a pipe: the lines of both processes come in the order of what happens. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    puts("1. A takes the lock with a lease of one second, and sets the value.");
    start_a();
    puts("2. A is paused: SIGSTOP. It knows nothing of the time that passes.");
    stop_a();
    puts("3. B waits, has the lock when A's lease is over, and sets the value.");
    expect("archiver-B", "dss_init", dss_init(&dss), 0);
    play_b(&dss);
    puts("4. A goes on: SIGCONT. It sets the value, too, with the token that it has.");
    let_a_go_on();
    puts("5. B's value stands.");
    show_value(&dss, "archiver-B", "B: tape 9 is in");
    expect("archiver-B", "dss_unlock", dss_unlock(&dss, drive, "archiver-B"), 0);
    dss_fini(&dss);
    return 0;
}
