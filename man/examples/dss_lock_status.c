/* Who holds the drive, and since when? */
#include <dss.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int show(struct dss_handle *dss, const char *lock_id)
{
    char *owner, date[32];
    struct timeval since;
    int rc = dss_lock_status(dss, lock_id, &owner, &since);

    if (rc == -ENOLCK) {
        printf("%s is free\n", lock_id);
        return 0;
    }
    if (rc == 0) {
        time_t seconds = since.tv_sec;

        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", gmtime(&seconds));
        printf("%s is held by %s, taken or refreshed at %s UTC\n", lock_id, owner, date);
        free(owner);
    }
    return rc;
}

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = show(&dss, "drive3")) == 0 && (rc = dss_lock(&dss, "drive3", "mover-7")) == 0) {
        rc = show(&dss, "drive3");
        dss_unlock(&dss, "drive3", "mover-7");
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
