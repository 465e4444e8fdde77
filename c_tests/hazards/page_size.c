/*
 * An administrator has rebuilt a store's file with pages of 4 KiB, which SQLite's own tool can do.
 * The frames of its log are longer then than those of a store that libdss has made.
 *
 * Proves: locks are taken and released in such a file as in any other; a log is not taken for one
 * that was cut short.
 */
#include "host_sqlite.h"

int main(void)
{
    static const char *const steps[] = {"PRAGMA journal_mode=DELETE", "PRAGMA page_size=4096",
                                        "VACUUM", "PRAGMA journal_mode=WAL"};
    const char *uri = test_uri(), *path = uri + strlen("sqlite:");
    struct dss_handle handle;
    sqlite3 *db = NULL;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "before", "ann"), 0);
    dss_fini(&handle);
    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        sql(db, steps[i]);
    CHECK(host_number(db, "PRAGMA page_size") == 4096);
    CHECK(sqlite3_close(db) == SQLITE_OK);

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < 10; i++) {
        CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
        CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    }
    test_check_owner(&handle, "before", "ann");
    dss_fini(&handle);
    return 0;
}
