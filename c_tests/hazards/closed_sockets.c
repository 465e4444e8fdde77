/*
 * A program opens a store, closes every descriptor from 3 on, as a daemon does when it starts, and
 * opens files of its own.
 *
 * They get the numbers of the library's sockets. The library sent its requests to the program's
 * sockets, took data out of them, closed them, wrote to them when a lock was lost, and used up a
 * processor when one of them could be read. (closed_descriptors.c closes those of an SQLite file.)
 *
 * Now nothing appears in a descriptor of the program or vanishes from it, none is closed, the calls
 * find the store again in their time, and no lock is lost.
 */
#include "hazard.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "network/proxy.h"

#define OWN_MOST 64
/* The test's own descriptors that must stay are above those that are closed. */
#define HIGH 500
#define TTL_MS ((uint64_t)test_ttl_ms(2000))
#define LISTED 200

static struct dss_handle handle, other;

/* ---- What the program opens ---- */

enum kind { A_FILE, PIPE, FULL_PIPE, SOCKETS, FULL_SOCKETS, KINDS };

static const char data[] = "this is the program's own";
#define DATA_SIZE ((int)sizeof(data))

static struct own {
    int fd, flags, waiting;
    enum kind kind;
    struct stat file;
} owns[OWN_MOST + 1];
static int own_count;

static void note_own(int fd, enum kind kind, int waiting)
{
    struct own *own = &owns[own_count++];

    CHECK(fd > 2 && fstat(fd, &own->file) == 0);
    own->fd = fd;
    own->kind = kind;
    own->waiting = waiting;
    own->flags = fcntl(fd, F_GETFL);
}

static void fill(int fd)
{
    CHECK(write(fd, data, sizeof(data)) == DATA_SIZE);
}

static void open_some(enum kind kind)
{
    int ends[2] = {-1, -1}, full = kind == FULL_PIPE || kind == FULL_SOCKETS;
    char *path;

    switch (kind) {
    case A_FILE:
        path = test_path("own");
        ends[0] = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(ends[0] >= 0);
        fill(ends[0]);
        CHECK(lseek(ends[0], 5, SEEK_SET) == 5 && unlink(path) == 0);
        free(path);
        note_own(ends[0], kind, 0);
        return;
    case PIPE:
    case FULL_PIPE:
        CHECK(pipe(ends) == 0);
        break;
    default:
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        if (full)
            fill(ends[0]);
    }
    if (full)
        fill(ends[1]);
    note_own(ends[0], kind, full ? DATA_SIZE : 0);
    note_own(ends[1], kind, full ? DATA_SIZE : 0); /* FIONREAD tells it at both ends of a pipe */
}

static void open_own(enum kind kind, int count)
{
    for (own_count = 0; own_count < count;)
        open_some(kind);
}

static void check_file(const struct own *own)
{
    char found[2 * sizeof(data)];

    CHECK(lseek(own->fd, 0, SEEK_CUR) == 5);
    CHECK(pread(own->fd, found, sizeof(found), 0) == DATA_SIZE);
    CHECK(memcmp(found, data, sizeof(data)) == 0);
}

static void check_socket(const struct own *own)
{
    struct timeval longest = {-1, -1};
    socklen_t size = sizeof(longest);
    char found[2 * sizeof(data)];

    CHECK(getsockopt(own->fd, SOL_SOCKET, SO_RCVTIMEO, &longest, &size) == 0);
    CHECK(longest.tv_sec == 0 && longest.tv_usec == 0);
    if (own->waiting == 0)
        return;
    CHECK(recv(own->fd, found, sizeof(found), MSG_PEEK) == DATA_SIZE);
    CHECK(memcmp(found, data, sizeof(data)) == 0);
}

/* Ends the test unless all that the program has opened is as it was. */
static void check_own(void)
{
    for (struct own *own = owns; own < owns + own_count; own++) {
        struct pollfd state = {.fd = own->fd};
        struct stat file;
        int waiting = 0;

        CHECK(fstat(own->fd, &file) == 0); /* it has been closed */
        CHECK(file.st_dev == own->file.st_dev && file.st_ino == own->file.st_ino);
        CHECK(fcntl(own->fd, F_GETFL) == own->flags);
        /* Its other end has not been closed. */
        CHECK(poll(&state, 1, 0) == 0 || (state.revents & (POLLHUP | POLLERR)) == 0);
        if (own->kind == A_FILE) {
            check_file(own);
            continue;
        }
        CHECK(ioctl(own->fd, FIONREAD, &waiting) == 0);
        CHECK(waiting == own->waiting); /* bytes have appeared or vanished */
        if (own->kind >= SOCKETS)
            check_socket(own);
    }
}

static void close_own(void)
{
    check_own();
    while (own_count > 0)
        close(owns[--own_count].fd);
}

/* What the whole test is about. */
static void close_and_open(enum kind kind, int count)
{
    CHECK(close_range(3, HIGH - 1, 0) == 0);
    open_own(kind, count);
}

