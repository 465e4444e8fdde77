/*
 * The connection string leads to something that is no store: a folder, a device, a text, somebody else's database, or
 * a store of a newer version of this library.
 *
 * SQLite repairs, recovers and initialises what it opens: a leftover -wal of a stranger would be played into his file
 * and removed. So the library looks before SQLite opens anything, says what it found, and leaves every byte and every
 * file as it was.
 */
#include "folder.h"
#include "host_sqlite.h"

/* Each case has a folder of its own, in which nothing may change. */
static char *folder, *path, *uri;

static void new_case(void)
{
    static int number;
    char name[32];

    snprintf(name, sizeof(name), "case-%d", number++);
    folder = test_path(name);
    CHECK(mkdir(folder, 0755) == 0);
    path = malloc(strlen(folder) + sizeof("/dss.db"));
    CHECK(path != NULL);
    sprintf(path, "%s/dss.db", folder);
    uri = sqlite_uri(path, "");
}

static void end_case(void)
{
    free(uri);
    free(path);
    free(folder);
}

static void init_gives(int rc)
{
    struct dss_handle handle;

    memset(&handle, 0xa5, sizeof(handle));
    CHECK_RC(dss_init_uri(&handle, uri), rc);
    CHECK(rc == 0 || handle.dh_conn == NULL);
    CHECK(rc == 0 || strstr(dss_last_error(), folder) != NULL);
    dss_fini(&handle);
}

/* Refused, and nothing in the folder is touched; twice, for the first try might leave something behind. */
static void is_refused(int rc)
{
    for (int i = 0; i < 2; i++) {
        struct snapshot before = take_snapshot(folder);

        init_gives(rc);
        check_unchanged(folder, before);
    }
}

/* ---- Paths that lead to no file. ---- */

static void missing_folder(void)
{
    new_case();
    CHECK(rmdir(folder) == 0);
    init_gives(-ENOENT);
    CHECK(!exists(folder));
    /* The parent is a file. */
    write_text(folder, "no folder\n");
    init_gives(-ENOENT);
    CHECK(unlink(folder) == 0);
    end_case();
}

static void special_files(void)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full"};
    struct dss_handle handle;

    new_case();
    CHECK(mkdir(path, 0755) == 0);
    is_refused(-EUCLEAN);
    CHECK(rmdir(path) == 0);
    /* The open of a FIFO waits for somebody at its other end, if one lets it. */
    CHECK(mkfifo(path, 0600) == 0);
    is_refused(-EUCLEAN);
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        CHECK_RC(dss_init_uri(&handle, devices[i]), -EUCLEAN);
        CHECK(strstr(dss_last_error(), devices[i]) != NULL);
    }
    CHECK(!exists("/dev/null-wal") && !exists("/dev/null-shm"));
    end_case();
}

/* ---- Files that are no database. ---- */

static void no_database(void)
{
    unsigned char bytes[8192];
    unsigned seed = 1;

    new_case();
    write_text(path, "Buy milk.\n");
    is_refused(-EUCLEAN);
    write_text(path, "x");
    is_refused(-EUCLEAN);
    write_text(path, "SQLite format 3");
    is_refused(-EUCLEAN);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)rand_r(&seed);
    write_file(path, bytes, sizeof(bytes));
    is_refused(-EUCLEAN);
    memset(bytes, 0, sizeof(bytes));
    write_file(path, bytes, sizeof(bytes));
    is_refused(-EUCLEAN);
    end_case();
}

/* ---- Somebody else's database. ---- */

static void make_foreign(const char *journal_mode)
{
    sqlite3 *db = host_open(path);

    sql(db, journal_mode);
    sql(db, "CREATE TABLE lock (id TEXT PRIMARY KEY, owner TEXT)");
    sql(db, "INSERT INTO lock VALUES ('drive', 'theirs')");
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

/* A program that died in the middle of its work: what it committed last is in its -wal alone. */
static void die_with_wal(void *arg)
{
    sqlite3 *db = host_open(path);

    (void)arg;
    sql(db, "INSERT INTO lock VALUES ('robot', 'in the wal')");
    end_child();
}

static void foreign_database(void)
{
    sqlite3 *db;

    new_case();
    make_foreign("PRAGMA journal_mode=DELETE");
    is_refused(-EUCLEAN);
    end_case();

    new_case();
    make_foreign("PRAGMA journal_mode=WAL");
    is_refused(-EUCLEAN);
    test_join(spawn(die_with_wal, NULL));
    is_refused(-EUCLEAN);
    db = host_open(path);
    CHECK(host_number(db, "SELECT count(*) FROM lock") == 2);
    /* In use, within a transaction: neither its locks nor its files may suffer, though it is in this process. */
    sql(db, "BEGIN IMMEDIATE");
    sql(db, "INSERT INTO lock VALUES ('changer', 'open')");
    is_refused(-EUCLEAN);
    sql(db, "COMMIT");
    CHECK(host_number(db, "SELECT count(*) FROM lock") == 3);
    host_integrity(db);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    end_case();
}

static struct line question, answer;

/* Tells whether the database can be written by somebody else. */
static void other_writer(void *arg)
{
    (void)arg;
    while (hear(&question) != 0) {
        sqlite3 *db = NULL;
        int rc;

        CHECK(sqlite3_open(path, &db) == SQLITE_OK);
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL);
        CHECK(sqlite3_close(db) == SQLITE_OK);
        tell(&answer, rc);
    }
}

