/*
 * PgBouncer in front of the test's PostgreSQL, as it is usually set up: each transaction goes to whichever connection is free.
 */
#ifndef POOLER_H
#define POOLER_H

#include "network/bad.h"

static pid_t pooler;

static inline void end_pooler(void)
{
    if (getpid() == test_process_ && pooler > 0) {
        (void)kill(pooler, SIGKILL);
        (void)waitpid(pooler, NULL, 0);
    }
}

/* The test's store, through a pooler that has not got more connections than that, with these lines in its settings. */
static inline const char *start_pooler(int connections, const char *settings)
{
    const char *server = variable("DSS_TEST_POSTGRES_PORT"), *user = variable("DSS_TEST_POSTGRES_USER"), *file, *command;
    int port = unused_port();
    double begun = test_seconds();

    CHECK(chmod(test_dir(), 0755) == 0); /* it refuses to be root, and reads its files as somebody else */
    file = file_of("pgbouncer.ini",
                       made("[databases]\ndss_test = host=127.0.0.1 port=%s dbname=dss_test pool_size=%d\n"
                            "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nauth_type = trust\nauth_file = %s\n"
                            "pool_mode = transaction\nunix_socket_dir =\n%s\n",
                            server, connections, port, file_of("users", made("\"%s\" \"\"\n", user), 0644), settings), 0644);
    command = made("PATH=\"$PATH:/usr/sbin\"; exec setpriv --pdeathsig KILL %s pgbouncer -q %s",
                   getuid() == 0 ? "--reuid nobody --regid nogroup --clear-groups" : "", file);
    pooler = fork();
    CHECK(pooler >= 0);
    if (pooler == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    CHECK(atexit(end_pooler) == 0);
    while (system(made("%s/pg_isready -q -h 127.0.0.1 -p %d", variable("DSS_TEST_POSTGRES_BIN"), port)) != 0) {
        CHECK(waitpid(pooler, NULL, WNOHANG) == 0);
        CHECK(test_seconds() - begun < 20);
    }
    return made("postgresql://%s@127.0.0.1:%d/dss_test?schema=%s", user, port, own_name());
}

#endif
