/* A daemon that waits for its store when the machine starts, and ends where waiting is of no use. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    const char *uri = getenv("DSS_URI");
    struct dss_handle dss;
    int rc, tries = 0;

    if (uri == NULL)
        uri = "sqlite:/var/lib/tapes/locks.db?timeout_ms=2000";
    while ((rc = dss_init_uri(&dss, uri)) == -ENOTCONN || rc == -EBUSY) {
        fprintf(stderr, "not yet: %s\n", dss_last_error());
        if (++tries == 30)
            return 1;
        sleep(1);
    }
    if (rc != 0) { /* a wrong string, no rights, a file that is no store */
        fprintf(stderr, "%s: %s\n", uri, dss_last_error());
        return 1;
    }
    puts("the store is open");
    dss_fini(&dss);
    return 0;
}
