/*
 * Proves: no file that the library has open is inherited by a program that the process starts; all of its file
 * descriptors are close-on-exec.
 */
#include <fcntl.h>

#include "test.h"

#define FDS_MAX 4096

static void find_open(char *open)
{
    struct dirent *entry;
    DIR *dir = opendir("/proc/self/fd");
    int fd;

    CHECK(dir != NULL);
    memset(open, 0, FDS_MAX);
    while ((entry = readdir(dir)) != NULL) {
        fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd < FDS_MAX && fd != dirfd(dir))
            open[fd] = 1;
    }
    closedir(dir);
}

int main(void)
{
    static char before[FDS_MAX], during[FDS_MAX];
    struct dss_handle one, two;
    int fd, count = 0;

    find_open(before);
    CHECK_RC(dss_init_uri(&one, test_uri()), 0);
    CHECK_RC(dss_init_uri(&two, test_uri()), 0);
    CHECK_RC(dss_lock(&one, "id", "owner"), 0);
    test_check_owner(&two, "id", "owner");

    find_open(during);
    for (fd = 0; fd < FDS_MAX; fd++) {
        if (!during[fd] || before[fd])
            continue;
        CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        count++;
    }
    /* A store in a file can't do without one; were none found, the test would look in the wrong place. */
    CHECK(count > 0 || test_store_is("memory"));
    dss_fini(&two);
    dss_fini(&one);
    return 0;
}
