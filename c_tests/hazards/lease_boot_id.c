/*
 * A process that can't see the kernel's boot id shares a store with one that does.
 *
 * systemd-nspawn and LXC mount a boot id of their own over /proc/sys/kernel/random/boot_id in a
 * container, and a process in a chroot(2) may have no /proc at all. A lease of another boot is
 * over, so such a process took a lease of an hour, live and just refreshed, at once, and the host
 * took those of the container: two holders. An id that is not the kernel's says nothing. Without
 * one, only a clock that went back proves another boot, and a lease runs to its end.
 *
 * Without /proc it is also unknown what a time namespace adds to the clock; where the kernel can't
 * say that there is none, no store is opened. In the tests, the container acts while the host has
 * the store open, and the other way round.
 */
#include "clocks.h"

#include <sys/utsname.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define HOUR_MS ((uint64_t)3600 * 1000)
#define SHORT_MS 1500
/* How much later than its end a lease may be given to a waiter, on a busy machine. */
#define LATE_MS 3000

static int64_t boot_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Containers. ---- */

static void mount_over_boot_id(const char *path)
{
    private_mounts();
    CHECK(mount(path, BOOT_ID, NULL, MS_BIND, NULL) == 0);
}

#define OTHER_ID "01234567-89ab-4cde-8f01-23456789abcd\n"

/* As systemd-nspawn does. */
static void with_id_of_its_own(void)
{
    char *path = test_path("boot_id");

    write_text(path, OTHER_ID);
    mount_over_boot_id(path);
    free(path);
}

/* The file itself is no mount point then. */
static void with_folder_of_its_own(void)
{
    private_mounts();
    mount_tmpfs("/proc/sys/kernel/random", "");
    write_text(BOOT_ID, OTHER_ID);
}

/* Also in procfs, and another id at each look. */
static void with_random_ids(void)
{
    mount_over_boot_id("/proc/sys/kernel/random/uuid");
}

static void without_proc(void)
{
    if (geteuid() != 0)
        private_mounts(); /* has the rights of root in the namespace that comes with it */
    CHECK(chroot(test_dir()) == 0 && chdir("/") == 0);
    CHECK(!exists("/proc"));
}

struct container {
    void (*enter)(void);
    const char *uri;
};

/* Whether a process without /proc can know its time namespace: by PIDFD_GET_TIME_NAMESPACE. */
static int kernel_names_time_namespace(void)
{
    struct utsname name;
    int major, minor;

    CHECK(uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2);
    return major > 6 || (major == 6 && minor >= 11);
}

/* ---- Each side does what the test says. ---- */

enum act {
    TAKE = 1, /* ann takes a lease of an hour ... */
    TAKE_SHORT, /* ... or a short one */
    REFRESH,
    UNLOCK,
    TRY, /* bob tries to take it ... */
    WAIT, /* ... and waits for it */
    SEE, /* 0 if ann holds it */
    FREE, /* bob gives it back */
    LEAVE /* the container ends, and its locks stay */
};

enum side { HOST, CONTAINER };

static struct dss_handle host;
static struct line to_container, to_host;

static int take(struct dss_handle *handle, const char *owner, uint64_t ttl_ms, int64_t wait_ms)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = ttl_ms, .wait_ms = wait_ms};
    const char *lock_id = "lock";

    return dss_lockv(handle, &lock_id, 1, owner, &opts, NULL);
}

static int owner_is_ann(struct dss_handle *handle)
{
    char *owner = NULL;
    int rc = dss_lock_status(handle, "lock", &owner, NULL);

    CHECK(rc != 0 || strcmp(owner, "ann") == 0);
    free(owner);
    return rc;
}

static int perform(struct dss_handle *handle, enum act act)
{
    switch (act) {
    case TAKE:
        return take(handle, "ann", HOUR_MS, 0);
    case TAKE_SHORT:
        return take(handle, "ann", SHORT_MS, 0);
    case REFRESH:
        return dss_lock_refresh(handle, "lock", "ann");
    case UNLOCK:
        return dss_unlock(handle, "lock", "ann");
    case TRY:
        return take(handle, "bob", HOUR_MS, 0);
    case WAIT:
        return take(handle, "bob", HOUR_MS, 20000);
    case SEE:
        return owner_is_ann(handle);
    case FREE:
        return dss_unlock(handle, "lock", "bob");
    case LEAVE:
        break;
    }
    return 0;
}

static void be_container(void *arg)
{
    const struct container *container = arg;
    struct dss_handle own;
    enum act act;
    int rc;

    container->enter();
    rc = dss_init_uri(&own, container->uri);
    tell(&to_host, rc);
    if (rc != 0)
        return;
    do {
        act = (enum act)hear(&to_container);
        tell(&to_host, perform(&own, act));
    } while (act != LEAVE);
    dss_fini(&own);
}

static int does(enum side side, enum act act)
{
    if (side == HOST)
        return perform(&host, act);
    tell(&to_container, act);
    return hear(&to_host);
}

/* ---- While both have the store open. ---- */

