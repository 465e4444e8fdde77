/* The whole story of a failure, for the log that is read at night. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lock(&dss, "drive3", "mover-7")) == 0) {
        if (dss_lock(&dss, "drive3", "mover-8") == -EEXIST)
            printf("mover-8: %s\n", dss_last_error()); /* who holds drive3, since when, what to do */
        rc = dss_unlock(&dss, "drive3", "mover-7");
    }
    if (rc != 0) /* kept by calls that succeed, until the thread's next failure */
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
