/*
 * Servers of a test's own, which it may stop and kill: scripts/servers.sh, called from a test. They end with the process that
 * has called first, however that ends.
 */
#ifndef SERVERS_H
#define SERVERS_H

#include "test.h"

static char servers_dir_[300];
static pid_t servers_owner_;

/* Runs `servers.sh ACTION DIR REST`; what it prints goes into the buffer. */
static inline void servers(const char *action, const char *rest, char *output, size_t size)
{
    const char *script = getenv("DSS_TEST_SERVERS");
    char command[1024];
    size_t length;
    FILE *pipe;

    CHECK(script != NULL);
    snprintf(command, sizeof(command), "'%s' %s '%s' %s", script, action, servers_dir_, rest);
    pipe = popen(command, "re");
    CHECK(pipe != NULL);
    length = fread(output, 1, size - 1, pipe);
    output[length] = '\0';
    if (pclose(pipe) != 0) {
        fprintf(stderr, "%s failed\n", command);
        exit(1);
    }
}

/* Where there is nothing to be read. */
static inline void servers_do(const char *action, const char *rest)
{
    char output[1024];

    servers(action, rest, output, sizeof(output));
}

/* Starts a server of the test's store, of etcd a cluster of n1, n2 and n3, and writes a connection string of it. */
static inline void servers_own(const char *part, char *uri, size_t size)
{
    char output[512];
    int ports[3];

    if (test_store_is("postgres")) {
        servers("postgres-start", "0", output, sizeof(output));
        snprintf(uri, size, "postgresql://dss@127.0.0.1:%d/dss_test?schema=%s", atoi(output), part);
        return;
    }
    servers("etcd-cluster", "n1 n2 n3", output, sizeof(output));
    CHECK(sscanf(output, "n1 %d %*d n2 %d %*d n3 %d", &ports[0], &ports[1], &ports[2]) == 3);
    snprintf(uri, size, "etcd://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/%s", ports[0], ports[1], ports[2], part);
}

static inline void servers_end_(void)
{
    if (servers_owner_ == getpid())
        servers_do("clean", "");
}

/* Before all else. */
static inline void servers_begin(void)
{
    char owner[16], *dir = test_path("servers");

    CHECK(chmod(test_dir(), 0711) == 0); /* they are run by a user of their own */
    snprintf(servers_dir_, sizeof(servers_dir_), "%s", dir);
    free(dir);
    servers_owner_ = getpid();
    snprintf(owner, sizeof(owner), "%d", (int)servers_owner_);
    CHECK(setenv("DSS_SERVERS_OWNER", owner, 1) == 0);
    /* After test_dir(), so that it is called before the folder is removed. */
    CHECK(atexit(servers_end_) == 0);
}

#endif
