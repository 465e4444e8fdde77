/*
 * Proves: a new database file has mode 0600 whatever the umask, or the mode that the connection string asks for; the
 * files beside it follow; and the mode of a file that exists already is left as it is.
 */
#include "test.h"

static mode_t mode_of(const char *path)
{
    struct stat file;

    CHECK(lstat(path, &file) == 0);
    CHECK(S_ISREG(file.st_mode));
    return file.st_mode & 07777;
}

static void check_mode(const char *path, mode_t mode)
{
    if (mode_of(path) != mode) {
        fprintf(stderr, "%s has mode %04o, not %04o\n", path, (unsigned int)mode_of(path), (unsigned int)mode);
        exit(1);
    }
}

/* Every file of the folder has to have the mode: the database and whatever was made beside it. */
static void check_folder(const char *folder, mode_t mode)
{
    struct dirent *entry;
    char path[4096];
    DIR *dir = opendir(folder);
    int count = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        check_mode(path, mode);
        count++;
    }
    closedir(dir);
    CHECK(count > 0);
}

static char *new_folder(void)
{
    static int folders;
    char name[32], *folder;

    snprintf(name, sizeof(name), "folder-%d", folders++);
    folder = test_path(name);
    CHECK(mkdir(folder, 0700) == 0);
    return folder;
}

static void use(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, "id", "owner"), 0);
    CHECK_RC(dss_unlock(handle, "id", "owner"), 0);
}

/* Creates a file under the umask and looks while it is open, when the side files exist, and after it was closed. */
static void check_new(mode_t mask, const char *option, mode_t mode)
{
    char *folder = new_folder(), uri[4096];
    struct dss_handle handle;
    mode_t kept = umask(mask);

    fprintf(stderr, "umask %04o, %s\n", (unsigned int)mask, option);
    snprintf(uri, sizeof(uri), "sqlite:%s/dss.db%s", folder, option);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    check_folder(folder, mode);
    use(&handle);
    check_folder(folder, mode);
    dss_fini(&handle);
    check_folder(folder, mode);
    CHECK(umask(kept) == mask);
    free(folder);
}

/* An administrator has changed the mode of the file: neither a plain open nor one that names a mode changes it back. */
static void check_existing(mode_t mode, const char *option)
{
    char *folder = new_folder(), uri[8192], path[4096];
    struct dss_handle handle;

    snprintf(path, sizeof(path), "%s/dss.db", folder);
    CHECK_RC(dss_init_uri(&handle, path), 0);
    dss_fini(&handle);
    CHECK(chmod(path, mode) == 0);

    snprintf(uri, sizeof(uri), "sqlite:%s%s", path, option);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    use(&handle);
    check_mode(path, mode);
    /* SQLite's own files are made anew each time, so that they show the mode that the file has now. */
    snprintf(path, sizeof(path), "%s/dss.db-wal", folder);
    check_mode(path, mode);
    snprintf(path, sizeof(path), "%s/dss.db-shm", folder);
    check_mode(path, mode);
    dss_fini(&handle);
    snprintf(path, sizeof(path), "%s/dss.db", folder);
    check_mode(path, mode);
    free(folder);
}

int main(void)
{
    static const mode_t masks[] = { 0000, 0022, 0077, 0777 };
    size_t i;

    for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        check_new(masks[i], "", 0600);
        check_new(masks[i], "?mode=0600", 0600);
        check_new(masks[i], "?mode=0660", 0660);
        check_new(masks[i], "?mode=0640&timeout_ms=5000", 0640);
    }
    check_existing(0640, "");
    check_existing(0660, "");
    check_existing(0640, "?mode=0660");
    check_existing(0600, "?mode=0660");
    return 0;
}
