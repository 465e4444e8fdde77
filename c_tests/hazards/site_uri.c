/*
 * An administrator gives all users of a host one store, by /etc/dss/uri, and makes a mistake in it.
 *
 * A program that silently went on to its user's own file would be alone with its locks, beside
 * programs of other users that share the site's store. So the file is either used or an error that
 * says why, and only if there is no such file does dss_init go on. And whoever can write the file
 * could lead all users to another store: it must be root's alone. Each process here has an /etc and
 * a /var/lib of its own.
 */
#include <sys/resource.h>

#include "hazard.h"

#define SITE_FILE "/etc/dss/uri"

static char site_store[600];  /* what the site's file names */
static char site_path[512];   /* the same as a path */

/* The file with so many bytes, owned by root and readable by all. */
static void write_site(const char *text, size_t size)
{
    FILE *file = fopen(SITE_FILE, "w");

    CHECK(file != NULL && fwrite(text, 1, size, file) == size && fclose(file) == 0);
    CHECK(chmod(SITE_FILE, 0644) == 0);
}

static void site_says(const char *text)
{
    write_site(text, strlen(text));
}

static int open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* No file of root's or of another user's appeared. */
static void no_default_was_made(void)
{
    CHECK(!exists("/var/lib/dss"));
    CHECK(!exists("/etc/home"));
}

static void is_refused(int rc, const char *place, const char *reason)
{
    struct dss_handle handle = {&handle};
    int before = open_descriptors();

    CHECK_RC(dss_init(&handle), rc);
    CHECK(handle.dh_conn == NULL);
    if (strstr(dss_last_error(), place) == NULL || strstr(dss_last_error(), reason) == NULL)
        fprintf(stderr, "the text does not show \"%s\" and \"%s\": %s\n", place, reason, dss_last_error());
    CHECK(strstr(dss_last_error(), place) != NULL && strstr(dss_last_error(), reason) != NULL);
    CHECK(open_descriptors() == before);
    no_default_was_made();
}

static void opens(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init(&handle), 0);
    if (strcmp(dss_uri(&handle), uri) != 0)
        fprintf(stderr, "the store is %s, not %s\n", dss_uri(&handle), uri);
    CHECK(strcmp(dss_uri(&handle), uri) == 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
}

static void line_counts(const char *before, const char *after)
{
    char text[2048];

    snprintf(text, sizeof(text), "%s%s%s", before, site_store, after);
    site_says(text);
    opens(site_store);
    no_default_was_made();
}

static void the_first_line_counts(void)
{
    line_counts("", "");
    line_counts("", "\n");
    line_counts("", "\r\n");
    line_counts("# the store of this site\n\n \t \r\n  # not this: /nowhere/x.db\n\t", " \t\r\nmemory:not this\n");
    /* The environment comes first, if there is anything in it. */
    CHECK(setenv("DSS_URI", "memory:other", 1) == 0);
    opens("memory:other");
    CHECK(setenv("DSS_URI", "foo:", 1) == 0);
    is_refused(-EINVAL, "$DSS_URI", "foo:");
    CHECK(setenv("DSS_URI", "etcd", 1) == 0);
    is_refused(-EINVAL, "$DSS_URI", "etcd://host:2379");
    CHECK(setenv("DSS_URI", "", 1) == 0);
    opens(site_store);
    CHECK(unsetenv("DSS_URI") == 0);
}

static void wrong_lines_are_named(void)
{
    static const char nul[] = "\nsqlite:/tmp/x\0y.db\n", utf16[] = "\xff\xfe/\0x\0";

    site_says("# a comment\n\nfoo:bar\n");
    is_refused(-EINVAL, SITE_FILE ", line 3: ", "foo:");
    site_says("etcd\n");
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "etcd://host:2379");
    site_says("/tmp/x.db?mode=0660\n");
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "sqlite:/tmp/x.db?mode=...");
    site_says("sqlite:/tmp/x.db?timeout_ms=99999999999\n");
    is_refused(-ERANGE, SITE_FILE ", line 1: ", "99999999999");
    write_site(nul, sizeof(nul) - 1);
    is_refused(-EINVAL, SITE_FILE ", line 2: ", "NUL");
    write_site(utf16, sizeof(utf16) - 1);
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "NUL");
    /* Another store in each folder, and in each process. */
    site_says("sqlite:locks.db\n");
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "relative path");
    site_says("./locks.db\n");
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "relative path");
    site_says("\xef\xbb\xbfsqlite:/tmp/x.db\n");
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "relative path");
    site_says("memory:site\n");
    is_refused(-EINVAL, SITE_FILE ", line 1: ", "memory:");
}

/* A disk that was full, or an editor that has not saved yet: not a site without a store. */
static void a_file_without_a_string(void)
{
    static char comments[65537];

    site_says("");
    is_refused(-EINVAL, SITE_FILE, "no connection string");
    site_says("# nothing\n\n");
    is_refused(-EINVAL, SITE_FILE, "no connection string");
    memset(comments, '#', sizeof(comments));
    write_site(comments, sizeof(comments));
    is_refused(-EINVAL, SITE_FILE, "65536");
    write_site(comments, sizeof(comments) - 1);
    is_refused(-EINVAL, SITE_FILE, "no connection string");
}

