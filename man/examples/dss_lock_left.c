/* Asks before each step whether there is still time for it; the store is not asked. */
#include <dss.h>
#include <inttypes.h>
#include <stdio.h>

#define STEP_MS 2000 /* the longest that one step takes */

int main(void)
{
    const char *drive = "drive3";
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = 30000};
    struct dss_grant grant;
    struct dss_handle dss;
    int64_t left_ms;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lockv(&dss, &drive, 1, "mover-7", &opts, &grant)) == 0) {
        for (int step = 0; step < 3; step++) {
            if (dss_lock_left(&dss, drive, grant.token, &left_ms) != 0 || left_ms < STEP_MS) {
                puts("no time for another step: refresh the lock, or stop");
                break;
            }
            printf("step %d, %" PRId64 " ms left\n", step, left_ms);
        }
        rc = dss_unlock(&dss, drive, "mover-7");
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
