/* Takes a lock, does what must never be done twice at once, and gives the lock back. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
    const char *drive = "drive/LTO-3", *me = "archiver-1";
    struct dss_handle dss;
    int rc = dss_init(&dss); /* opens the store that $DSS_URI names */

    if (rc == 0 && (rc = dss_lock(&dss, drive, me)) == 0) {
        printf("%s is ours, and nobody else's until we unlock it.\n", drive);
        rc = dss_lock_refresh(&dss, drive, me); /* long work says that it is alive: a newer timestamp */
        int end = dss_unlock(&dss, drive, me); /* also if the refresh failed: else the lock would stay */
        if (rc == 0)
            rc = end;
    }
    if (rc == -EEXIST)
        printf("%s is in use, try again later: %s\n", drive, dss_last_error());
    else if (rc != 0)
        fprintf(stderr, "quickstart: %s\n", dss_last_error());
    dss_fini(&dss);
    return rc == 0 ? 0 : 1;
}
