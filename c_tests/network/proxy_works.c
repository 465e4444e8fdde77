/*
 * What the proxy of these tests does to a connection, seen by plain sockets: a test that relies on a fault which does not
 * strike, or strikes something else, would prove nothing.
 *
 * Behind the proxy is a server that answers each line with "to " and the line. It tells the test what it receives, and
 * answers a line that begins with "slow" when the test says so.
 */
#include "hazards/hazard.h"
#include "network/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define LINE 64
#define KEPT_MS 60
#define BIG (8 << 20)

/* ---- The server. ---- */

struct news {
    int connection;  /* from 1 on */
    int size;        /* of what has come on it since its last line; 0: its end */
    char text[LINE]; /* the beginning of that */
};

static struct line news, go;
static int listener;

static void tell_news(int connection, const char *text, size_t size)
{
    struct news told = {.connection = connection, .size = (int)size};

    snprintf(told.text, sizeof(told.text), "%.*s", (int)(size < LINE ? size : LINE - 1), text);
    CHECK(write(news.ends[1], &told, sizeof(told)) == (ssize_t)sizeof(told));
}

static void answer_line(int fd, const char *text, size_t size)
{
    CHECK(send(fd, "to ", 3, MSG_NOSIGNAL | MSG_MORE) == 3);
    for (size_t sent = 0; sent < size;) {
        ssize_t count = send(fd, text + sent, size - sent, MSG_NOSIGNAL);

        CHECK(count > 0);
        sent += (size_t)count;
    }
}

struct connection {
    int fd, number;
};

static void *serve_connection(void *arg)
{
    struct connection own = *(struct connection *)arg;
    char *text = malloc(BIG + LINE);
    size_t size = 0;
    ssize_t count;

    CHECK(text != NULL);
    free(arg);
    while ((count = recv(own.fd, text + size, BIG + LINE - size, 0)) > 0) {
        size += (size_t)count;
        if (text[size - 1] != '\n')
            continue;
        tell_news(own.number, text, size);
        if (strncmp(text, "slow", 4) == 0)
            CHECK(hear(&go) == 1);
        answer_line(own.fd, text, size);
        size = 0;
    }
    if (size > 0)
        tell_news(own.number, text, size);
    tell_news(own.number, "", 0);
    close(own.fd);
    free(text);
    return NULL;
}

static void be_server(void *arg)
{
    (void)arg;
    for (int number = 1;; number++) {
        struct connection *own = malloc(sizeof(*own));

        CHECK(own != NULL);
        *own = (struct connection){accept(listener, NULL, NULL), number};
        CHECK(own->fd >= 0);
        CHECK(pthread_detach(start_thread(serve_connection, own)) == 0);
    }
}

static int start_server(pid_t *process)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    line_make(&news);
    line_make(&go);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 16) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    *process = spawn(be_server, NULL);
    close(listener);
    return ntohs(address.sin_port);
}

static struct news hear_news(void)
{
    struct pollfd end = {.fd = news.ends[0], .events = POLLIN};
    struct news heard;

    CHECK(poll(&end, 1, 20000) == 1);
    CHECK(read(news.ends[0], &heard, sizeof(heard)) == (ssize_t)sizeof(heard));
    return heard;
}

static void server_gets(const char *text)
{
    struct news heard = hear_news();

    if (heard.size != (int)strlen(text) || strcmp(heard.text, text) != 0)
        fprintf(stderr, "the server got %d bytes, %s, and not %s\n", heard.size, heard.text, text);
    CHECK(heard.size == (int)strlen(text) && strcmp(heard.text, text) == 0);
}

static void server_gets_end(void)
{
    server_gets("");
}

static void server_gets_nothing(void)
{
    struct pollfd end = {.fd = news.ends[0], .events = POLLIN};

    CHECK(poll(&end, 1, 0) == 0);
}

/* ---- A client. ---- */

static struct proxy proxy;

static int try_to_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)proxy.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static int connect_client(void)
{
    int fd = try_to_connect();

    CHECK(fd >= 0);
    return fd;
}

static void ask(int fd, const char *text)
{
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static int has_something(int fd, int wait_ms)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};

    return poll(&end, 1, wait_ms) == 1;
}

static void client_gets(int fd, const char *text)
{
    char got[LINE] = "";
    size_t size = 0;

    while (size < strlen(text)) {
        ssize_t count;

        CHECK(has_something(fd, 20000));
        count = recv(fd, got + size, sizeof(got) - 1 - size, 0);
        CHECK(count > 0);
        size += (size_t)count;
    }
    CHECK(strcmp(got, text) == 0);
}

