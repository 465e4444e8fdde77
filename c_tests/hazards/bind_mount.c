/*
 * A container gets the store's file as a bind mount of the single file.
 *
 * The file then has a second path with another folder around it, in which SQLite puts another -wal and -shm: the
 * container and the host are each alone, and one lock is granted twice. A mount of the whole folder is right, since
 * the side files come along.
 */
#include "contend.h"

static void bind_to(const char *from, const char *to)
{
    CHECK(mount(from, to, NULL, MS_BIND, NULL) == 0);
}

static void file_alone(const char *folder)
{
    char alias[512];
    char *uri;
    struct dss_handle handle;

    snprintf(alias, sizeof(alias), "%s/alias.db", folder);
    write_text(alias, "");
    bind_to(test_uri() + strlen("sqlite:"), alias);
    uri = sqlite_uri(alias, "");
    CHECK_RC(dss_init_uri(&handle, uri), -EMLINK);
    CHECK(handle.dh_conn == NULL);
    CHECK(strstr(dss_last_error(), "alias.db") != NULL);
    CHECK(umount(alias) == 0);
    CHECK(unlink(alias) == 0);
    /* The first name stays as good as it was. */
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    dss_fini(&handle);
    free(uri);
}

static struct arena *arena;

static void contender(void *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    contend(linked_api(), &handle, arena, "drive", 0.5);
    dss_fini(&handle);
}

static void whole_folder(const char *folder)
{
    char path[512];
    char *uri;
    struct dss_handle direct, through;
    pid_t children[2];

    bind_to(test_dir(), folder);
    snprintf(path, sizeof(path), "%s/dss.db", folder);
    uri = sqlite_uri(path, "");
    arena = arena_make();
    children[0] = spawn(contender, (void *)test_uri());
    children[1] = spawn(contender, uri);
    arena_close(arena, children, 2);
    CHECK_RC(dss_init_uri(&direct, test_uri()), 0);
    CHECK_RC(dss_init_uri(&through, uri), 0);
    CHECK_RC(dss_lock(&direct, "drive", "ann"), 0);
    CHECK_RC(dss_lock(&through, "drive", "bob"), -EEXIST);
    CHECK_RC(dss_unlock(&through, "drive", "ann"), 0);
    dss_fini(&direct);
    CHECK_RC(dss_lock(&through, "drive", "bob"), 0);
    dss_fini(&through);
    free(uri);
}

static void in_mounts_of_our_own(void *folder)
{
    private_mounts();
    file_alone(folder);
    whole_folder(folder);
}

int main(void)
{
    char *folder = test_path("elsewhere");
    struct dss_handle handle;

    CHECK(mkdir(folder, 0755) == 0);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    dss_fini(&handle);
    test_join(spawn(in_mounts_of_our_own, folder));
    free(folder);
    return 0;
}
