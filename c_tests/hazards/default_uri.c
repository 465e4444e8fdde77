/*
 * A program calls dss_init without saying where the store is.
 *
 * The place must be the same for all programs of one user, must belong to that user alone, and must never be guessed:
 * without a home there is no default. Root's default is looked at on a /var/lib of the test's own.
 */
#include "hazard.h"

static void no_place_is_named(void)
{
    CHECK(unsetenv("DSS_URI") == 0 && unsetenv("HOME") == 0 && unsetenv("XDG_STATE_HOME") == 0);
}

/* The store that dss_init opens is the one in this file. */
static void init_uses(const char *path)
{
    char *uri = sqlite_uri(path, "");
    struct dss_handle by_default, by_path;

    CHECK_RC(dss_init(&by_default), 0);
    CHECK_RC(dss_init_uri(&by_path, uri), 0);
    CHECK_RC(dss_lock(&by_default, "drive", "ann"), 0);
    CHECK_RC(dss_lock(&by_path, "drive", "bob"), -EEXIST);
    CHECK_RC(dss_unlock(&by_path, "drive", "ann"), 0);
    dss_fini(&by_path);
    dss_fini(&by_default);
    free(uri);
}

static void init_gives(int rc, const char *culprit)
{
    struct dss_handle handle = {&handle};

    CHECK_RC(dss_init(&handle), rc);
    CHECK(handle.dh_conn == NULL);
    CHECK(strstr(dss_last_error(), culprit) != NULL);
}

static void mode_is(const char *path, mode_t mode)
{
    struct stat found;

    CHECK(stat(path, &found) == 0);
    if ((found.st_mode & 07777) != mode)
        fprintf(stderr, "%s has the mode %o\n", path, (unsigned)found.st_mode & 07777);
    CHECK((found.st_mode & 07777) == mode);
}

/* The path under a folder, in one of two buffers, so that two can be used in one line. */
static const char *under(const char *folder, const char *name)
{
    static char paths[2][512];
    static int next;

    next = !next;
    snprintf(paths[next], sizeof(paths[next]), "%s/%s", folder, name);
    return paths[next];
}

static void environment_names_it(const char *folder)
{
    CHECK(setenv("DSS_URI", under(folder, "named.db"), 1) == 0);
    init_uses(under(folder, "named.db"));
    CHECK(setenv("DSS_URI", "nonsense:", 1) == 0);
    init_gives(-EINVAL, "nonsense");
    CHECK(setenv("DSS_URI", "", 1) == 0);
    CHECK(setenv("HOME", folder, 1) == 0);
    init_uses(under(folder, ".local/state/dss/dss.db"));
}

static void ordinary_user(void *arg)
{
    const char *folder = arg;

    become_nobody();
    umask(022);
    no_place_is_named();
    init_gives(-EINVAL, "HOME");
    CHECK(setenv("HOME", "", 1) == 0);
    init_gives(-EINVAL, "HOME");

    CHECK(setenv("HOME", folder, 1) == 0);
    CHECK(setenv("XDG_STATE_HOME", under(folder, "state"), 1) == 0);
    CHECK(mkdir(under(folder, "state"), 0755) == 0);
    init_uses(under(folder, "state/dss/dss.db"));
    mode_is(under(folder, "state/dss"), 0700);
    mode_is(under(folder, "state/dss/dss.db"), 0600);
    CHECK(!exists(under(folder, ".local")));

    CHECK(unsetenv("XDG_STATE_HOME") == 0);
    init_uses(under(folder, ".local/state/dss/dss.db"));
    mode_is(under(folder, ".local/state/dss"), 0700);
    environment_names_it(folder);
}

/* The folders above must not stay open to others only because the host's umask is loose. */
static void loose_umask(void *arg)
{
    const char *folder = arg;

    become_nobody();
    umask(0);
    no_place_is_named();
    CHECK(setenv("XDG_STATE_HOME", folder, 1) == 0);
    init_uses(under(folder, "dss/dss.db"));
    mode_is(under(folder, "dss"), 0700);
    mode_is(under(folder, "dss/dss.db"), 0600);
}

static void root(void *arg)
{
    (void)arg;
    private_mounts();
    mount_tmpfs("/var/lib", "mode=0755");
    umask(022);
    no_place_is_named();
    /* Root's place does not depend on whose HOME is set, as after su(1). */
    CHECK(setenv("HOME", test_dir(), 1) == 0);
    init_uses("/var/lib/dss/dss.db");
    mode_is("/var/lib/dss", 0755);
    mode_is("/var/lib/dss/dss.db", 0600);
    CHECK(!exists(under(test_dir(), ".local")));
}

int main(void)
{
    char *home = folder_of_nobody("home"), *state = folder_of_nobody("state");

    test_join(spawn(ordinary_user, home));
    test_join(spawn(loose_umask, state));
    test_join(spawn(root, NULL));
    free(state);
    free(home);
    return 0;
}
