/*
 * Proves: any number of handles may be open on one store in one process, and all of them see the same locks, whichever
 * took them and whichever have been closed since.
 */
#include "test.h"

#define HANDLES 64

static struct dss_handle handles[HANDLES];

static void name_of(char *name, size_t size, size_t index)
{
    snprintf(name, size, "lock-%zu", index);
}

/* What one handle takes, each other one sees, is refused, and may refresh and unlock in the owner's name. */
static void check_shared(void)
{
    char name[32];
    size_t i, j;

    for (i = 0; i < HANDLES; i++) {
        name_of(name, sizeof(name), i);
        CHECK_RC(dss_lock(&handles[i], name, "owner"), 0);
    }
    for (i = 0; i < HANDLES; i++) {
        for (j = 0; j < HANDLES; j++) {
            name_of(name, sizeof(name), j);
            test_check_owner(&handles[i], name, "owner");
        }
        name_of(name, sizeof(name), (i + 1) % HANDLES);
        CHECK_RC(dss_lock(&handles[i], name, "other"), -EEXIST);
        CHECK_RC(dss_unlock(&handles[i], name, "other"), -EACCES);
        CHECK_RC(dss_lock_refresh(&handles[i], name, "owner"), 0);
    }
    for (i = 0; i < HANDLES; i++) {
        name_of(name, sizeof(name), (i + 7) % HANDLES);
        CHECK_RC(dss_unlock(&handles[i], name, "owner"), 0);
        for (j = 0; j < HANDLES; j++)
            test_check_owner(&handles[j], name, NULL);
    }
}

/* Closing handles one by one, the first opened first, releases nothing and leaves the others at work. */
static void check_closing(void)
{
    size_t i;

    CHECK_RC(dss_lock(&handles[0], "kept", "owner"), 0);
    for (i = 0; i + 1 < HANDLES; i++) {
        dss_fini(&handles[i]);
        CHECK_RC(dss_lock(&handles[i], "kept", "owner"), -EBADF);
        test_check_owner(&handles[i + 1], "kept", "owner");
        CHECK_RC(dss_lock(&handles[HANDLES - 1], "passing", "owner"), 0);
        CHECK_RC(dss_unlock(&handles[i + 1], "passing", "owner"), 0);
    }
    CHECK_RC(dss_unlock(&handles[HANDLES - 1], "kept", "owner"), 0);
    dss_fini(&handles[HANDLES - 1]);
}

int main(void)
{
    size_t i;

    for (i = 0; i < HANDLES; i++)
        CHECK_RC(dss_init_uri(&handles[i], test_uri()), 0);
    check_shared();
    check_closing();
    return 0;
}
