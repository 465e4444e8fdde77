/*
 * A daemon forks with an open handle: for a program that it starts, for each client, or to put itself in the
 * background.
 *
 * SQLite keeps a table of its locks in the process's memory, and its open file descriptions, with the locks on them,
 * are shared with the child: parent and child would both believe that they have a lock of which there is only one.
 * Here is what each side may rely on afterwards; fork_storm.c looks for double grants.
 */
#include "hazard.h"

static struct dss_handle inherited;

static void child_uses_inherited(void *arg)
{
    (void)arg;
    CHECK_RC(dss_lock(&inherited, "parent's", "child"), -EEXIST);
    CHECK_RC(dss_unlock(&inherited, "parent's", "child"), -EACCES);
    test_check_owner(&inherited, "parent's", "parent");
    CHECK_RC(dss_lock(&inherited, "child's", "child"), 0);
    CHECK_RC(dss_lock_refresh(&inherited, "child's", "child"), 0);
    dss_fini(&inherited);
    CHECK(inherited.dh_conn == NULL);
    CHECK_RC(dss_lock(&inherited, "child's", "child"), -EBADF);
}

/* Its own handle first, beside the inherited one; then without it. */
static void child_opens_its_own(void *arg)
{
    struct dss_handle own;

    (void)arg;
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    CHECK_RC(dss_lock(&own, "parent's", "child"), -EEXIST);
    CHECK_RC(dss_lock(&own, "own", "child"), 0);
    test_check_owner(&inherited, "own", "child");
    dss_fini(&inherited);
    test_check_owner(&own, "own", "child");
    CHECK_RC(dss_unlock(&own, "own", "child"), 0);
    dss_fini(&own);
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    test_check_owner(&own, "parent's", "parent");
    dss_fini(&own);
}

/* Most children never touch the library. */
static void child_ends_at_once(void *arg)
{
    (void)arg;
}

static void grandchild(void *arg)
{
    (void)arg;
    test_check_owner(&inherited, "parent's", "parent");
    CHECK_RC(dss_lock(&inherited, "grandchild's", "grandchild"), 0);
    CHECK_RC(dss_unlock(&inherited, "grandchild's", "grandchild"), 0);
    dss_fini(&inherited);
}

static void child_forks_again(void *arg)
{
    (void)arg;
    test_join(spawn(grandchild, NULL));
    CHECK_RC(dss_lock(&inherited, "child's", "child"), 0);
    test_join(spawn(grandchild, NULL));
    CHECK_RC(dss_unlock(&inherited, "child's", "child"), 0);
    dss_fini(&inherited);
}

/* The parent ends right after the fork, as daemon(3) does it; the child works on. */
static void parent_goes_child_stays(void *arg)
{
    struct line *done = arg;

    if (fork() != 0)
        end_child();
    CHECK_RC(dss_lock(&inherited, "daemon's", "daemon"), 0);
    CHECK_RC(dss_unlock(&inherited, "daemon's", "daemon"), 0);
    dss_fini(&inherited);
    tell(done, 1);
}

static void parent_is_unharmed(void)
{
    test_check_owner(&inherited, "parent's", "parent");
    CHECK_RC(dss_lock(&inherited, "parent's", "parent"), -EEXIST);
    CHECK_RC(dss_lock_refresh(&inherited, "parent's", "parent"), 0);
    CHECK_RC(dss_lock(&inherited, "again", "parent"), 0);
    CHECK_RC(dss_unlock(&inherited, "again", "parent"), 0);
}

int main(void)
{
    struct line done;

    line_make(&done);
    CHECK_RC(dss_init_uri(&inherited, test_uri()), 0);
    CHECK_RC(dss_lock(&inherited, "parent's", "parent"), 0);
    test_join(spawn(child_uses_inherited, NULL));
    parent_is_unharmed();
    /* A lock belongs to its owner's name: that its process has ended changes nothing. */
    test_check_owner(&inherited, "child's", "child");
    CHECK_RC(dss_unlock(&inherited, "child's", "child"), 0);
    test_join(spawn(child_opens_its_own, NULL));
    parent_is_unharmed();
    test_join(spawn(child_ends_at_once, NULL));
    parent_is_unharmed();
    test_join(spawn(child_forks_again, NULL));
    parent_is_unharmed();
    test_join(spawn(parent_goes_child_stays, &done));
    CHECK(hear(&done) == 1);
    parent_is_unharmed();
    dss_fini(&inherited);
    return 0;
}
