/*
 * Proves: a connection string that is nonsense is refused with -EINVAL (-ERANGE for a number that is too large or too
 * small) before anything is made or opened, the handle is NULL afterwards, and the text says what was not understood.
 */
#include "test.h"

/* An init that must fail leaves a handle that is closed, whatever the variable held before. */
static void check_refused(const char *uri, int rc)
{
    struct dss_handle handle;

    fprintf(stderr, "%s\n", uri != NULL ? uri : "NULL");
    memset(&handle, 0xa5, sizeof(handle));
    CHECK_RC(dss_init_uri(&handle, uri), rc);
    CHECK(handle.dh_conn == NULL);
    CHECK(strlen(dss_last_error()) > 0);
    CHECK_RC(dss_lock(&handle, "id", "owner"), -EBADF);
    dss_fini(&handle);
}

/* The test's store with an option added to its connection string. */
static void check_named(const char *option, const char *culprit, int rc)
{
    char *uri = test_uri_with(option);

    check_refused(uri, rc);
    (void)dss_init_uri(&(struct dss_handle){ NULL }, uri);
    free(uri);
    if (strstr(dss_last_error(), culprit) == NULL) {
        fprintf(stderr, "%s is not named in: %s\n", culprit, dss_last_error());
        exit(1);
    }
}

static void check_works(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "id", "owner"), 0);
    CHECK_RC(dss_unlock(&handle, "id", "owner"), 0);
    dss_fini(&handle);
}

static int files_in(const char *path)
{
    struct dirent *entry;
    DIR *dir = opendir(path);
    int count = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

int main(void)
{
    char *patient;

    CHECK(chdir(test_dir()) == 0);

    check_refused(NULL, -EINVAL);
    check_refused("", -EINVAL);
    /* A scheme that is not known is a mistake, never the name of a file. */
    check_refused("mysql://host/db", -EINVAL);
    check_refused("sqlite3:dss.db", -EINVAL);
    check_refused("http://localhost", -EINVAL);
    check_refused("file:dss.db", -EINVAL);
    check_refused("dss.db", -EINVAL);
    check_refused("localhost", -EINVAL);
    check_refused("./dss.db?timeout_ms=5", -EINVAL);
    check_refused("sqlite:", -EINVAL);
    check_refused("sqlite:?timeout_ms=5", -EINVAL);

    check_named("colour=blue", "colour", -EINVAL);
    check_named("timeout_ms=5&colour=blue", "colour", -EINVAL);
    check_named("timeout_ms=", "timeout_ms", -EINVAL);
    check_named("timeout_ms", "timeout_ms", -EINVAL);
    check_named("timeout_ms=soon", "timeout_ms", -EINVAL);
    check_named("timeout_ms=-1", "timeout_ms", -ERANGE);
    check_named("timeout_ms=10s", "timeout_ms", -EINVAL);
    check_named("timeout_ms=99999999999999999999999999", "timeout_ms", -ERANGE);
    if (test_store_is("sqlite")) {
        check_named("mode=0999", "mode", -EINVAL);
        check_named("mode=", "mode", -EINVAL);
        check_named("mode=rw", "mode", -EINVAL);
        check_named("mode=07777777", "mode", -EINVAL);
    }
    CHECK(files_in(".") == 0);

    check_works(test_uri());
    patient = test_uri_with("timeout_ms=5000");
    check_works(patient);
    free(patient);
    if (test_store_is("sqlite")) {
        /* A path without a scheme has a slash in it, is literal and takes no options. */
        check_works("./bare.db");
        CHECK(access("bare.db", F_OK) == 0);
        check_works("./what?.db");
        CHECK(access("what?.db", F_OK) == 0);
    }
    return 0;
}
