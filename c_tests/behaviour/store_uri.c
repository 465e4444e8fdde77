/*
 * Proves: dss_uri() names the store that a handle has opened, so that dss_init_uri() opens the same
 * one by it, without passwords and with a file's full path; the text stays where it is until
 * dss_fini(), also in a forked child; a handle that is not open gives NULL and a last error, and
 * success leaves the last error alone.
 */
#include "test.h"

static void gives_null(struct dss_handle *handle)
{
    struct dss_handle closed = { NULL };

    CHECK_RC(dss_lock(&closed, NULL, NULL), -EBADF); /* so that there is another text before */
    CHECK(dss_uri(handle) == NULL);
    CHECK(strstr(dss_last_error(), "not open") != NULL || strstr(dss_last_error(), "closed") != NULL);
}

static void handles_that_are_not_open(void)
{
    struct dss_handle handle = { NULL }, copy;

    gives_null(NULL);
    gives_null(&handle);
    CHECK_RC(dss_init_uri(&handle, "foo:"), -EINVAL);
    CHECK(dss_uri(&handle) == NULL);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    copy = handle;
    dss_fini(&handle);
    gives_null(&handle);
    gives_null(&copy);
}

static void success_leaves_the_last_error(void)
{
    struct dss_handle handle, closed = { NULL };
    char text[512];

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&closed, "id", "owner"), -EBADF);
    snprintf(text, sizeof(text), "%s", dss_last_error());
    CHECK(dss_uri(&handle) != NULL);
    CHECK(strcmp(dss_last_error(), text) == 0 && text[0] != '\0');
    dss_fini(&handle);
}

/* The store of this connection string is called so, and its name opens it. */
static void is_called(const char *uri, const char *name)
{
    struct dss_handle by_uri, by_name;
    const char *text;

    CHECK_RC(dss_init_uri(&by_uri, uri), 0);
    text = dss_uri(&by_uri);
    CHECK(text != NULL);
    if (strcmp(text, name) != 0)
        fprintf(stderr, "%s is called %s, not %s\n", uri, text, name);
    CHECK(strcmp(text, name) == 0);
    CHECK_RC(dss_init_uri(&by_name, text), 0);
    CHECK_RC(dss_lock(&by_uri, "id", "owner"), 0);
    test_check_owner(&by_name, "id", "owner");
    CHECK_RC(dss_unlock(&by_uri, "id", "owner"), 0);
    CHECK(strcmp(dss_uri(&by_name), name) == 0);
    dss_fini(&by_name);
    CHECK(dss_uri(&by_uri) == text);
    dss_fini(&by_uri);
}

static void with_options(void)
{
    char *patient = test_uri_with("timeout_ms=5000");

    is_called(test_uri(), test_uri());
    is_called(patient, test_uri());
    free(patient);
}

/* Under a folder whose name has no odd letters. */
static void files(void)
{
    char folder[512], text[1024];

    CHECK(realpath(test_dir(), folder) != NULL && chdir(folder) == 0);
    snprintf(text, sizeof(text), "sqlite:%s/a%%20b#c.db", folder);
    is_called("sqlite:a%20b#c.db?mode=0660", text);
    is_called("./a%20b#c.db", text);
    CHECK(symlink("a%20b#c.db", "link.db") == 0);
    is_called("sqlite:link.db", text);
    snprintf(text, sizeof(text), "sqlite:%s/line\nbreak\xff.db", folder);
    is_called("./line\nbreak\xff.db", text);
    /* Behind sqlite: a question mark begins the options. */
    snprintf(text, sizeof(text), "%s/what?.db", folder);
    is_called("./what?.db", text);
}

/* The server of the tests asks for no password, so any will do. */
static void passwords(void)
{
    char uri[1024], keywords[1024], user[128], host[64], schema[64];
    int port;

    snprintf(uri, sizeof(uri), "%s&password=secret&sslpassword=secret&connect_timeout=7", test_uri());
    snprintf(keywords, sizeof(keywords), "%s", test_uri());
    CHECK(sscanf(test_uri(), "postgresql://%127[^@]@%63[^:]:%d/dss_test?schema=%63s", user, host, &port, schema) == 4);
    snprintf(keywords, sizeof(keywords), "postgresql://%s@%s:%d/dss_test?connect_timeout=7&schema=%s", user, host, port,
             schema);
    is_called(uri, keywords);
    snprintf(uri, sizeof(uri), "postgresql://%s:secret@%s:%d/dss_test?schema=%s", user, host, port, schema);
    is_called(uri, test_uri());
    snprintf(uri, sizeof(uri), "host=%s password='sec ret' port=%d dbname=dss_test schema=%s user = %s", host, port, schema,
             user);
    snprintf(keywords, sizeof(keywords), "host=%s port=%d dbname=dss_test user = %s schema=%s", host, port, user, schema);
    is_called(uri, keywords);
}

/* A child's handle is its own, but the pointer that it got from its parent is still good. */
static void in_a_child(void)
{
    struct dss_handle handle;
    const char *text;
    pid_t child;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    text = dss_uri(&handle);
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(dss_uri(&handle) == text);
        CHECK_RC(dss_lock(&handle, "id", "child"), test_store_is("memory") ? -ECHILD : 0);
        CHECK(dss_uri(&handle) == text && strcmp(text, test_uri()) == 0);
        execl("/bin/true", "true", (char *)NULL); /* what the parent had open is no leak of the child's */
        _exit(1);
    }
    test_join(child);
    CHECK(dss_uri(&handle) == text && strcmp(text, test_uri()) == 0);
    (void)dss_unlock(&handle, "id", NULL);
    dss_fini(&handle);
}

int main(void)
{
    (void)test_uri();
    handles_that_are_not_open();
    success_leaves_the_last_error();
    with_options();
    in_a_child();
    if (test_store_is("sqlite"))
        files();
    if (test_store_is("postgres"))
        passwords();
    return 0;
}