/* The look at the file must not take the locks away that the host's SQLite has on it (see close_drops.c). */
static void foreign_locks_survive_the_look(void)
{
    sqlite3 *db;
    pid_t other;

    new_case();
    make_foreign("PRAGMA journal_mode=DELETE");
    line_make(&question);
    line_make(&answer);
    other = spawn(other_writer, NULL);
    db = host_open(path);
    sql(db, "BEGIN IMMEDIATE");
    tell(&question, 1);
    CHECK(hear(&answer) == SQLITE_BUSY);
    init_gives(-EUCLEAN);
    tell(&question, 1);
    CHECK(hear(&answer) == SQLITE_BUSY);
    sql(db, "ROLLBACK");
    CHECK(sqlite3_close(db) == SQLITE_OK);
    tell(&question, 0);
    test_join(other);
    end_case();
}

/* ---- Stores of ours that were damaged, or that are newer. ---- */

static void make_store(void)
{
    struct dss_handle handle;
    char lock_id[32];

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(lock_id, sizeof(lock_id), "drive %d", i);
        CHECK_RC(dss_lock(&handle, lock_id, "ann"), 0);
    }
    dss_fini(&handle);
}

static void truncated_store(void)
{
    struct stat found;

    new_case();
    make_store();
    CHECK(stat(path, &found) == 0);
    /* From the end to the beginning: whole pages, halves of them, and within the header. */
    for (off_t size = found.st_size - 1; size > 0; size = size > 4096 ? (size - 1) / 2048 * 2048 : size / 3) {
        CHECK(truncate(path, size) == 0);
        is_refused(-EUCLEAN);
    }
    end_case();
}

static void newer_version(void)
{
    struct dss_handle handle;
    sqlite3 *db;

    new_case();
    make_store();
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "before", "ann"), 0);
    db = host_open(path);
    CHECK(host_number(db, "PRAGMA user_version") < 1000);
    sql(db, "PRAGMA user_version=1000");
    /* Another program has brought the store to its version while this one has it open. */
    CHECK_RC(dss_lock(&handle, "drive 0", "bob"), -EPROTONOSUPPORT);
    CHECK_RC(dss_lock(&handle, "new", "bob"), -EPROTONOSUPPORT);
    CHECK_RC(dss_lock_refresh(&handle, "before", "ann"), -EPROTONOSUPPORT);
    CHECK_RC(dss_unlock(&handle, "before", "ann"), -EPROTONOSUPPORT);
    CHECK_RC(dss_lock_status(&handle, "before", NULL, NULL), -EPROTONOSUPPORT);
    dss_fini(&handle);
    /* The new version stands in the -wal alone. */
    init_gives(-EPROTONOSUPPORT);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    init_gives(-EPROTONOSUPPORT);
    is_refused(-EPROTONOSUPPORT);
    end_case();
}

/* ---- Names that lead elsewhere, and rights. ---- */

/* Somebody who may write in the folder puts a link where SQLite makes its -wal. */
static void linked_side_files(void)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal"};

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char side[512], *victim, *bytes;
        struct dss_handle handle;
        size_t size;

        new_case();
        victim = test_path("victim");
        write_text(victim, "precious\n");
        snprintf(side, sizeof(side), "%s%s", path, suffixes[i]);
        CHECK(symlink(victim, side) == 0);
        if (dss_init_uri(&handle, uri) == 0)
            (void)dss_lock(&handle, "drive", "ann");
        dss_fini(&handle);
        bytes = read_file(victim, &size);
        CHECK(size == strlen("precious\n") && memcmp(bytes, "precious\n", size) == 0);
        free(bytes);
        free(victim);
        end_case();
    }
}

static void without_rights(void *arg)
{
    (void)arg;
    become_nobody();
    init_gives(-EACCES);
}

/* The case's folder belongs to whoever runs the test; the user without rights may look at its names. */
static void missing_rights(void)
{
    new_case();
    CHECK(chmod(test_dir(), 0755) == 0);
    CHECK(chmod(folder, 0555) == 0);
    test_join(spawn(without_rights, NULL));
    CHECK(chmod(folder, 0755) == 0);
    make_store();
    CHECK(chmod(path, 0) == 0);
    test_join(spawn(without_rights, NULL));
    /* It may be read, but a store that can't be written is of no use. */
    CHECK(chmod(path, 0444) == 0);
    test_join(spawn(without_rights, NULL));
    CHECK(chmod(path, 0600) == 0);
    CHECK(chmod(folder, 0) == 0);
    test_join(spawn(without_rights, NULL));
    CHECK(chmod(folder, 0755) == 0);
    init_gives(0);
    end_case();
}

int main(void)
{
    missing_folder();
    special_files();
    no_database();
    foreign_database();
    foreign_locks_survive_the_look();
    truncated_store();
    newer_version();
    linked_side_files();
    missing_rights();
    return 0;
}
