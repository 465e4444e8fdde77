#include "gateway.h"

#include <arpa/inet.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define PATIENCE_S 20
#define MESSAGE_MOST (1 << 22)
#define EXPIRED "etcdserver: invalid auth token"

/* A request or an answer: the head ends with an empty line. */
struct message {
    char *text; /* and a NUL */
    size_t length;
    char *body;
};

static struct gateway_shared *shared;
static int server_port;

static void count(_Atomic int *counter)
{
    (void)atomic_fetch_add(counter, 1);
    (void)syscall(SYS_futex, counter, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- HTTP. What goes wrong here ends the connection's process: the client sees a hang-up. ---- */

static void need(int holds)
{
    if (!holds)
        _exit(0);
}

static void send_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

        need(sent > 0);
        text += sent;
        length -= (size_t)sent;
    }
}

/* The value of a header, or NULL. */
static const char *header(const struct message *message, const char *name)
{
    const char *line = message->text;

    while ((line = strstr(line, "\r\n")) != NULL && (line += 2) < message->body) {
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            return line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " ");
    }
    return NULL;
}

/* Reads on; 0 at the end. */
static int read_more(int fd, struct message *message)
{
    ssize_t size = recv(fd, message->text + message->length, MESSAGE_MOST - 1 - message->length, 0);

    need(size >= 0);
    message->length += (size_t)size;
    message->text[message->length] = '\0';
    return size > 0;
}

/* Whether head and body have been read. */
static int is_whole(struct message *message)
{
    const char *length;

    message->body = strstr(message->text, "\r\n\r\n");
    if (message->body == NULL)
        return 0;
    message->body += 4;
    length = header(message, "Content-Length");
    return message->text + message->length >= message->body + (length != NULL ? atol(length) : 0);
}

static void read_request(int client, struct message *request)
{
    request->length = 0;
    do
        need(read_more(client, request));
    while (!is_whole(request));
}

/* Takes the sizes of the chunks out of a body. */
static void join_chunks(struct message *message)
{
    char *from = message->body, *to = message->body;
    size_t size;

    while ((size = strtoul(from, &from, 16)) > 0) {
        need(strncmp(from, "\r\n", 2) == 0);
        memmove(to, from + 2, size);
        to += size;
        from += 2 + size + 2;
    }
    *to = '\0';
}

/* An answer, after which etcd closes the connection. */
static void read_answer(int server, struct message *message)
{
    message->length = 0;
    while (read_more(server, message))
        ;
    need(is_whole(message));
    if (header(message, "Transfer-Encoding") != NULL)
        join_chunks(message);
}

static void answer(int client, int status, const char *body)
{
    char head[200];
    int length = snprintf(head, sizeof(head),
                          "HTTP/1.1 %d Status\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n",
                          status, strlen(body));

    send_all(client, head, (size_t)length);
    send_all(client, body, strlen(body));
}

/* A request to etcd, without the era in its login, on a connection of its own. */
static int forward(const struct message *request, const char *path)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)server_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *login = header(request, "Authorization");
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), length, login_length = 0;
    char head[600];

    need(server >= 0 && connect(server, (struct sockaddr *)&address, sizeof(address)) == 0);
    if (login != NULL) {
        login += strcspn(login, "~\r") + 1;
        login_length = (int)strcspn(login, "\r");
    }
    length = snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\n%s%.*s%s"
                      "Connection: close\r\nContent-Length: %zu\r\n\r\n", path, server_port,
                      login != NULL ? "Authorization: " : "", login_length, login != NULL ? login : "",
                      login != NULL ? "\r\n" : "", strlen(request->body));
    send_all(server, head, (size_t)length);
    send_all(server, request->body, strlen(request->body));
    return server;
}

/* Copies bytes to the client until either side ends. */
static void relay(int server, int client)
{
    struct pollfd sides[2] = { { .fd = server, .events = POLLIN }, { .fd = client, .events = POLLIN } };
    char bytes[4096];

    for (;;) {
        ssize_t size;

        need(poll(sides, 2, -1) > 0 && sides[1].revents == 0);
        size = recv(server, bytes, sizeof(bytes), 0);
        need(size > 0);
        send_all(client, bytes, (size_t)size);
    }
}

/* ---- What grpc-gateway 2 does differently. ---- */

static int status_of(int code)
{
    switch (code) {
    case 3: case 9: case 11: return 400;
    case 5: return 404;
    case 7: return 403;
    case 8: return 429;
    case 12: return 501;
    case 14: return 503;
    case 16: return 401;
    default: return 500;
    }
}

