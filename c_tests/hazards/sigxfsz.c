/*
 * A daemon runs with a file size limit (`ulimit -f`), and the store's file comes near it.
 *
 * A write beyond the limit raises SIGXFSZ, which kills a process that never heard of it. The library must keep the
 * signal to itself and return an error; it must not take away a SIGXFSZ that the host itself has pending, and it must
 * leave the host's signal mask as it was.
 */
#include "hazard.h"

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

int main(void)
{
    (void)test_uri();
    test_join(spawn(with_default_action, NULL));
    test_join(spawn(with_hosts_own_signal, NULL));
    test_join(spawn(init_under_limit, NULL));
    return 0;
}