/* ---- In no call ---- */

static const int counts[] = {1, 2, 3, 5, 8, 13, OWN_MOST};
#define COUNTS_END (counts + sizeof(counts) / sizeof(counts[0]))
#define EACH_COUNT(count) (const int *count = counts; count < COUNTS_END; count++)
#define EACH_KIND(kind) (enum kind kind = A_FILE; kind < KINDS; kind++)

static int taken;

static const char *name_of(int number)
{
    static char names[2][32];
    char *name = names[number % 2];

    snprintf(name, sizeof(names[0]), "drive %06d", number);
    return name;
}

/* None of them is ever released. */
static void take_another(void)
{
    CHECK_RC(dss_lock(&handle, name_of(taken), "ann"), 0);
    CHECK_RC(dss_lock(&handle, name_of(taken), "bob"), -EEXIST);
    taken++;
}

static void check_taken(void)
{
    for (int number = 0; number < taken; number++)
        test_check_owner(&handle, name_of(number), "ann");
}

static void closed_while_idle(void)
{
    for EACH_KIND (kind) {
        for EACH_COUNT (count) {
            close_and_open(kind, *count);
            take_another();
            check_own();
            CHECK_RC(dss_lock_refresh(&handle, name_of(taken - 1), "ann"), 0);
            close_own();
        }
    }
    check_taken();
}

/* The last thing that is done with the handle. */
static void closed_before_the_end(void)
{
    for EACH_KIND (kind) {
        struct dss_handle last;

        CHECK_RC(dss_init_uri(&last, test_uri()), 0);
        CHECK_RC(dss_lock(&last, "of the last handle", "ann"), 0);
        CHECK(dss_event_fd(&last) > 2);
        close_and_open(kind, OWN_MOST);
        if (kind % 2 == 0)
            CHECK_RC(dss_unlock(&last, "of the last handle", "ann"), 0);
        dss_fini(&last);
        close_own();
        if (kind % 2 != 0)
            CHECK_RC(dss_unlock(&handle, "of the last handle", "ann"), 0);
    }
}

static void in_child(void *arg)
{
    (void)arg;
    check_own();
    if (!test_store_is("memory")) {
        test_check_owner(&handle, name_of(0), "ann");
        test_check_owner(&handle, name_of(taken - 1), "ann");
    }
    dss_fini(&handle);
    check_own();
}

/* A child closes what it has inherited of the library: not by numbers that are the program's now. */
static void closed_before_a_fork(void)
{
    for EACH_KIND (kind) {
        take_another();
        close_and_open(kind, OWN_MOST);
        test_join(spawn(in_child, NULL));
        take_another();
        close_own();
    }
    check_taken();
}

/* ---- In a wait ---- */

static _Atomic pid_t waiter;
static double waited_until;

static void *wait_for_it(void *arg)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = 60000};
    const char *lock_id = "waited for";

    (void)arg;
    waiter = (pid_t)syscall(SYS_gettid);
    CHECK_RC(dss_lockv(&handle, &lock_id, 1, "bob", &opts, NULL), 0);
    waited_until = test_seconds();
    return NULL;
}

/* Until the thread sleeps in ppoll(2), as it does when it waits for a lock. */
static void await_sleeper(void)
{
    double begun = test_seconds();
    char path[64], call[32];
    FILE *file;

    do {
        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)waiter);
        file = fopen(path, "re");
        if (file == NULL || fgets(call, sizeof(call), file) == NULL)
            call[0] = '\0';
        if (file != NULL)
            fclose(file);
        CHECK(test_seconds() - begun < HANGS_AFTER_S);
    } while (atoi(call) != SYS_ppoll);
}

static double processor_seconds(void)
{
    struct rusage used;

    CHECK(getrusage(RUSAGE_SELF, &used) == 0);
    return (double)(test_microseconds(used.ru_utime) + test_microseconds(used.ru_stime)) / 1e6;
}

static void closed_in_a_wait(enum kind kind, int count)
{
    double used, released;
    pthread_t thread;

    CHECK_RC(dss_lock(&handle, "waited for", "ann"), 0);
    thread = start_thread(wait_for_it, NULL);
    await_sleeper();
    close_and_open(kind, count);
    used = processor_seconds();
    (void)poll(NULL, 0, 600);
    CHECK(processor_seconds() - used < 0.3); /* it does not sleep */
    check_own();
    released = test_seconds();
    CHECK_RC(dss_unlock(&handle, "waited for", "ann"), 0);
    join_thread(thread);
    CHECK(waited_until - released < 3);
    close_own();
    CHECK_RC(dss_unlock(&handle, "waited for", "bob"), 0);
}

static void closed_in_waits(void)
{
    for EACH_KIND (kind)
        closed_in_a_wait(kind, OWN_MOST);
    closed_in_a_wait(SOCKETS, 2);
    closed_in_a_wait(FULL_SOCKETS, 8);
}

