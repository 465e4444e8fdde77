/*
 * A process with an open `memory:` store forks.
 *
 * The child has a copy of the store's memory, not the store: what it would lock there, the parent never learns of. So
 * the inherited handle refuses every call with -ECHILD, and a store that the child opens, under the same name too, is
 * a new one of its own.
 */
#include "hazard.h"

static struct dss_handle inherited;

static void inherited_refuses(void)
{
    char *owner = (char *)"untouched";

    CHECK_RC(dss_lock(&inherited, "new", "child"), -ECHILD);
    CHECK_RC(dss_lock(&inherited, "parent's", "child"), -ECHILD);
    CHECK_RC(dss_lock_refresh(&inherited, "parent's", "parent"), -ECHILD);
    CHECK_RC(dss_unlock(&inherited, "parent's", "parent"), -ECHILD);
    CHECK_RC(dss_unlock(&inherited, "parent's", NULL), -ECHILD);
    CHECK_RC(dss_lock_status(&inherited, "parent's", &owner, NULL), -ECHILD);
    CHECK(owner == NULL);
    CHECK(dss_last_error()[0] != '\0');
}

static void fresh_store_works(const char *uri)
{
    struct dss_handle fresh;

    CHECK_RC(dss_init_uri(&fresh, uri), 0);
    CHECK_RC(dss_lock_status(&fresh, "parent's", NULL, NULL), -ENOLCK);
    CHECK_RC(dss_lock(&fresh, "parent's", "child"), 0);
    CHECK_RC(dss_lock(&fresh, "parent's", "other"), -EEXIST);
    CHECK_RC(dss_unlock(&fresh, "parent's", "child"), 0);
    dss_fini(&fresh);
}

static void child(void *arg)
{
    (void)arg;
    inherited_refuses();
    fresh_store_works("memory:");
    fresh_store_works("memory:test");
    inherited_refuses();
    dss_fini(&inherited);
    CHECK(inherited.dh_conn == NULL);
    fresh_store_works("memory:test");
}

int main(void)
{
    char *owner = NULL;

    CHECK_RC(dss_init_uri(&inherited, "memory:test"), 0);
    CHECK_RC(dss_lock(&inherited, "parent's", "parent"), 0);
    test_join(spawn(child, NULL));
    CHECK_RC(dss_lock_status(&inherited, "parent's", &owner, NULL), 0);
    CHECK(strcmp(owner, "parent") == 0);
    free(owner);
    CHECK_RC(dss_unlock(&inherited, "parent's", "parent"), 0);
    dss_fini(&inherited);
    return 0;
}