static void client_gets_end(int fd)
{
    char byte;

    CHECK(has_something(fd, 20000));
    CHECK(recv(fd, &byte, 1, 0) == 0);
    close(fd);
}

static void client_gets_reset(int fd)
{
    char byte;

    CHECK(has_something(fd, 20000));
    CHECK(recv(fd, &byte, 1, 0) == -1 && errno == ECONNRESET);
    close(fd);
}

static void round_trip(int fd)
{
    ask(fd, "hello\n");
    server_gets("hello\n");
    client_gets(fd, "to hello\n");
}

static void end_client(int fd)
{
    close(fd);
    server_gets_end();
}

/* ---- What is proved. ---- */

static void all_goes_through(void)
{
    const struct proxy_counts *counts = proxy_counts(&proxy);
    int one = connect_client(), two = connect_client();

    for (int i = 0; i < 10; i++) {
        round_trip(one);
        round_trip(two);
    }
    CHECK(counts->connections == 2 && counts->open == 2);
    CHECK(counts->requests == 20 && counts->round_trips == 20);
    CHECK(counts->to_server == 20 * 6 && counts->to_client == 20 * 9);
    end_client(one);
    end_client(two);
    CHECK(counts->open == 0);
}

/* More than any buffer on the way holds, in both directions. */
static void much_goes_through(void)
{
    char *big = malloc(BIG), *back = malloc(BIG + 3);
    size_t sent = 0, got = 0;
    int fd = connect_client();

    CHECK(big != NULL && back != NULL);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)('a' + i % 23);
    big[BIG - 1] = '\n';
    while (got < BIG + 3) {
        struct pollfd end = {.fd = fd, .events = (short)(POLLIN | (sent < BIG ? POLLOUT : 0))};

        CHECK(poll(&end, 1, 20000) == 1);
        if ((end.revents & POLLOUT) != 0) {
            ssize_t count = send(fd, big + sent, BIG - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

            sent += count > 0 ? (size_t)count : 0;
        }
        if ((end.revents & POLLIN) != 0) {
            ssize_t count = recv(fd, back + got, BIG + 3 - got, 0);

            CHECK(count > 0);
            got += (size_t)count;
        }
    }
    CHECK(memcmp(back, "to ", 3) == 0 && memcmp(back + 3, big, BIG) == 0);
    CHECK(hear_news().size == BIG);
    end_client(fd);
    free(big);
    free(back);
}

static void cut_before(void)
{
    int fd = connect_client();

    round_trip(fd);
    proxy_arm(&proxy, PROXY_CUT_BEFORE, 0, 0);
    ask(fd, "never\n");
    proxy_wait_struck(&proxy);
    client_gets_end(fd);
    server_gets_end();
}

static void cut_by_reset(void)
{
    int fd = connect_client();

    round_trip(fd);
    proxy_arm(&proxy, PROXY_CUT_BEFORE | PROXY_BY_RESET, 0, 0);
    ask(fd, "never\n");
    client_gets_reset(fd);
    server_gets_end();
}

/* The third request from now on, on whatever connection; and one is enough. */
static void some_are_skipped(void)
{
    int one = connect_client(), two = connect_client(), three;

    proxy_arm(&proxy, PROXY_CUT_BEFORE, 2, 0);
    round_trip(one);
    CHECK(!proxy_has_caught(&proxy));
    round_trip(two);
    three = connect_client();
    CHECK(!proxy_has_caught(&proxy));
    ask(three, "never\n");
    proxy_wait_caught(&proxy);
    client_gets_end(three);
    server_gets_end();
    round_trip(one);
    round_trip(two);
    end_client(one);
    end_client(two);
}

static void cut_in_the_middle(void)
{
    int fd = connect_client();

    round_trip(fd);
    proxy_arm(&proxy, PROXY_HALF, 0, 0);
    ask(fd, "one half of\n");
    proxy_wait_struck(&proxy);
    client_gets_end(fd);
    server_gets("one ha");
    server_gets_end();
}

/* The client is told at once, and the server, which takes its time, can answer. */
static void cut_after(int is_slow)
{
    int fd = connect_client();

    round_trip(fd);
    proxy_arm(&proxy, PROXY_CUT_AFTER, 0, 0);
    ask(fd, is_slow ? "slow one\n" : "quick one\n");
    client_gets_end(fd);
    server_gets(is_slow ? "slow one\n" : "quick one\n");
    if (is_slow) {
        CHECK(proxy_has_caught(&proxy) && !proxy_has_struck(&proxy));
        server_gets_nothing();
        tell(&go, 1);
    }
    proxy_wait_struck(&proxy);
    server_gets_end();
}

