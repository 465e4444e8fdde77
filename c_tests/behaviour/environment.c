/*
 * Proves: dss_init() takes its connection string from $DSS_URI; without one it keeps the default store of an ordinary
 * user under $XDG_STATE_HOME or ~/.local/state, in a folder for that user alone.
 */
#include "test.h"

static void check_init_is(const char *uri)
{
    struct dss_handle by_environment, by_uri;

    CHECK_RC(dss_init(&by_environment), 0);
    CHECK_RC(dss_init_uri(&by_uri, uri), 0);
    CHECK_RC(dss_lock(&by_environment, "id", "owner"), 0);
    test_check_owner(&by_uri, "id", "owner");
    CHECK_RC(dss_unlock(&by_uri, "id", "owner"), 0);
    dss_fini(&by_uri);
    dss_fini(&by_environment);
}

static void check_init_fails(int rc)
{
    struct dss_handle handle;

    memset(&handle, 0xa5, sizeof(handle));
    CHECK_RC(dss_init(&handle), rc);
    CHECK(handle.dh_conn == NULL);
}

/* The folders above the default file are made, and the last one is closed to others. */
static void check_default_below(const char *base)
{
    char path[1024];
    struct stat dir;

    snprintf(path, sizeof(path), "%s/dss/dss.db", base);
    CHECK(access(path, F_OK) != 0);
    check_init_is(path);
    snprintf(path, sizeof(path), "%s/dss", base);
    CHECK(stat(path, &dir) == 0);
    CHECK((dir.st_mode & 07777) == 0700);
}

static void check_defaults(const char *home)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/state", home);
    CHECK(mkdir(path, 0755) == 0);
    CHECK(setenv("XDG_STATE_HOME", path, 1) == 0 && setenv("HOME", home, 1) == 0);
    CHECK(unsetenv("DSS_URI") == 0);
    check_default_below(path);

    CHECK(unsetenv("XDG_STATE_HOME") == 0);
    CHECK(setenv("DSS_URI", "", 1) == 0); /* empty is as good as unset */
    snprintf(path, sizeof(path), "%s/.local/state", home);
    check_default_below(path);

    CHECK(unsetenv("HOME") == 0);
    check_init_fails(-EINVAL);
}

/*
 * Root's default is a file of the system that a test must not touch, so root becomes nobody for this. The child leaves
 * by _exit(): the search for leaks is not allowed to trace a process that has changed its user.
 */
static void check_defaults_as_user(void)
{
    const uid_t nobody = 65534;
    pid_t child;

    if (geteuid() == 0)
        CHECK(chown(test_dir(), nobody, nobody) == 0);
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (geteuid() == 0)
            CHECK(setgid(nobody) == 0 && setuid(nobody) == 0);
        check_defaults(test_dir());
        _exit(0);
    }
    test_join(child);
}

int main(void)
{
    (void)test_dir();
    if (test_store_is("sqlite"))
        check_defaults_as_user();
    CHECK(setenv("DSS_URI", test_uri(), 1) == 0);
    check_init_is(test_uri());
    CHECK(setenv("DSS_URI", "nonsense://", 1) == 0);
    check_init_fails(-EINVAL);
    return 0;
}