static void what_others_can_write(void)
{
    site_says(site_store);
    CHECK(chmod(SITE_FILE, 0664) == 0);
    is_refused(-EPERM, SITE_FILE, "0664");
    CHECK(chmod(SITE_FILE, 0646) == 0);
    is_refused(-EPERM, SITE_FILE, "0646");
    CHECK(chmod(SITE_FILE, 0444) == 0);
    opens(site_store);
    CHECK(unlink(SITE_FILE) == 0);
}

static void no_ordinary_file(void)
{
    CHECK(mkdir(SITE_FILE, 0755) == 0);
    is_refused(-EINVAL, SITE_FILE, "ordinary file");
    CHECK(rmdir(SITE_FILE) == 0);
    CHECK(mkfifo(SITE_FILE, 0644) == 0);
    is_refused(-EINVAL, SITE_FILE, "ordinary file");
    CHECK(unlink(SITE_FILE) == 0);
    /* The folder itself was made a file. */
    CHECK(rmdir("/etc/dss") == 0);
    write_text("/etc/dss", site_store);
    is_refused(-ENOENT, SITE_FILE, "can't be read");
    CHECK(unlink("/etc/dss") == 0 && mkdir("/etc/dss", 0755) == 0);
}

static void links(void)
{
    write_text("/etc/real", site_store);
    CHECK(symlink("/etc/real", SITE_FILE) == 0);
    opens(site_store);
    CHECK(chmod("/etc/real", 0666) == 0);
    is_refused(-EPERM, SITE_FILE, "0666");
    CHECK(unlink("/etc/real") == 0);
    is_refused(-ENOENT, SITE_FILE, "symbolic link");
    CHECK(unlink(SITE_FILE) == 0);
    CHECK(rmdir("/etc/dss") == 0 && symlink("/etc/nowhere", "/etc/dss") == 0);
    is_refused(-ENOENT, SITE_FILE, "symbolic link");
    CHECK(unlink("/etc/dss") == 0 && mkdir("/etc/dss", 0755) == 0);
}

static void no_descriptor_is_left(void)
{
    struct rlimit before, none;
    struct dss_handle handle;
    int lowest = dup(0);

    CHECK(lowest >= 0 && close(lowest) == 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    site_says(site_store);
    none = before;
    none.rlim_cur = (rlim_t)lowest;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_RC(dss_init(&handle), -EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(strstr(dss_last_error(), SITE_FILE) != NULL);
    no_default_was_made();
}

static void as_nobody(void *unused)
{
    (void)unused;
    become_nobody();
    CHECK(setenv("HOME", "/etc/home", 1) == 0);
    is_refused(-EACCES, SITE_FILE, "can't be read");
}

/* Rights and owners: for these the test must have been started by root. */
static void other_users(void)
{
    site_says(site_store);
    CHECK(chown(SITE_FILE, NOBODY, 0) == 0);
    is_refused(-EPERM, SITE_FILE, "owned by user 65534");
    CHECK(chown(SITE_FILE, 0, NOBODY) == 0);
    opens(site_store);
    CHECK(chmod(SITE_FILE, 0600) == 0);
    test_join(spawn(as_nobody, NULL));
    CHECK(chmod(SITE_FILE, 0644) == 0 && chmod("/etc/dss", 0700) == 0);
    test_join(spawn(as_nobody, NULL));
    CHECK(chmod("/etc/dss", 0755) == 0);
    CHECK(unlink(SITE_FILE) == 0);
}

static void on_mounts_of_our_own(void *started_by_root)
{
    private_mounts();
    mount_tmpfs("/etc", "mode=0777");
    mount_tmpfs("/var/lib", "mode=0755");
    umask(022);
    CHECK(unsetenv("DSS_URI") == 0 && unsetenv("XDG_STATE_HOME") == 0 && setenv("HOME", "/etc/home", 1) == 0);
    CHECK(chdir("/etc") == 0 && mkdir("/etc/dss", 0755) == 0);

    the_first_line_counts();
    wrong_lines_are_named();
    a_file_without_a_string();
    what_others_can_write();
    no_ordinary_file();
    links();
    no_descriptor_is_left();
    if (*(int *)started_by_root)
        other_users();
    else
        CHECK(unlink(SITE_FILE) == 0);
    /* Without such a file it is the user's own, as ever. */
    CHECK(!exists(SITE_FILE));
    opens("sqlite:/var/lib/dss/dss.db");
}

int main(void)
{
    int started_by_root = geteuid() == 0;

    snprintf(site_path, sizeof(site_path), "%s/site.db", test_dir());
    snprintf(site_store, sizeof(site_store), "sqlite:%s", site_path);
    test_join(spawn(on_mounts_of_our_own, &started_by_root));
    CHECK(exists(site_path));
    return 0;
}
