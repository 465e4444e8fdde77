/* A drive and a tape, both or none, for half a minute, waiting for up to five seconds. */
#include <dss.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

int main(void)
{
    const char *const ids[] = {"drive3", "tape/B00042"};
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = 30000, .wait_ms = 5000};
    struct dss_grant grants[2];
    struct dss_handle dss;
    int rc = dss_init(&dss);

    opts.note = "migration 2026-11";
    if (rc == 0 && (rc = dss_lockv(&dss, ids, 2, "mover-7", &opts, grants)) == 0) {
        for (int i = 0; i < 2; i++) {
            if (grants[i].flags & DSS_GRANT_OWNERDEAD)
                printf("%s: its last holder is gone, look before you use it\n", ids[i]);
            printf("%s: token %" PRIu64 ", %" PRId64 " ms left\n", ids[i], grants[i].token, grants[i].left_ms);
        }
        rc = dss_unlockv(&dss, ids, 2, "mover-7", NULL, NULL);
    }
    if (rc == -ETIMEDOUT) /* nothing was taken */
        printf("not within 5 s: %s\n", dss_last_error());
    else if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