/* ---- While a lock is renewed ---- */

static uint64_t keep(void)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    const char *lock_id = "kept";
    struct dss_grant grant;

    CHECK_RC(dss_lockv(&handle, &lock_id, 1, "ann", &opts, &grant), 0);
    return grant.token;
}

static int is_readable(int fd, int wait_ms)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};

    return poll(&end, 1, wait_ms) == 1;
}

static void check_lost(uint64_t token)
{
    struct dss_event event;
    int fd = dss_event_fd(&handle);

    CHECK(fd > 2 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    do {
        CHECK(is_readable(fd, 0));
        CHECK_RC(dss_event_next(&handle, &event), 1);
    } while (event.type != DSS_EVENT_LOST);
    CHECK(event.reason == DSS_REASON_FORCED && event.token == token);
    CHECK(!is_readable(fd, 0));
    CHECK_RC(dss_event_next(&handle, &event), 0);
    CHECK(dss_event_fd(&handle) == fd);
}

static void closed_while_kept(enum kind kind)
{
    uint64_t token = keep();
    double begun;

    CHECK(dss_event_fd(&handle) > 2);
    close_and_open(kind, OWN_MOST);
    (void)poll(NULL, 0, (int)TTL_MS * 3 / 2);
    CHECK_RC(dss_lock_left(&handle, "kept", token, NULL), 0);
    test_check_owner(&handle, "kept", "ann");
    check_own();
    CHECK_RC(dss_unlock(&other, "kept", NULL), 0);
    /* The event comes while nobody has asked for another descriptor. */
    for (begun = test_seconds(); dss_lock_left(&handle, "kept", token, NULL) == 0; (void)poll(NULL, 0, 20))
        CHECK(test_seconds() - begun < HANGS_AFTER_S);
    check_own();
    check_lost(token);
    close_own();
}

/* ---- In a call of another thread ---- */

static struct proxy proxy;
static struct dss_handle slow;

static void *lock_slowly(void *lock_id)
{
    CHECK_RC(dss_lock(&slow, lock_id, "ann"), 0);
    return NULL;
}

static void close_during_calls(void)
{
    for EACH_KIND (kind) {
        for EACH_COUNT (count) {
            char lock_id[32];
            double released;
            pthread_t thread;

            snprintf(lock_id, sizeof(lock_id), "slow %d %d", (int)kind, *count);
            proxy_arm(&proxy, PROXY_HOLD_RESPONSE, 0, PROXY_KEEP);
            thread = start_thread(lock_slowly, lock_id);
            proxy_wait_struck(&proxy);
            close_and_open(kind, *count);
            proxy_release(&proxy);
            released = test_seconds();
            join_thread(thread);
            CHECK(test_seconds() - released < 5);
            check_own();
            test_check_owner(&handle, lock_id, "ann");
            test_check_owner(&slow, lock_id, "ann");
            close_own();
        }
    }
}

static void start_proxy(void)
{
    int control;

    proxy_start_for_store(&proxy);
    control = fcntl(proxy.control, F_DUPFD_CLOEXEC, HIGH);
    CHECK(control >= HIGH);
    close(proxy.control);
    proxy.control = control;
}

static void closed_in_calls(void)
{
    char *uri = proxy_uri(&proxy, NULL);

    CHECK_RC(dss_init_uri(&slow, uri), 0);
    close_during_calls();
    dss_fini(&slow);
    free(uri);
}

/* ---- While a list is read ---- */

static int close_at_first(const struct dss_lock_info *info, void *seen)
{
    (void)info;
    if ((*(int *)seen)++ == 0)
        close_and_open(FULL_SOCKETS, OWN_MOST);
    return 0;
}

static int count_one(const struct dss_lock_info *info, void *seen)
{
    (void)info;
    (*(int *)seen)++;
    return 0;
}

/* It goes on, or it ends with an error: a part of it is never taken for all. */
static void closed_in_a_list(void)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "drive "};
    int seen = 0, rc;

    while (taken < LISTED)
        take_another();
    rc = dss_lock_list(&handle, &filter, close_at_first, &seen);
    CHECK(rc == 0 ? seen == taken : rc == -ENOTCONN || rc == -EINTR);
    check_own();
    seen = 0;
    CHECK_RC(dss_lock_list(&handle, &filter, count_one, &seen), 0);
    CHECK(seen == taken);
    close_own();
}

int main(void)
{
    if (test_store_is_server())
        start_proxy();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    closed_while_idle();
    closed_before_the_end();
    closed_before_a_fork();
    closed_in_waits();
    for EACH_KIND (kind)
        closed_while_kept(kind);
    closed_in_a_list();
    if (test_store_is_server()) {
        closed_in_calls();
        proxy_stop(&proxy);
    }
    check_taken();
    dss_fini(&other);
    dss_fini(&handle);
    return 0;
}
