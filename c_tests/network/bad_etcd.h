/*
 * What the programs about mistakes with etcd share: a server of their own with other options than those of the shared one, and
 * to have things done by the gateway without libdss.
 */
#ifndef BAD_ETCD_H
#define BAD_ETCD_H

#include "network/bad.h"

struct etcd {
    pid_t process;
    int port;
    const char *curl; /* how curl reaches it: options, and the URL without a path */
};

static struct etcd *etcd_started_;

static inline void etcd_end_(void)
{
    if (etcd_started_ != NULL && test_process_ == getpid()) {
        (void)kill(etcd_started_->process, SIGKILL);
        (void)waitpid(etcd_started_->process, NULL, 0);
    }
}

/* The output of a request, which may fail. */
static inline char *etcd_ask(const struct etcd *etcd, const char *path, const char *body)
{
    return output_of(made("curl --silent --show-error --noproxy '*' --max-time 5 %s%s -d '%s' 2>&1 || :", etcd->curl, path, body));
}

/* A request that must be done. */
static inline char *etcd_do(const struct etcd *etcd, const char *path, const char *body)
{
    char *answer = etcd_ask(etcd, path, body);

    if (answer[0] != '{' || strstr(answer, "\"error\"") != NULL)
        fprintf(stderr, "%s %s: %s\n", path, body, answer);
    CHECK(answer[0] == '{' && strstr(answer, "\"error\"") == NULL);
    return answer;
}

static inline char *coded(const char *text)
{
    return output_of(made("printf %%s '%s' | base64 -w 0", text));
}

/* Starts a server alone in its cluster; the scheme and the options are those of its clients' side. It ends with the test. */
static inline void etcd_start(struct etcd *etcd, const char *scheme, const char *options)
{
    const char *data = test_path("etcd");
    int peer_port = unused_port();
    double begun = test_seconds();

    etcd->port = unused_port();
    if (etcd->curl == NULL)
        etcd->curl = made("%s://127.0.0.1:%d", scheme, etcd->port);
    else
        etcd->curl = made("%s %s://127.0.0.1:%d", etcd->curl, scheme, etcd->port);
    etcd->process = fork();
    CHECK(etcd->process >= 0);
    if (etcd->process == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        execl("/bin/sh", "sh", "-c",
              made("exec env -i PATH=\"$PATH\" ETCD_UNSUPPORTED_ARCH=arm64 etcd --name n1 --data-dir %s "
                   "--listen-client-urls %s://127.0.0.1:%d --advertise-client-urls %s://127.0.0.1:%d "
                   "--listen-peer-urls http://127.0.0.1:%d --initial-advertise-peer-urls http://127.0.0.1:%d "
                   "--initial-cluster n1=http://127.0.0.1:%d --logger zap --log-level error --log-outputs %s.log %s",
                   data, scheme, etcd->port, scheme, etcd->port, peer_port, peer_port, peer_port, data, options), (char *)NULL);
        _exit(127);
    }
    etcd_started_ = etcd;
    CHECK(atexit(etcd_end_) == 0);
    while (strstr(etcd_ask(etcd, "/v3/maintenance/status", "{}"), "\"leader\"") == NULL) {
        CHECK(waitpid(etcd->process, NULL, WNOHANG) == 0);
        CHECK(test_seconds() - begun < 40);
    }
}

/* Grants a role the keys below a prefix, or revokes that. */
static inline void etcd_may(const struct etcd *etcd, const char *action, const char *role, const char *prefix)
{
    const char *from = coded(made("%s/", prefix)), *to = coded(made("%s0", prefix));

    if (strcmp(action, "grant") == 0)
        (void)etcd_do(etcd, "/v3/auth/role/grant", made("{\"name\":\"%s\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"%s\","
                                                       "\"range_end\":\"%s\"}}", role, from, to));
    else
        (void)etcd_do(etcd, "/v3/auth/role/revoke", made("{\"role\":\"%s\",\"key\":\"%s\",\"range_end\":\"%s\"}", role, from, to));
}

/* The users root, app and guest, each with PASSWORD and a role of its name, which may nothing yet. */
static inline void etcd_make_users(const struct etcd *etcd)
{
    const char *const users[] = { "root", "app", "guest" };

    for (size_t i = 0; i < 3; i++) {
        (void)etcd_do(etcd, "/v3/auth/user/add", made("{\"name\":\"%s\",\"password\":\"" PASSWORD "\"}", users[i]));
        (void)etcd_do(etcd, "/v3/auth/role/add", made("{\"name\":\"%s\"}", users[i]));
        (void)etcd_do(etcd, "/v3/auth/user/grant", made("{\"user\":\"%s\",\"role\":\"%s\"}", users[i], users[i]));
    }
}

#endif
