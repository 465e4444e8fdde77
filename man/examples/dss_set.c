/* Writes which tape is in the drive, but only while we hold the drive: whoever has lost the lock changes nothing. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
    const char *drive = "drive3";
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = 30000};
    struct dss_guard guard = {.size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = drive};
    struct dss_grant grant;
    struct dss_handle dss;
    uint64_t version;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lockv(&dss, &drive, 1, "mover-7", &opts, &grant)) == 0) {
        guard.token = grant.token;
        rc = dss_set(&dss, "drive3/tape", "B00042", 6, &guard, &version);

        if (rc == 0) { /* and a counter, as compare-and-set: 0 is "nothing stands there yet" */
            struct dss_guard first = {.size = sizeof(first), .flags = DSS_GUARD_VERSION, .version = 0};

            if (dss_set(&dss, "drive3/loads", "1", 1, &first, &version) == -EAGAIN)
                printf("somebody was first: get it, and try again with version %llu\n", (unsigned long long)version);
        }
        dss_unlock(&dss, drive, "mover-7");
    }
    if (rc == -ESTALE) /* nothing was written: what the next holder has set stands */
        fprintf(stderr, "the drive is lost: %s\n", dss_last_error());
    else if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