/* The error as grpc-gateway 2 writes it; the message is text of JSON, without quotes. */
static void answer_error(int client, int is_stream, int code, const char *message, int length)
{
    char body[600];

    if (is_stream)
        snprintf(body, sizeof(body), "{\"error\":{\"code\":%d,\"message\":\"%.*s\"}}\n", code, length, message);
    else
        snprintf(body, sizeof(body), "{\"code\":%d,\"message\":\"%.*s\"}", code, length, message);
    answer(client, status_of(code), body);
}

/* An answer of grpc-gateway 1. */
static void answer_as_v2(int client, const struct message *message, int is_stream)
{
    int status = atoi(message->text + strlen("HTTP/1.1 "));
    const char *text = strstr(message->body, "\"message\":\""), *code = strstr(message->body, "code\":");

    if (strncmp(message->body, "{\"error\":", strlen("{\"error\":")) != 0) {
        answer(client, status, message->body);
        return;
    }
    need(text != NULL && code != NULL);
    text += strlen("\"message\":\"");
    answer_error(client, is_stream, atoi(code + strlen("code\":")), text, (int)strcspn(text, "\""));
}

/* An answer of Authenticate: the login that the client gets begins with the era. */
static void answer_login(int client, const struct message *message)
{
    const char *name = "\"token\":\"", *token = strstr(message->body, name);
    char body[1000];

    if (token == NULL) {
        answer_as_v2(client, message, 0);
        return;
    }
    token += strlen(name);
    snprintf(body, sizeof(body), "%.*s%d~%s", (int)(token - message->body), message->body, atomic_load(&shared->era),
             token);
    answer(client, 200, body);
    count(&shared->logins);
}

/* ---- A connection. ---- */

static void serve_one(int client, struct message *message, const char *path)
{
    const char *login = header(message, "Authorization");
    int is_stream = strcmp(path, "/v3/lease/keepalive") == 0, is_login = strcmp(path, "/v3/auth/authenticate") == 0;
    int server;

    if (is_stream && atomic_exchange(&shared->expires, 0))
        (void)atomic_fetch_add(&shared->era, 1);
    if (login != NULL && atoi(login) != atomic_load(&shared->era)) {
        answer_error(client, is_stream, atomic_load(&shared->expired_code), EXPIRED, (int)strlen(EXPIRED));
        count(&shared->refused);
        return;
    }
    if (is_login && atomic_load(&shared->login_fails)) {
        answer_error(client, 0, 14, "etcdserver: request timed out", (int)strlen("etcdserver: request timed out"));
        return;
    }
    server = forward(message, path);
    if (strcmp(path, "/v3/watch") == 0)
        relay(server, client);
    read_answer(server, message);
    if (is_login)
        answer_login(client, message);
    else
        answer_as_v2(client, message, is_stream);
    if (is_stream && strstr(message->body, "\"TTL\"") != NULL)
        count(&shared->renewed);
    close(server);
}

_Noreturn static void serve(int client)
{
    struct message message = { .text = malloc(MESSAGE_MOST) };
    int one = 1;
    char path[200];

    need(message.text != NULL && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    for (;;) {
        read_request(client, &message);
        need(sscanf(message.text, "POST %199s", path) == 1);
        serve_one(client, &message, path);
    }
}

/* A process for each connection. */
_Noreturn static void accept_all(int listener)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (client < 0)
            continue;
        if (fork() == 0) {
            close(listener);
            serve(client);
        }
        close(client);
    }
}

/* ---- The test's side. ---- */

static struct gateway *started;

static void end_with_test(void)
{
    if (test_process_ == getpid()) {
        (void)kill(started->process, SIGKILL);
        (void)waitpid(started->process, NULL, 0);
    }
}

void gateway_start(struct gateway *gateway, int etcd_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 64) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    atomic_store(&shared->expired_code, 16);
    server_port = etcd_port;
    *gateway = (struct gateway){ .port = ntohs(address.sin_port), .shared = shared };
    gateway->process = fork();
    CHECK(gateway->process >= 0);
    if (gateway->process == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        accept_all(listener);
    }
    close(listener);
    started = gateway;
    CHECK(atexit(end_with_test) == 0);
}

void gateway_expire(struct gateway *gateway)
{
    (void)atomic_fetch_add(&gateway->shared->era, 1);
}

void gateway_expire_at_renewal(struct gateway *gateway)
{
    atomic_store(&gateway->shared->expires, 1);
}

int gateway_reaches(_Atomic int *counter, int least)
{
    struct timespec patience = { .tv_nsec = 500000000 };
    double end = test_seconds() + PATIENCE_S;
    int now;

    while ((now = atomic_load(counter)) < least && test_seconds() < end)
        (void)syscall(SYS_futex, counter, FUTEX_WAIT, now, &patience, NULL, 0);
    return now >= least;
}
