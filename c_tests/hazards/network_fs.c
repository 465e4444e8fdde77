/*
 * A site puts the store on its network file system, because the home folders are there.
 *
 * SQLite's WAL needs memory that all users of the file share, which hosts do not, and locks there come and go with the
 * server: two hosts would each be granted the same lock. The store is refused before anything is made, and the text
 * says what to use instead. The file systems are played by ../preload/statfs.c.
 */
#include "hazard.h"

#include <linux/magic.h>
#include <sys/vfs.h>

struct file_system {
    const char *name;
    unsigned long magic;
};

static const struct file_system network[] = {
    {"NFS", 0x6969},      {"Lustre", 0x0BD00BD0}, {"GPFS", 0x47504653}, {"CIFS", 0xFF534D42}, {"SMB", 0x517B},
    {"SMB2", 0xFE534D42}, {"9p", 0x01021997},     {"Ceph", 0x00C36400}, {"AFS", 0x5346414F},  {"kAFS", 0x6B414653},
};

static const struct file_system local[] = {
    {"ext4", EXT4_SUPER_MAGIC},      {"xfs", 0x58465342},   {"tmpfs", TMPFS_MAGIC},
    {"btrfs", BTRFS_SUPER_MAGIC},    {"f2fs", F2FS_SUPER_MAGIC}, {"zfs", 0x2FC12FC1},
    {"overlay", OVERLAYFS_SUPER_MAGIC},
};

/* Also proves that the preloaded library is at work: without it all would be well for the wrong reason. */
static void play(const struct file_system *played)
{
    struct statfs found;
    char magic[32];

    snprintf(magic, sizeof(magic), "%lx", played->magic);
    CHECK(setenv("DSS_TEST_FS_MAGIC", magic, 1) == 0);
    CHECK(statfs(test_dir(), &found) == 0);
    CHECK((uint32_t)found.f_type == (uint32_t)played->magic);
}

static int files_in(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void is_refused(const struct file_system *played)
{
    struct dss_handle handle;
    int before = files_in(test_dir());

    play(played);
    CHECK_RC(dss_init_uri(&handle, test_uri()), -EREMOTE);
    CHECK(handle.dh_conn == NULL);
    CHECK(strstr(dss_last_error(), "PostgreSQL") != NULL);
    CHECK(strstr(dss_last_error(), "etcd") != NULL);
    CHECK(files_in(test_dir()) == before);
}

static void is_used(const struct file_system *played)
{
    struct dss_handle handle;

    play(played);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "drive", played->name), 0);
    CHECK_RC(dss_unlock(&handle, "drive", played->name), 0);
    dss_fini(&handle);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(network) / sizeof(network[0]); i++)
        is_refused(&network[i]);
    CHECK(files_in(test_dir()) == 0);
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        is_used(&local[i]);
    /* A store that is there already is no better. */
    for (size_t i = 0; i < sizeof(network) / sizeof(network[0]); i++)
        is_refused(&network[i]);
    return 0;
}
