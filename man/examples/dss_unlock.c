/* Releases a lock; and, for an operator who has seen that its holder is gone for good, removes one by force. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lock(&dss, "drive3", "mover-7")) == 0) {
        rc = dss_unlock(&dss, "drive3", "mover-8");
        if (rc == -EACCES) /* nothing was released */
            printf("not mover-8's: %s\n", dss_last_error());

        rc = dss_unlock(&dss, "drive3", NULL); /* whoever holds it */
        if (rc == 0)
            puts("removed by force; the next holder is told, if it asks with dss_lockv()");

        rc = dss_unlock(&dss, "drive3", "mover-7");
        if (rc == -ENOLCK) { /* mover-7 learns that it has lost the lock */
            printf("too late: %s\n", dss_last_error());
            rc = 0;
        }
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
