/*
 * The host was started anew while leases ran; or a process sees another clock than its neighbours, as in a container.
 *
 * Leases are counted from the host's boot. After another boot that count begins anew: a lease of an hour, taken when
 * the host was up for a year, would last for a year more. So a lease ends with the boot, and a lock without one does
 * not. In a time namespace (time_namespaces(7)) the clock shows another time since boot, and a lease would end a day
 * early, or late, for whoever is in another one. Another boot is another boot id from ../preload/clock.c.
 */
#include "clocks.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define HOUR_MS ((uint64_t)3600 * 1000)
/* What a time namespace adds. */
#define OFFSET_S 100000
#define SHORT_MS 1000
/* How far apart the two sides' answers may be. */
#define APART_MS 100

static int take(struct dss_handle *handle, const char *lock_id, uint64_t ttl_ms, int64_t wait_ms,
                struct dss_grant *grant)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = ttl_ms, .wait_ms = wait_ms};

    return dss_lockv(handle, &lock_id, 1, "ann", &opts, grant);
}

static uint64_t must_take(struct dss_handle *handle, const char *lock_id, uint64_t ttl_ms)
{
    struct dss_grant grant;

    CHECK_RC(take(handle, lock_id, ttl_ms, 0, &grant), 0);
    CHECK(grant.flags == 0);
    return grant.token;
}

static int note_left(const struct dss_lock_info *info, void *left_ms)
{
    *(int64_t *)left_ms = info->left_ms;
    return 0;
}

/* What the list says is left of the lease; -1 if there is no such lock. */
static int64_t left_of(struct dss_handle *handle, const char *lock_id)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_id = lock_id};
    int64_t left_ms = -1;

    CHECK_RC(dss_lock_list(handle, &filter, note_left, &left_ms), 0);
    return left_ms;
}

/* ---- Another boot. ---- */

struct first_boot {
    uint64_t leased, other, plain;
};

/* An expired lock does not exist. */
static void check_is_gone(struct dss_handle *handle, const char *lock_id)
{
    const char *ids[] = {lock_id};

    test_check_owner(handle, lock_id, NULL);
    CHECK_RC(dss_lock_refresh(handle, lock_id, "ann"), -ENOLCK);
    CHECK_RC(dss_unlock(handle, lock_id, "ann"), -ENOLCK);
    CHECK_RC(dss_unlockv(handle, ids, 1, NULL, NULL, NULL), -ENOLCK);
    CHECK(left_of(handle, lock_id) == -1);
}

