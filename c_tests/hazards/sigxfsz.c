/*
 * A daemon runs with a file size limit (`ulimit -f`), and the store's file comes near it.
 *
 * A write beyond the limit raises SIGXFSZ, which kills a process that never heard of it. The
 * library must keep the signal to itself and return an error; it must not take away a SIGXFSZ that
 * the host itself has pending, and it must leave the host's signal mask as it was.
 *
 * The limit may be hit anywhere in a frame of the log. The header of a frame was once held back
 * until its page came: where the limit left room for no more than the header, it was written after
 * the transaction had ended, over the frames of another process, and locks that this one had been
 * granted were gone.
 *
 *   sigxfsz [all]
 *
 * With `all`, the limit is put at each byte of a frame.
 */
#include "contention/contention.h"

#include <sys/resource.h>

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void lift_limit(void)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* What the contract has for a file that can't grow. */
static int is_no_room(int rc)
{
    return rc == -EIO || rc == -ENOSPC || rc == -EDQUOT;
}

static int is_pending(void)
{
    sigset_t pending;

    CHECK(sigpending(&pending) == 0);
    return sigismember(&pending, SIGXFSZ);
}

static int is_blocked(void)
{
    sigset_t mask;

    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    return sigismember(&mask, SIGXFSZ);
}

/* Locks one id after the other until the file can't grow; returns how many were granted. */
static int lock_until_full(struct dss_handle *handle)
{
    char lock_id[32];

    for (int i = 0; i < 10000; i++) {
        int rc;

        snprintf(lock_id, sizeof(lock_id), "id %d", i);
        rc = dss_lock(handle, lock_id, "ann");
        if (rc != 0) {
            CHECK(is_no_room(rc));
            CHECK(dss_last_error()[0] != '\0');
            CHECK_RC(dss_lock_status(handle, lock_id, NULL, NULL), -ENOLCK);
            return i;
        }
    }
    CHECK(!"the limit was reached");
    return -1;
}

static void locks_are_intact(struct dss_handle *handle, int count)
{
    char lock_id[32];

    for (int i = 0; i < count; i++) {
        snprintf(lock_id, sizeof(lock_id), "id %d", i);
        CHECK_RC(dss_lock(handle, lock_id, "bob"), -EEXIST);
    }
    snprintf(lock_id, sizeof(lock_id), "id %d", count);
    CHECK_RC(dss_lock(handle, lock_id, "ann"), 0);
    for (int i = 0; i <= count; i++) {
        snprintf(lock_id, sizeof(lock_id), "id %d", i);
        CHECK_RC(dss_unlock(handle, lock_id, "ann"), 0);
    }
}

static void with_default_action(void *arg)
{
    struct dss_handle handle;
    int count;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    limit_file_size(64 * 1024);
    count = lock_until_full(&handle);
    CHECK(!is_blocked() && !is_pending());
    lift_limit();
    locks_are_intact(&handle, count);
    dss_fini(&handle);
}

static volatile sig_atomic_t handled;

static void count_signal(int number)
{
    (void)number;
    handled++;
}

/* The host has a handler, and one SIGXFSZ of its own that waits behind its mask. */
static void with_hosts_own_signal(void *arg)
{
    struct dss_handle handle;
    sigset_t set;
    int count;

    (void)arg;
    CHECK(signal(SIGXFSZ, count_signal) != SIG_ERR);
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGXFSZ) == 0);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    limit_file_size(64 * 1024);
    count = lock_until_full(&handle);
    CHECK(handled == 0);
    /* Less than any change of the store needs. */
    limit_file_size(1024);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(is_no_room(dss_lock(&handle, "without its signal", "ann")));
    CHECK(is_blocked() && !is_pending());
    CHECK(raise(SIGXFSZ) == 0);
    CHECK(is_no_room(dss_lock(&handle, "beside its signal", "ann")));
    CHECK(is_blocked() && is_pending());
    CHECK(handled == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    CHECK(handled == 1);
    lift_limit();
    locks_are_intact(&handle, count);
    dss_fini(&handle);
}

/* A store that can't even be made. */
static void init_under_limit(void *arg)
{
    char *path = test_path("small.db"), *uri = sqlite_uri(path, "");
    struct dss_handle handle;

    (void)arg;
    for (rlim_t bytes = 0; bytes <= 40 * 1024; bytes += 4096) {
        int rc;

        limit_file_size(bytes);
        rc = dss_init_uri(&handle, uri);
        if (rc != 0)
            CHECK(is_no_room(rc) && handle.dh_conn == NULL);
        dss_fini(&handle);
        CHECK(bytes != 0 || rc != 0);
    }
    lift_limit();
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
    CHECK(!is_blocked() && !is_pending());
    free(uri);
    free(path);
}

/* ---- In the middle of a frame, with another process at work ---- */

#define FRAME_BYTES (24 + 4096)
#define ROUNDS_OF_A_STORE 50 /* so few that the log only grows */

struct frames {
    const char *uri;
    struct line ask, answer;
    _Atomic int *acknowledged, *stop; /* of the neighbour, which has the locks "neighbour 0", ... */
    int is_racing; /* the neighbour works all the time, else when it is told to */
};

