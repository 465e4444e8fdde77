/*
 * Proves: a program written to the letter of the specification (spec/dss_api.md), with its four calls and its spelling
 * of the errors and nothing else of the library's, compiles and behaves as is written there.
 */
#include "dss.h"

#include "test.h"

static int take(struct dss_handle *handle, const char *lock_id, const char *lock_owner)
{
    int rc = dss_lock(handle, lock_id, lock_owner);

    if (rc == -EEXIST)
        return 0; /* on lock failure */
    CHECK(rc == 0);
    return 1;
}

static const char *outcome(int rc)
{
    switch (rc) {
    case 0:
        return "success";
    case -ENOLOCK:
        return "the lock does not exist";
    case -EACCESS:
        return "the lock owner does not match";
    default:
        return "something else";
    }
}

/* A call is given by what it returned and what the specification says about that. */
static void check(int rc, const char *expected)
{
    if (strcmp(outcome(rc), expected) != 0) {
        fprintf(stderr, "%s (%d), not: %s\n", outcome(rc), rc, expected);
        exit(1);
    }
}

static void check_calls(struct dss_handle *handle)
{
    struct timeval taken, refreshed;
    char *owner;

    CHECK(take(handle, "tape-A0001", "drive-1"));
    CHECK(!take(handle, "tape-A0001", "drive-2"));
    check(dss_lock_status(handle, "tape-A0001", &owner, &taken), "success");
    CHECK(strcmp(owner, "drive-1") == 0);
    free(owner);

    check(dss_lock_refresh(handle, "tape-A0001", "drive-1"), "success");
    check(dss_lock_refresh(handle, "tape-A0001", "drive-2"), "the lock owner does not match");
    check(dss_lock_refresh(handle, "tape-A0002", "drive-1"), "the lock does not exist");
    check(dss_lock_status(handle, "tape-A0001", NULL, &refreshed), "success");
    CHECK(timercmp(&refreshed, &taken, >));

    check(dss_unlock(handle, "tape-A0001", "drive-2"), "the lock owner does not match");
    check(dss_unlock(handle, "tape-A0001", "drive-1"), "success");
    check(dss_unlock(handle, "tape-A0001", "drive-1"), "the lock does not exist");
    check(dss_lock_status(handle, "tape-A0001", NULL, NULL), "the lock does not exist");

    /* If lock_owner is NULL, the previous owner is not considered. */
    CHECK(take(handle, "tape-A0001", "drive-2"));
    check(dss_unlock(handle, "tape-A0001", NULL), "success");
    check(dss_unlock(handle, "tape-A0001", NULL), "the lock does not exist");
}

int main(void)
{
    struct dss_handle dss;
    int rc;

    CHECK(setenv("DSS_URI", test_uri(), 1) == 0);
    rc = dss_init(&dss);
    CHECK(rc == 0);
    check_calls(&dss);
    dss_fini(&dss);
    return 0;
}
