/*
 * The host changes what a process is surrounded by after it has opened its store: the folder, the locale, the umask, the environment,
 * the time zone, who gets SIGCHLD, how many files it may open.
 *
 * Proves: the open store stays the one that it is, whatever its name was relative to; files that are made later have the store's mode;
 * texts are the same in any locale; a name is looked up anew when it is opened anew.
 */
#include "rude.h"

#include <locale.h>
#include <sys/resource.h>

static void change_all(const char *folder)
{
    struct rlimit files = {64, 64};

    CHECK(chdir(folder) == 0);
    (void)umask(0777);
    (void)setlocale(LC_ALL, "C.UTF-8");
    CHECK(setenv("TZ", "Pacific/Kiritimati", 1) == 0);
    tzset();
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
}

static void work(struct dss_handle *handle)
{
    struct crew crew;
    char *owner = NULL;

    CHECK_RC(dss_lock_status(handle, "before", &owner, NULL), 0);
    CHECK(strcmp(owner, "ann") == 0);
    free(owner);
    CHECK_RC(dss_lock(handle, "before", "bob"), -EEXIST);
    CHECK(strstr(dss_last_error(), "held by") != NULL && strstr(dss_last_error(), "Z:") != NULL);
    crew_begins(&crew, handle);
    poll(NULL, 0, 100);
    crew_ends(&crew);
}

static void check_mode(const char *name)
{
    char *path = test_path(name);
    struct stat found;

    if (stat(path, &found) == 0)
        CHECK((found.st_mode & 0777) == 0600);
    free(path);
}

int main(void)
{
    int is_file = test_store_is("sqlite");
    struct dss_handle handle, other;
    char *folder = test_path("elsewhere");

    (void)test_uri();
    CHECK(mkdir(folder, 0700) == 0);
    CHECK(chdir(test_dir()) == 0);
    CHECK_RC(dss_init_uri(&handle, is_file ? "sqlite:dss.db" : test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "before", "ann"), 0);
    change_all(folder);
    work(&handle);
    check_mode("dss.db");
    check_mode("dss.db-wal");
    check_mode("dss.db-shm");
    if (is_file) {
        (void)umask(077);
        CHECK_RC(dss_init_uri(&other, "sqlite:dss.db"), 0);
        CHECK_RC(dss_lock(&other, "before", "elsewhere"), 0);
        dss_fini(&other);
    }
    CHECK_RC(dss_unlock(&handle, "before", "ann"), 0);
    dss_fini(&handle);
    free(folder);
    return 0;
}
