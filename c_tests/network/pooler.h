/*
 * PgBouncer in front of the test's PostgreSQL, as it is usually set up: each transaction goes to whichever connection is free.
 * $DSS_TEST_PGBOUNCER is the path of another version than the installed one.
 */
#ifndef POOLER_H
#define POOLER_H

#include "network/bad.h"

static pid_t pooler;

static inline void stop_pooler(void)
{
    if (pooler > 0) {
        (void)kill(pooler, SIGKILL);
        (void)waitpid(pooler, NULL, 0);
        pooler = 0;
    }
}

static inline void end_pooler_(void)
{
    if (getpid() == test_process_)
        stop_pooler();
}

static inline const char *pooler_program(void)
{
    const char *program = getenv("DSS_TEST_PGBOUNCER");

    return program != NULL && *program != '\0' ? program : "pgbouncer";
}

/* PgBouncer keeps prepared statements itself from 1.21 on. */
static inline int pooler_keeps_statements(void)
{
    int major = 0, minor = 0;
    char *output = output_of(made("PATH=\"$PATH:/usr/sbin\"; %s --version", pooler_program()));

    CHECK(sscanf(output, "PgBouncer %d.%d", &major, &minor) == 2);
    return major > 1 || minor >= 21;
}

/* Starts a pooler in front of the server on this port, with at most so many connections and these
 * lines in its settings. Returns its port. There is one pooler at a time. */
static inline int start_pooler_at(int server, const char *mode, int connections, const char *settings)
{
    static int is_registered;
    const char *user = variable("DSS_TEST_POSTGRES_USER"), *file, *command;
    int port = unused_port();
    double begun = test_seconds();

    stop_pooler();
    CHECK(chmod(test_dir(), 0755) == 0); /* it refuses to be root, and reads its files as somebody else */
    file = file_of("pgbouncer.ini",
                       made("[databases]\ndss_test = host=127.0.0.1 port=%d dbname=dss_test pool_size=%d\n"
                            "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nauth_type = trust\nauth_file = %s\n"
                            "pool_mode = %s\nunix_socket_dir =\n%s\n",
                            server, connections, port, file_of("users", made("\"%s\" \"\"\n", user), 0644), mode, settings),
                   0644);
    command = made("PATH=\"$PATH:/usr/sbin\"; exec setpriv --pdeathsig KILL %s %s -q %s",
                   getuid() == 0 ? "--reuid nobody --regid nogroup --clear-groups" : "", pooler_program(), file);
    pooler = fork();
    CHECK(pooler >= 0);
    if (pooler == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (!is_registered)
        CHECK(atexit(end_pooler_) == 0);
    is_registered = 1;
    while (system(made("%s/pg_isready -q -h 127.0.0.1 -p %d", variable("DSS_TEST_POSTGRES_BIN"), port)) != 0) {
        CHECK(waitpid(pooler, NULL, WNOHANG) == 0);
        CHECK(test_seconds() - begun < 20);
    }
    return port;
}

/* The connection string of the store of this schema through the pooler on this port. */
static inline const char *pooled(int port, const char *schema)
{
    return made("postgresql://%s@127.0.0.1:%d/dss_test?schema=%s", variable("DSS_TEST_POSTGRES_USER"), port, schema);
}

/* The test's store, through a pooler in transaction mode. */
static inline const char *start_pooler(int connections, const char *settings)
{
    int port = start_pooler_at(atoi(variable("DSS_TEST_POSTGRES_PORT")), "transaction", connections, settings);

    return pooled(port, own_name());
}

#endif
