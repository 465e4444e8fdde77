/* A handle is closed; the lock that was taken with it is not: it belongs to its owner's name. */
#include <dss.h>
#include <stdio.h>

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0)
        rc = dss_lock(&dss, "robot", "mount-service");
    dss_fini(&dss); /* harmless, too, where dss_init() has failed, and twice */

    if (rc == 0 && (rc = dss_init(&dss)) == 0) {
        rc = dss_unlock(&dss, "robot", "mount-service"); /* it was still there */
        dss_fini(&dss);
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    return rc != 0;
}
