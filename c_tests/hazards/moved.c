/*
 * The store's file is renamed, removed or replaced while a daemon has it open.
 *
 * The daemon would go on in a file that nobody else finds, others would make a new one under the old name, and one
 * lock is granted twice. And when the daemon closes its file at last, SQLite removes `dss.db-wal` by name: that is now
 * the new store's, with locks in it that were acknowledged.
 */
#include "hazard.h"

static struct line tenant_may_come, tenant_ready;

static void rename_it(const char *path)
{
    char *other = test_path("renamed.db");

    CHECK(rename(path, other) == 0);
    free(other);
}

static void remove_it(const char *path)
{
    CHECK(unlink(path) == 0);
}

static void remove_side_file(const char *path, const char *suffix)
{
    char side[512];

    snprintf(side, sizeof(side), "%s%s", path, suffix);
    CHECK(unlink(side) == 0 || errno == ENOENT);
}

/* As a restore from a backup does it: the old -wal must not meet the new file, so it goes first. */
static void replace_it(const char *path)
{
    char *other = test_path("prepared.db");

    remove_side_file(path, "-wal");
    remove_side_file(path, "-shm");
    CHECK(rename(other, path) == 0);
    free(other);
}

static void every_call_gives_eidrm(struct dss_handle *handle)
{
    char *owner = NULL;

    CHECK_RC(dss_lock(handle, "other", "ann"), -EIDRM);
    CHECK(strstr(dss_last_error(), "open") != NULL);
    CHECK_RC(dss_lock(handle, "drive", "ann"), -EIDRM);
    CHECK_RC(dss_lock_refresh(handle, "drive", "ann"), -EIDRM);
    CHECK_RC(dss_unlock(handle, "drive", "ann"), -EIDRM);
    CHECK_RC(dss_lock_status(handle, "drive", &owner, NULL), -EIDRM);
    CHECK(owner == NULL);
}

/* Takes a lock in the new store and never closes it: what it was granted is in the -wal alone. */
static void tenant(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    CHECK(hear(&tenant_may_come) == 1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock_status(&handle, "drive", NULL, NULL), -ENOLCK);
    CHECK_RC(dss_lock(&handle, "drive", "tenant"), 0);
    tell(&tenant_ready, 1);
    for (;;)
        pause();
}

static void let_tenant_in(void)
{
    tell(&tenant_may_come, 1);
    CHECK(hear(&tenant_ready) == 1);
}

static void tenant_has_the_lock(void)
{
    struct dss_handle handle;
    char *owner = NULL;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock_status(&handle, "drive", &owner, NULL), 0);
    CHECK(strcmp(owner, "tenant") == 0);
    free(owner);
    CHECK_RC(dss_unlock(&handle, "drive", "tenant"), 0);
    dss_fini(&handle);
}

static void use_inherited(void *old)
{
    every_call_gives_eidrm(old);
    dss_fini(old);
}

/* What the process of the old handle does in the meantime. */
enum meanwhile { NOTHING, OPENS_THE_NEW_ONE_TOO, FORKS, VARIANTS };

/* The old handle stays open beside the new store, and is closed while only the -wal knows the new lock. */
static void old_handle_and_new_store(void (*move)(const char *path), enum meanwhile meanwhile)
{
    struct dss_handle old, new = {NULL};
    pid_t child = spawn(tenant, NULL);

    CHECK_RC(dss_init_uri(&old, test_uri()), 0);
    CHECK_RC(dss_lock(&old, "drive", "ann"), 0);
    move(test_uri() + strlen("sqlite:"));
    every_call_gives_eidrm(&old);
    let_tenant_in();
    if (meanwhile == FORKS)
        test_join(spawn(use_inherited, &old));
    if (meanwhile == OPENS_THE_NEW_ONE_TOO) {
        CHECK_RC(dss_init_uri(&new, test_uri()), 0);
        CHECK_RC(dss_lock(&new, "drive", "bob"), -EEXIST);
    }
    every_call_gives_eidrm(&old);
    dss_fini(&old);
    if (meanwhile == OPENS_THE_NEW_ONE_TOO)
        CHECK_RC(dss_lock(&new, "drive", "bob"), -EEXIST);
    dss_fini(&new);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
    tenant_has_the_lock();
}

/* The file keeps its name, but a folder above it gets another one, and a new folder comes in its place. */
static void renamed_folder(void)
{
    char *folder = test_path("folder"), *away = test_path("away"), *path = test_path("folder/dss.db");
    char *uri = sqlite_uri(path, "");
    struct dss_handle old, new;

    CHECK(mkdir(folder, 0755) == 0);
    CHECK_RC(dss_init_uri(&old, uri), 0);
    CHECK_RC(dss_lock(&old, "drive", "ann"), 0);
    CHECK(rename(folder, away) == 0);
    every_call_gives_eidrm(&old);
    CHECK(mkdir(folder, 0755) == 0);
    every_call_gives_eidrm(&old);
    CHECK_RC(dss_init_uri(&new, uri), 0);
    CHECK_RC(dss_lock(&new, "drive", "bob"), 0);
    every_call_gives_eidrm(&old);
    dss_fini(&old);
    test_check_owner(&new, "drive", "bob");
    dss_fini(&new);
    free(uri);
    free(path);
    free(away);
    free(folder);
}

static void make_store(const char *path)
{
    char *uri = sqlite_uri(path, "");
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    dss_fini(&handle);
    free(uri);
}

/* No store under the test's name, and an empty one beside it that can take its place. */
static void start_anew(void)
{
    const char *path = test_uri() + strlen("sqlite:");
    char *prepared = test_path("prepared.db");

    CHECK(unlink(path) == 0 || errno == ENOENT);
    remove_side_file(path, "-wal");
    remove_side_file(path, "-shm");
    if (!exists(prepared))
        make_store(prepared);
    free(prepared);
}

int main(void)
{
    void (*const moves[])(const char *path) = {rename_it, remove_it, replace_it};

    line_make(&tenant_may_come);
    line_make(&tenant_ready);
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        for (int meanwhile = 0; meanwhile < VARIANTS; meanwhile++) {
            start_anew();
            old_handle_and_new_store(moves[i], (enum meanwhile)meanwhile);
        }
    }
    renamed_folder();
    return 0;
}
