/* A scheduler takes a drive and gives it to a worker, with no gap in which a third could enter. */
#include <dss.h>
#include <inttypes.h>
#include <stdio.h>

int main(void)
{
    const char *drive = "drive3";
    struct dss_grant ours, theirs;
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lockv(&dss, &drive, 1, "scheduler", NULL, &ours)) == 0) {
        rc = dss_lock_transfer(&dss, drive, "scheduler", ours.token, "worker-12", &theirs);
        if (rc == 0) {
            /* Our token is fenced by it; the worker gets the new one with its job. */
            printf("worker-12 has token %" PRIu64 ", ours was %" PRIu64 "\n", theirs.token, ours.token);
            rc = dss_unlock(&dss, drive, "worker-12"); /* what the worker does at its end */
        } else {
            dss_unlock(&dss, drive, "scheduler");
        }
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