static void take_for_neighbour(struct dss_handle *handle, struct frames *frames)
{
    char id[32];

    snprintf(id, sizeof(id), "neighbour %d", atomic_load(frames->acknowledged));
    CHECK_RC(dss_lock(handle, id, "neighbour"), 0);
    atomic_fetch_add(frames->acknowledged, 1);
}

static void be_neighbour(void *arg)
{
    struct frames *frames = arg;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, frames->uri), 0);
    tell(&frames->answer, 1);
    while (frames->is_racing ? !atomic_load(frames->stop) : hear(&frames->ask) != 0) {
        if (atomic_load(frames->acknowledged) < 100)
            take_for_neighbour(&handle, frames);
        else {
            CHECK_RC(dss_lock(&handle, "pair", "neighbour"), 0);
            CHECK_RC(dss_unlock(&handle, "pair", "neighbour"), 0);
        }
        if (!frames->is_racing)
            tell(&frames->answer, 1);
    }
    dss_fini(&handle);
}

static rlim_t size_of_log(const char *uri)
{
    char path[600];
    struct stat found;

    snprintf(path, sizeof(path), "%s-wal", uri + strlen("sqlite:"));
    CHECK(stat(path, &found) == 0);
    return (rlim_t)found.st_size;
}

/* The calls of a host whose limit is so many bytes behind the end of the log; 1 if its lock was
 * granted. */
static int lock_at_limit(struct dss_handle *handle, const struct frames *frames, int bytes)
{
    char id[32];
    int rc;

    snprintf(id, sizeof(id), "host %d", bytes);
    limit_file_size(size_of_log(frames->uri) + (rlim_t)bytes);
    rc = dss_lock(handle, id, "host");
    if (rc != 0 && !is_no_room(rc))
        CHECK_RC(rc, -EIO);
    CHECK(!is_blocked() && !is_pending());
    lift_limit();
    return rc == 0;
}

static void check_owner_of_all(struct dss_handle *handle, const char *owner, int from, int to,
                               int step)
{
    char id[32];

    for (int i = from; i < to; i += step) {
        snprintf(id, sizeof(id), "%s %d", owner, i);
        test_check_owner(handle, id, owner);
        CHECK_RC(dss_lock(handle, id, "thief"), -EEXIST);
    }
}

/* Some limits on one store: from so many bytes behind the end of the log on, in steps. */
static void limits_on_a_store(struct frames *frames, int from, int step)
{
    int to = from + ROUNDS_OF_A_STORE * step;
    char granted[FRAME_BYTES + 16] = {0}, id[32];
    struct dss_handle handle;
    pid_t neighbour = spawn(be_neighbour, frames);

    to = to < FRAME_BYTES + 16 ? to : FRAME_BYTES + 16;
    CHECK(hear(&frames->answer) == 1);
    CHECK_RC(dss_init_uri(&handle, frames->uri), 0);
    CHECK_RC(dss_lock(&handle, "first", "host"), 0);
    for (int bytes = from; bytes < to; bytes += step) {
        granted[bytes] = (char)lock_at_limit(&handle, frames, bytes);
        if (!frames->is_racing) {
            tell(&frames->ask, 1);
            CHECK(hear(&frames->answer) == 1);
        }
    }
    atomic_store(frames->stop, 1);
    if (!frames->is_racing)
        tell(&frames->ask, 0);
    test_join(neighbour);
    for (int round = 0; round < 2;
         round++) { /* as the host sees it, and who opens the store anew */
        check_owner_of_all(&handle, "neighbour", 0, atomic_load(frames->acknowledged), 1);
        for (int bytes = from; bytes < to; bytes += step) {
            snprintf(id, sizeof(id), "host %d", bytes);
            test_check_owner(&handle, id, granted[bytes] ? "host" : NULL);
        }
        dss_fini(&handle);
        CHECK_RC(dss_init_uri(&handle, frames->uri), 0);
    }
    dss_fini(&handle);
}

static void in_a_frame(int step, int is_racing)
{
    struct frames frames = {.is_racing = is_racing};
    int number = 0;

    frames.acknowledged = shared_memory(sizeof(*frames.acknowledged));
    frames.stop = shared_memory(sizeof(*frames.stop));
    line_make(&frames.ask);
    line_make(&frames.answer);
    for (int from = 0; from < FRAME_BYTES + 16; from += ROUNDS_OF_A_STORE * step) {
        char name[32];
        char *uri;

        snprintf(name, sizeof(name), "frames-%d-%d", is_racing, number++);
        uri = test_other_uri(name);
        frames.uri = uri;
        atomic_store(frames.acknowledged, 0);
        atomic_store(frames.stop, 0);
        limits_on_a_store(&frames, from, step);
        free(uri);
    }
}

static void alone_at_limit(void *arg)
{
    in_a_frame(*(int *)arg, 0);
}

static void racing_at_limit(void *arg)
{
    in_a_frame(*(int *)arg, 1);
}

int main(int argc, char **argv)
{
    int step = argc > 1 && strcmp(argv[1], "all") == 0 ? 1 : test_repeat(8, 200);

    use_files_in_memory();
    test_join(spawn(alone_at_limit, &step));
    if (test_repeat(1, 0)) /* a checker runs one process after the other */
        test_join(spawn(racing_at_limit, &step));
    test_join(spawn(with_default_action, NULL));
    test_join(spawn(with_hosts_own_signal, NULL));
    test_join(spawn(init_under_limit, NULL));
    return 0;
}
