/*
 * An administrator mistypes the connection string, or means something that this library does not have.
 *
 * A string that is taken for a file name in spite of that makes a store of its own, in which the program is alone with
 * its locks. (Two folders, two stores, two holders of one lock: that happened with the words etcd, memory, localhost and
 * locks.db?mode=0660, each of which made a file in the working folder.) So each kind of nonsense has its errno, the text names the part that is wrong, and no file appears. Strings of
 * servers: network/bad_uris.c.
 */
#include "hazard.h"

static int files_in_folder(void)
{
    DIR *dir = opendir(".");
    struct dirent *entry;
    int count = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

struct bad_uri {
    const char *uri;
    int rc;
    const char *culprit; /* what the text of the error must show */
};

static const struct bad_uri bad_uris[] = {
    /* Schemes that are not in the table. */
    {"foo:bar", -EINVAL, "foo"},
    {"http://x", -EINVAL, "http"},
    {"a:b", -EINVAL, "a:"},
    {"SQLITE:/x", -EINVAL, "SQLITE"},
    {"Memory:", -EINVAL, "Memory"},
    {"sqlite3:/x", -EINVAL, "sqlite3"},
    {"file:dss.db", -EINVAL, "file"},
    {"c:\\dss.db", -EINVAL, "c:"},
    {"", -EINVAL, "empty"},
    /* Words: the text says what was probably meant. */
    {"etcd", -EINVAL, "etcd://host:2379"},
    {"ETCD", -EINVAL, "etcd://host:2379"},
    {"memory", -EINVAL, "write memory: "},
    {"postgres", -EINVAL, "postgresql://host/database"},
    {"postgresql", -EINVAL, "postgresql://host/database"},
    {"sqlite", -EINVAL, "sqlite:/path/file.db"},
    {"localhost", -EINVAL, "postgresql://host/database or etcd://host:2379"},
    {"localhost:2379", -EINVAL, "localhost:"},
    {"10.0.0.1:2379", -EINVAL, "etcd://host:2379"},
    {"admin@localhost", -EINVAL, "postgresql://user@host/db"},
    {"locks.db", -EINVAL, "./locks.db or sqlite:locks.db"},
    {"-wal", -EINVAL, "./-wal"},
    {"..", -EINVAL, "no connection string"},
    {" ", -EINVAL, "no connection string"},
    {"line\nbreak", -EINVAL, "line\\x0abreak"},
    {"hots=db1 dbname=locks", -EINVAL, "hots="},
    {"timeout_ms=5 dbname=locks", -EINVAL, "timeout_ms="},
    {"foo=bar.db", -EINVAL, "foo="},
    /* A bare path takes no options. */
    {"locks.db?mode=0660", -EINVAL, "sqlite:locks.db?mode=..."},
    {"./x.db?mode=0660", -EINVAL, "sqlite:./x.db?mode=..."},
    {"./x.db?timeout_ms=5", -EINVAL, "sqlite:./x.db?timeout_ms=..."},
    {"./x?y.db?mode=0660", -EINVAL, "sqlite:./x?y.db?mode=..."},
    {"./x.db?=?colour=blue", -EINVAL, "colour=..."},
    /* No file. */
    {"sqlite:", -EINVAL, "sqlite:"},
    {"sqlite:?timeout_ms=5", -EINVAL, "sqlite:"},
    /* Options. */
    {"sqlite:x.db?foo=1", -EINVAL, "foo"},
    {"sqlite:x.db?timeout_ms=5&foo=1", -EINVAL, "foo"},
    {"sqlite:x.db?TIMEOUT_MS=5", -EINVAL, "TIMEOUT_MS"},
    {"sqlite:x.db? timeout_ms=5", -EINVAL, "timeout_ms"},
    {"sqlite:x.db?timeout_ms=5&timeout_ms=6", -EINVAL, "timeout_ms"},
    {"sqlite:x.db?mode=0600&mode=0600", -EINVAL, "mode"},
    {"sqlite:x.db?timeout_ms", -EINVAL, "timeout_ms"},
    {"sqlite:x.db?timeout_ms=", -EINVAL, "timeout_ms"},
    {"sqlite:x.db?=5", -EINVAL, "option"},
    {"sqlite:x.db?timeout_ms=5&", -EINVAL, "option"},
    {"sqlite:x.db?&timeout_ms=5", -EINVAL, "option"},
    {"sqlite:x.db?timeout_ms=5?mode=0600", -EINVAL, "timeout_ms"},
    {"memory:x?foo=1", -EINVAL, "foo"},
    {"memory:x?mode=0600", -EINVAL, "mode"},
    {"memory:x?timeout_ms=1s", -EINVAL, "timeout_ms"},
    /* Numbers. */
    {"sqlite:x.db?timeout_ms=abc", -EINVAL, "abc"},
    {"sqlite:x.db?timeout_ms=5x", -EINVAL, "5x"},
    {"sqlite:x.db?timeout_ms=0x10", -EINVAL, "0x10"},
    {"sqlite:x.db?timeout_ms=1e3", -EINVAL, "1e3"},
    {"sqlite:x.db?timeout_ms= 5", -EINVAL, "timeout_ms"},
    {"sqlite:x.db?timeout_ms=1.5", -EINVAL, "1.5"},
    {"sqlite:x.db?timeout_ms=99999999999999999999999999", -ERANGE, "99999999999999999999999999"},
    {"sqlite:x.db?timeout_ms=18446744073709551616", -ERANGE, "18446744073709551616"},
    {"sqlite:x.db?timeout_ms=-5", -ERANGE, "-5"},
    {"sqlite:x.db?mode=abc", -EINVAL, "abc"},
    {"sqlite:x.db?mode=0999", -EINVAL, "0999"},
    {"sqlite:x.db?mode=", -EINVAL, "mode"},
    {"sqlite:x.db?mode=0400", -EINVAL, "0400"},
    {"sqlite:x.db?mode=04600", -EINVAL, "04600"},
    {"sqlite:x.db?mode=u+rw", -EINVAL, "mode"},
};

static void is_refused(const char *uri, int rc, const char *culprit)
{
    struct dss_handle handle;

    memset(&handle, 0xa5, sizeof(handle));
    if (dss_init_uri(&handle, uri) != rc)
        fprintf(stderr, "the string is %.200s\n", uri);
    CHECK_RC(dss_init_uri(&handle, uri), rc);
    CHECK(handle.dh_conn == NULL);
    if (strstr(dss_last_error(), culprit) == NULL)
        fprintf(stderr, "%.200s: the text does not show %.200s: %s\n", uri, culprit, dss_last_error());
    CHECK(strstr(dss_last_error(), culprit) != NULL);
    CHECK(files_in_folder() == 0);
}

/* The string makes a store in the file of that name. */
static void makes_file(const char *uri, const char *path)
{
    struct dss_handle handle;

    CHECK(!exists(path));
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    if (!exists(path))
        fprintf(stderr, "%s did not make the file %s\n", uri, path);
    CHECK(exists(path));
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
}

static void odd_names_are_literal(void)
{
    makes_file("sqlite:a%20b#c.db?timeout_ms=500", "a%20b#c.db");
    makes_file("sqlite:foo:bar.db", "foo:bar.db");
    makes_file("sqlite:x.db?mode=0660", "x.db");
    makes_file("./question?.db", "question?.db");
    makes_file("./options?timeout_ms", "options?timeout_ms");
    makes_file("./options?=5", "options?=5");
    makes_file("./foo=bar.db", "foo=bar.db");
    makes_file("sqlite:locks.db", "locks.db");
    makes_file("./etcd", "etcd");
    makes_file("./dbname=x", "dbname=x");
    makes_file("./a:b", "a:b");
    makes_file("./sqlite:x", "sqlite:x");
    makes_file("./-wal", "-wal");
    makes_file("sqlite:///proc/self/cwd/slashes.db", "slashes.db");
    makes_file("./line\nbreak '\" \xff.db", "line\nbreak '\" \xff.db");
}

/* The string with a name of so many letters after its beginning; the caller frees it. */
static char *with_long_name(const char *beginning, size_t letters)
{
    size_t length = strlen(beginning);
    char *uri = malloc(length + letters + 1);

    CHECK(uri != NULL);
    memcpy(uri, beginning, length);
    memset(uri + length, 'x', letters);
    uri[length + letters] = '\0';
    return uri;
}

static void long_name_is_refused(const char *beginning, size_t letters)
{
    char *uri = with_long_name(beginning, letters);

    is_refused(uri, -ENAMETOOLONG, "xxx");
    free(uri);
}

static void long_paths(void)
{
    long_name_is_refused("sqlite:", 256);
    long_name_is_refused("./", 300);
    long_name_is_refused("sqlite:/tmp/", 5000);
    long_name_is_refused("/tmp/", 100000);
    /* The name itself would be allowed, but SQLite's own files beside it have four letters more. */
    long_name_is_refused("./", 253);
}

/* Where a relative path leads is settled by the init: the host may change its folder afterwards, or fork. */
static void relative_paths(void)
{
    struct dss_handle relative, absolute;
    char *uri = sqlite_uri(test_dir(), ""), absolute_uri[512];

    snprintf(absolute_uri, sizeof(absolute_uri), "%s/relative.db", uri);
    CHECK_RC(dss_init_uri(&relative, "./relative.db"), 0);
    CHECK(chdir("/") == 0);
    CHECK_RC(dss_lock(&relative, "drive", "ann"), 0);
    CHECK_RC(dss_init_uri(&absolute, absolute_uri), 0);
    CHECK_RC(dss_lock(&absolute, "drive", "bob"), -EEXIST);
    test_join(spawn((void (*)(void *))dss_fini, &absolute));
    CHECK_RC(dss_lock(&relative, "drive", "bob"), -EEXIST);
    dss_fini(&absolute);
    CHECK_RC(dss_unlock(&relative, "drive", "ann"), 0);
    CHECK_RC(dss_lock(&relative, "drive", "bob"), 0);
    dss_fini(&relative);
    CHECK(chdir(test_dir()) == 0);
    CHECK(exists("relative.db"));
    free(uri);
}

int main(void)
{
    CHECK(chdir(test_dir()) == 0);
    CHECK_RC(dss_init_uri(NULL, "memory:"), -EINVAL);
    for (size_t i = 0; i < sizeof(bad_uris) / sizeof(bad_uris[0]); i++)
        is_refused(bad_uris[i].uri, bad_uris[i].rc, bad_uris[i].culprit);
    long_paths();
    odd_names_are_literal();
    relative_paths();
    return 0;
}