static void answer_is_held(void)
{
    int fd = connect_client();
    double begin;

    proxy_arm(&proxy, PROXY_HOLD_RESPONSE, 0, KEPT_MS);
    begin = test_seconds();
    round_trip(fd);
    CHECK(test_seconds() - begin >= KEPT_MS / 1e3);

    proxy_arm(&proxy, PROXY_HOLD_RESPONSE, 1, PROXY_KEEP);
    round_trip(fd);
    ask(fd, "patience\n");
    proxy_wait_struck(&proxy);
    server_gets("patience\n");
    CHECK(!has_something(fd, KEPT_MS));
    proxy_release(&proxy);
    client_gets(fd, "to patience\n");
    round_trip(fd);
    end_client(fd);
}

/* A client that does not wait for it is gone for the server too. */
static void answer_is_given_up(void)
{
    int fd = connect_client();

    proxy_arm(&proxy, PROXY_HOLD_RESPONSE, 0, PROXY_KEEP);
    ask(fd, "patience\n");
    server_gets("patience\n");
    proxy_wait_struck(&proxy);
    end_client(fd);
}

static void request_is_late(void)
{
    int fd = connect_client();
    double begin;

    proxy_arm(&proxy, PROXY_LATE, 0, KEPT_MS);
    begin = test_seconds();
    round_trip(fd);
    CHECK(test_seconds() - begin >= KEPT_MS / 1e3);
    proxy_wait_struck(&proxy);
    end_client(fd);
}

/* Others overtake it; its client has gone; and it arrives in spite of that. */
static void request_outlives_client(void)
{
    int fd = connect_client(), other;

    proxy_arm(&proxy, PROXY_LATE, 0, PROXY_KEEP);
    ask(fd, "slow and late\n");
    proxy_wait_caught(&proxy);
    close(fd);
    other = connect_client();
    round_trip(other);
    server_gets_nothing();
    CHECK(!proxy_has_struck(&proxy));
    proxy_release(&proxy);
    server_gets("slow and late\n");
    round_trip(other);
    CHECK(!proxy_has_struck(&proxy));
    tell(&go, 1);
    proxy_wait_struck(&proxy);
    server_gets_end();
    end_client(other);
}

static void silence(void)
{
    int old = connect_client(), asked = connect_client(), new, after;

    round_trip(old);
    ask(asked, "slow\n");
    server_gets("slow\n");
    proxy_arm(&proxy, PROXY_SILENT, 0, 0);
    new = connect_client();
    ask(old, "hello?\n");
    ask(new, "hello?\n");
    tell(&go, 1);
    proxy_wait_struck(&proxy);
    CHECK(!has_something(old, KEPT_MS) && !has_something(new, 0) && !has_something(asked, 0));
    proxy_arm(&proxy, PROXY_PASS, 0, 0);
    after = connect_client();
    round_trip(after);
    CHECK(!has_something(old, 0) && !has_something(new, 0) && !has_something(asked, 0));
    server_gets_nothing();
    end_client(after);
    end_client(old);
    end_client(asked);
    close(new);
}

static void refusal(void)
{
    int old = connect_client(), new;

    round_trip(old);
    proxy_arm(&proxy, PROXY_REFUSE, 0, 0);
    new = connect_client();
    client_gets_end(new);
    proxy_wait_struck(&proxy);
    round_trip(old);
    proxy_arm(&proxy, PROXY_PASS, 0, 0);
    new = connect_client();
    round_trip(new);
    end_client(old);
    end_client(new);
}

/* Nobody else gets the port meanwhile. */
static void down_and_up(int mode)
{
    for (int i = 0; i < 3; i++) {
        int fd = connect_client();

        round_trip(fd);
        proxy_arm(&proxy, mode, 0, 0);
        if (mode == PROXY_DOWN)
            client_gets_end(fd);
        else
            client_gets_reset(fd);
        server_gets_end();
        CHECK(try_to_connect() == -ECONNREFUSED);
        proxy_arm(&proxy, PROXY_PASS, 0, 0);
    }
    CHECK(proxy_counts(&proxy)->open == 0);
}

int main(void)
{
    pid_t server;
    int port = start_server(&server);

    proxy_start(&proxy, port);
    all_goes_through();
    much_goes_through();
    cut_before();
    cut_by_reset();
    some_are_skipped();
    cut_in_the_middle();
    cut_after(0);
    cut_after(1);
    answer_is_held();
    answer_is_given_up();
    request_is_late();
    request_outlives_client();
    silence();
    refusal();
    down_and_up(PROXY_DOWN);
    down_and_up(PROXY_DOWN | PROXY_BY_RESET);
    server_gets_nothing();
    proxy_stop(&proxy);
    CHECK(kill(server, SIGKILL) == 0 && waitpid(server, NULL, 0) == server);
    return 0;
}