/* The holder's lease is live for both sides, whichever of them refreshed it last. */
static void check_is_held(enum side holder, enum side other)
{
    CHECK_RC(does(holder, TAKE), 0);
    for (int round = 0; round < 2; round++) {
        CHECK_RC(does(other, SEE), 0);
        CHECK_RC(does(holder, SEE), 0);
        CHECK_RC(does(other, TRY), -EEXIST);
        CHECK_RC(does(holder, TRY), -EEXIST);
        CHECK_RC(does(other, FREE), -EACCES);
        CHECK_RC(does(round == 0 ? holder : other, REFRESH), 0);
    }
    CHECK_RC(does(other, TRY), -EEXIST);
    CHECK_RC(does(holder, TRY), -EEXIST);
    CHECK_RC(does(holder, UNLOCK), 0);
}

/* It ends when it should, and not before. */
static void check_ends_in_time(enum side holder, enum side other)
{
    int64_t before_ms, after_ms, waited_ms;

    CHECK_RC(does(holder, TAKE_SHORT), 0);
    before_ms = boot_ms();
    CHECK_RC(does(holder, REFRESH), 0);
    after_ms = boot_ms();
    CHECK_RC(does(other, WAIT), 0);
    waited_ms = boot_ms();
    CHECK(waited_ms >= before_ms + SHORT_MS);
    CHECK(waited_ms <= after_ms + SHORT_MS + LATE_MS);
    CHECK_RC(does(holder, REFRESH), -EACCES);
    CHECK_RC(does(other, FREE), 0);
}

/* ---- Leases that are left, and the next boot. ---- */

/* 0 if the container was refused, since it can't know its time namespace. */
static pid_t open_both(struct container *container)
{
    pid_t child;
    int rc;

    CHECK_RC(dss_init_uri(&host, test_uri()), 0);
    child = spawn(be_container, container);
    rc = hear(&to_host);
    if (container->enter != without_proc || kernel_names_time_namespace()) {
        CHECK_RC(rc, 0);
        return child;
    }
    CHECK_RC(rc, -ENOENT);
    test_join(child);
    dss_fini(&host);
    return 0;
}

static void close_both(pid_t child)
{
    CHECK_RC(does(CONTAINER, LEAVE), 0);
    test_join(child);
    dss_fini(&host);
}

/* A lease outlives its process, but not the boot, with which the clock begins anew. */
static void check_is_left(enum side holder, enum side other, struct container *container)
{
    pid_t child = open_both(container);

    CHECK_RC(does(holder, TAKE), 0);
    close_both(child);
    child = open_both(container);
    CHECK_RC(does(other, TRY), -EEXIST);
    close_both(child);

    set_boot_clock(-boot_ms() * 1000 / 2);
    child = open_both(container);
    CHECK_RC(does(other, SEE), -ENOLCK);
    CHECK_RC(does(other, TRY), 0);
    CHECK_RC(does(holder, TRY), -EEXIST);
    CHECK_RC(does(other, FREE), 0);
    close_both(child);
    set_boot_clock(0);
}

static void host_and(struct container container)
{
    pid_t child = open_both(&container);

    if (child == 0)
        return;
    check_is_held(HOST, CONTAINER);
    check_is_held(CONTAINER, HOST);
    check_ends_in_time(HOST, CONTAINER);
    check_ends_in_time(CONTAINER, HOST);
    close_both(child);
    check_is_left(HOST, CONTAINER, &container);
    check_is_left(CONTAINER, HOST, &container);
}

/* ---- Time namespaces of which nothing is known. ---- */

static void enter_time_namespace(void (*work)(void *))
{
    static const char offsets[] = "monotonic 100000 0\nboottime 100000 0\n";
    int fd;

    private_mounts();
    CHECK(unshare(CLONE_NEWTIME) == 0); /* for children */
    fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, offsets, strlen(offsets)) == (ssize_t)strlen(offsets));
    close(fd);
    test_join(spawn(work, NULL));
}

static void check_is_refused(const char *uri)
{
    struct dss_handle own;

    CHECK_RC(dss_init_uri(&own, uri), -ENOENT);
    CHECK(strstr(dss_last_error(), "time namespace") != NULL);
}

static void be_without_proc(void *arg)
{
    (void)arg;
    without_proc();
    check_is_refused("sqlite:/dss.db");
}

/* /proc then shows what is added for the children, and not for this process. */
static void be_between_namespaces(void *arg)
{
    struct dss_handle own;

    (void)arg;
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    dss_fini(&own);
    CHECK(unshare(CLONE_NEWTIME) == 0);
    check_is_refused(test_uri());
}

static void unknown_time_namespaces(void *arg)
{
    (void)arg;
    enter_time_namespace(be_without_proc);
    enter_time_namespace(be_between_namespaces);
}

int main(void)
{
    char *settings = test_path("clock");

    CHECK(setenv("DSS_TEST_CLOCK", settings, 1) == 0);
    set_boot_clock(0);
    free(settings);
    line_make(&to_container);
    line_make(&to_host);
    host_and((struct container){with_id_of_its_own, test_uri()});
    host_and((struct container){with_folder_of_its_own, test_uri()});
    host_and((struct container){with_random_ids, test_uri()});
    host_and((struct container){without_proc, "sqlite:/dss.db"});
    test_join(spawn(unknown_time_namespaces, NULL));
    return 0;
}
