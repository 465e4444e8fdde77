/*
 * A daemon opened its store and took its locks while it could still print errors, and then left the terminal as the books say: two
 * forks, a new session, another folder, no umask, and every descriptor closed, ours among them.
 *
 * Proves: the handle works in the daemon and the locks are there. An event reports a kept one,
 * which goes on when it is taken by RESUME and KEEPALIVE. A store named by a relative path is still
 * the same file, and the first process loses nothing.
 */
#include "rude.h"

#include <locale.h>

#define KEPT_MS 2000

struct scene {
    _Atomic int daemon_is_done;
    _Atomic int daemon_process;
};

static struct scene *scene;
static const char *const kept[] = {"kept"};

static uint64_t keep(struct dss_handle *handle, uint64_t flags)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE | flags,
                                 .ttl_ms = (uint64_t)test_ttl_ms(KEPT_MS)};
    struct dss_grant grant;

    CHECK_RC(dss_lockv(handle, kept, 1, "daemon", &opts, &grant), 0);
    return grant.token;
}

static void be_daemon(struct dss_handle *handle)
{
    struct pollfd events = {.events = POLLIN};
    struct dss_event event;
    int64_t left_ms;
    uint64_t token;
    struct crew crew;

    atomic_store(&scene->daemon_process, (int)getpid());
    test_check_owner(handle, "taken before", "daemon");
    /* Every descriptor was closed, the one of events, too: the new one tells at once that the lock has to be taken anew. */
    events.fd = dss_event_fd(handle);
    CHECK(events.fd >= 0 && poll(&events, 1, 0) == 1);
    CHECK_RC(dss_event_next(handle, &event), 1);
    CHECK(event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_FORKED && strcmp(event.lock_id, "kept") == 0);
    CHECK_RC(dss_event_next(handle, &event), 0);
    CHECK_RC(dss_lock_left(handle, "kept", 0, NULL), -ENOLCK);
    CHECK(strstr(dss_last_error(), "DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE") != NULL);
    token = keep(handle, DSS_LOCK_RESUME);
    CHECK_RC(dss_lock_left(handle, "kept", token, &left_ms), 0);
    crew_begins(&crew, handle);
    /* Longer than its lease: it was renewed. */
    poll(NULL, 0, (int)test_ttl_ms(KEPT_MS) + 500);
    crew_ends(&crew);
    CHECK_RC(dss_lock_left(handle, "kept", token, &left_ms), 0);
    test_check_owner(handle, "kept", "daemon");
    CHECK_RC(dss_unlock(handle, "taken before", "daemon"), 0);
    dss_fini(handle);
    atomic_store(&scene->daemon_is_done, 1);
}

static void leave_the_terminal(struct dss_handle *handle)
{
    pid_t second;

    CHECK(setsid() > 0);
    second = fork();
    CHECK(second >= 0);
    if (second != 0)
        _exit(0);
    CHECK(prctl(PR_SET_PDEATHSIG, 0) == 0);
    CHECK(chdir("/") == 0);
    (void)umask(0);
    CHECK(close_range(0, ~0U, 0) == 0);
    CHECK(open("/dev/null", O_RDWR) == 0 && dup(0) == 1 && dup(0) == 2);
    be_daemon(handle);
    _exit(0);
}

int main(void)
{
    struct dss_handle handle;
    char *relative = NULL;
    const char *uri = test_uri();
    pid_t first;
    int before;

    scene = shared_memory(sizeof(*scene));
    CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
    if (test_store_is("sqlite")) {
        CHECK(chdir(test_dir()) == 0);
        uri = relative = strdup("sqlite:dss.db");
    }
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "taken before", "daemon"), 0);
    (void)keep(&handle, 0);
    CHECK(dss_event_fd(&handle) >= 0);
    before = descriptors();
    first = fork();
    CHECK(first >= 0);
    if (first == 0)
        leave_the_terminal(&handle);
    test_join(first);
    for (int i = 0; i < 2000 && !atomic_load(&scene->daemon_is_done); i++) {
        CHECK(atomic_load(&scene->daemon_process) == 0 || kill(scene->daemon_process, 0) == 0 || scene->daemon_is_done);
        poll(NULL, 0, 10);
    }
    CHECK(atomic_load(&scene->daemon_is_done));
    /* What the daemon released is released, and this process goes on, too. */
    CHECK_RC(dss_lock(&handle, "taken before", "first"), 0);
    CHECK_RC(dss_unlock(&handle, "taken before", "first"), 0);
    CHECK(descriptors() <= before + 1);
    dss_fini(&handle);
    free(relative);
    return 0;
}
