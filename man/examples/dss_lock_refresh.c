/* Long work says between its steps that it is alive, and stops when the lock is lost. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

static int copy_block(int block)
{
    return block < 3; /* whether there is more to do */
}

int main(void)
{
    struct dss_handle dss;
    const char *drive = "drive3", *me = "copy-7";
    int rc = dss_init(&dss), end;

    if (rc == 0 && (rc = dss_lock(&dss, drive, me)) == 0) {
        for (int block = 0; rc == 0 && copy_block(block); block++)
            rc = dss_lock_refresh(&dss, drive, me); /* a newer timestamp for those who look */
        if (rc == -ENOLCK || rc == -EACCES) {
            fprintf(stderr, "stopped, the drive is not ours any more: %s\n", dss_last_error());
        } else { /* also if the store was out of reach for a moment: else the lock would stay */
            end = dss_unlock(&dss, drive, me);
            rc = rc != 0 ? rc : end;
        }
    }
    dss_fini(&dss);
    return rc != 0;
}
