/*
 * Another session on the test's PostgreSQL, as an administrator's: psql, which is told what to do and answers.
 */
#ifndef PSQL_H
#define PSQL_H

#include <fcntl.h>
#include <sys/prctl.h>

#include "test.h"

struct psql {
    pid_t process;
    FILE *to, *from;
};

static inline void psql_be_(const int *in, const int *out)
{
    char path[512];

    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    CHECK(dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0);
    snprintf(path, sizeof(path), "%s/psql", test_server_("DSS_TEST_POSTGRES_BIN"));
    execl(path, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", test_server_("DSS_TEST_POSTGRES"), (char *)NULL);
    _exit(127);
}

static inline void psql_start(struct psql *psql)
{
    int in[2], out[2];

    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    psql->process = fork();
    CHECK(psql->process >= 0);
    if (psql->process == 0)
        psql_be_(in, out);
    close(in[0]);
    close(out[1]);
    psql->to = fdopen(in[1], "w");
    psql->from = fdopen(out[0], "r");
    CHECK(psql->to != NULL && psql->from != NULL);
}

/* Returns when it is done; the first line that it answers, or nothing, goes into the buffer. */
static inline void psql_ask(struct psql *psql, const char *sql, char *answer, size_t size)
{
    char line[1 << 16];

    answer[0] = '\0';
    CHECK(fprintf(psql->to, "%s\n\\echo done\n", sql) > 0 && fflush(psql->to) == 0);
    for (;;) {
        CHECK(fgets(line, sizeof(line), psql->from) != NULL); /* else psql has met an error, and said it */
        if (strcmp(line, "done\n") == 0)
            return;
        if (answer[0] == '\0')
            snprintf(answer, size, "%s", line);
    }
}

static inline void psql_do(struct psql *psql, const char *sql)
{
    char answer[4096];

    psql_ask(psql, sql, answer, sizeof(answer));
}

static inline void psql_end(struct psql *psql)
{
    fclose(psql->to);
    test_join(psql->process);
    fclose(psql->from);
}

/* The schema of the test's store. */
static inline const char *psql_schema(void)
{
    const char *schema = strstr(test_uri(), "schema=");

    CHECK(schema != NULL);
    return schema + strlen("schema=");
}

#endif