static void after_another_boot(void *arg)
{
    const struct first_boot *before = arg;
    struct dss_filter old = {.size = sizeof(old), .lock_id = "plain", .min_age_ms = HOUR_MS};
    struct dss_handle handle;
    struct dss_grant grant;
    int64_t left_ms = -1;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_is_gone(&handle, "leased");
    CHECK_RC(take(&handle, "leased", HOUR_MS, 0, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD);
    CHECK(grant.token > before->leased && grant.token > before->other && grant.token > before->plain);
    /* One who waits needs not wait. */
    CHECK_RC(take(&handle, "other", HOUR_MS, 60000, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD && grant.token > before->other);
    /* The lock without a lease is what it was, and as old as the wall clock says. */
    test_check_owner(&handle, "plain", "ann");
    CHECK_RC(take(&handle, "plain", 0, 0, &grant), -EEXIST);
    CHECK_RC(dss_lock_list(&handle, &old, note_left, &left_ms), 0);
    CHECK(left_ms == -1);
    CHECK(left_of(&handle, "plain") == INT64_MAX);
    CHECK_RC(dss_lock_refresh(&handle, "plain", "ann"), 0);
    dss_fini(&handle);
}

static void another_boot(void)
{
    struct dss_handle handle;
    struct first_boot before;

    set_other_boots(1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    before.leased = must_take(&handle, "leased", HOUR_MS);
    before.plain = must_take(&handle, "plain", 0);
    before.other = must_take(&handle, "other", HOUR_MS);
    dss_fini(&handle);
    test_join(spawn(after_another_boot, &before));
    /* And so it is after the next boot. */
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_is_gone(&handle, "leased");
    test_check_owner(&handle, "plain", "ann");
    CHECK_RC(dss_lock(&handle, "plain", "bob"), -EEXIST);
    CHECK_RC(dss_unlock(&handle, "plain", "ann"), 0);
    CHECK(must_take(&handle, "plain", 0) > before.other);
    CHECK_RC(dss_unlock(&handle, "plain", "ann"), 0);
    dss_fini(&handle);
    set_other_boots(0);
}

/* ---- Another time since boot. ---- */

static struct dss_handle inherited;
static struct line to_inside, to_outside;

static int64_t boot_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The children of this process will see another time; the process itself does not. */
static void shift_clock_of_children(void)
{
    char text[128];
    int fd;

    private_mounts(); /* a user without rights has those of root in the namespace that comes with it */
    if (unshare(CLONE_NEWTIME) != 0) {
        fprintf(stderr, "this test needs time namespaces (Linux 5.6 with CONFIG_TIME_NS): %s\n", strerror(errno));
        exit(1);
    }
    snprintf(text, sizeof(text), "monotonic %d 0\nboottime %d 0\n", OFFSET_S, OFFSET_S);
    fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* Both sides ask for what is left of a lease that one of them took: inside, between two times outside. */
static void compare_inside(struct dss_handle *handle, const char *lock_id)
{
    tell(&to_outside, 1);
    CHECK(hear(&to_inside) == 1);
    tell(&to_outside, (int)left_of(handle, lock_id));
}

static void compare_outside(struct dss_handle *handle, const char *lock_id)
{
    int64_t before_ms, inside_ms, after_ms;

    CHECK(hear(&to_outside) == 1);
    before_ms = left_of(handle, lock_id);
    tell(&to_inside, 1);
    inside_ms = hear(&to_outside);
    after_ms = left_of(handle, lock_id);
    CHECK(after_ms > 0);
    CHECK(inside_ms <= before_ms + APART_MS && inside_ms >= after_ms - APART_MS);
}

static void be_inside_namespace(void *arg)
{
    int64_t boot_outside_ms = *(int64_t *)arg, waited_ms;
    struct dss_handle own;
    struct dss_grant grant;

    CHECK(llabs(boot_ms() - boot_outside_ms - OFFSET_S * 1000LL) < 20000);
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    compare_inside(&own, "outside's");
    compare_inside(&inherited, "outside's");
    CHECK_RC(take(&own, "outside's", 0, 0, &grant), -EEXIST);
    (void)must_take(&own, "inside's", HOUR_MS);
    compare_inside(&own, "inside's");
    (void)must_take(&inherited, "inherited", HOUR_MS);
    compare_inside(&own, "inherited");

    /* A short lease from outside is over in here when it is over there. */
    CHECK(hear(&to_inside) == 2);
    waited_ms = boot_ms();
    CHECK_RC(take(&own, "short", SHORT_MS, 20000, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD);
    CHECK(grant.left_ms > 0 && grant.left_ms <= SHORT_MS);
    waited_ms = boot_ms() - waited_ms;
    CHECK(waited_ms < SHORT_MS + 3000);
    tell(&to_outside, 3);
    CHECK_RC(take(&own, "short", 0, 20000, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD);
    dss_fini(&own);
    dss_fini(&inherited);
}

/* Is in the namespace of all, but its children are not. */
static void parent_of_namespace(void *arg)
{
    int64_t now_ms = boot_ms();
    pid_t child;
    struct dss_handle own;

    (void)arg;
    shift_clock_of_children();
    CHECK(llabs(boot_ms() - now_ms) < 20000);
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    child = spawn(be_inside_namespace, &now_ms);
    compare_outside(&own, "outside's");
    compare_outside(&own, "outside's");
    compare_outside(&inherited, "inside's");
    compare_outside(&own, "inherited");
    now_ms = boot_ms();
    (void)must_take(&own, "short", SHORT_MS);
    tell(&to_inside, 2);
    CHECK(hear(&to_outside) == 3);
    CHECK(boot_ms() - now_ms >= SHORT_MS);
    test_join(child);
    CHECK(boot_ms() - now_ms >= 2 * SHORT_MS);
    dss_fini(&own);
    dss_fini(&inherited);
}

static void another_time(void)
{
    line_make(&to_inside);
    line_make(&to_outside);
    CHECK_RC(dss_init_uri(&inherited, test_uri()), 0);
    (void)must_take(&inherited, "outside's", HOUR_MS);
    test_join(spawn(parent_of_namespace, NULL));
    /* What was left by those in there is what it is out here. */
    CHECK(left_of(&inherited, "inside's") > 0 && left_of(&inherited, "inside's") <= (int64_t)HOUR_MS);
    CHECK_RC(dss_lock(&inherited, "inside's", "bob"), -EEXIST);
    dss_fini(&inherited);
}

int main(void)
{
    char *settings = test_path("clock");

    CHECK(setenv("DSS_TEST_CLOCK", settings, 1) == 0);
    free(settings);
    (void)test_uri();
    another_boot();
    another_time();
    return 0;
}
