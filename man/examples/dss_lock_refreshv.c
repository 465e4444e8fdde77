/* Renews two leases, each only if it is still the very grant that was taken. */
#include <dss.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

int main(void)
{
    const char *const ids[] = {"drive3", "tape/B00042"};
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = 30000};
    struct dss_grant grants[2];
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lockv(&dss, ids, 2, "mover-7", &opts, grants)) == 0) {
        uint64_t tokens[2] = {grants[0].token, grants[1].token};

        dss_unlock(&dss, ids[1], NULL); /* somebody takes one of them away */
        rc = dss_lock_refreshv(&dss, ids, 2, "mover-7", tokens, grants);
        for (int i = 0; i < 2; i++) {
            if (grants[i].rc == 0)
                printf("%s: %" PRId64 " ms more\n", ids[i], grants[i].left_ms);
            else if (grants[i].rc == -ENOLCK || grants[i].rc == -EACCES || grants[i].rc == -ESTALE)
                printf("%s: lost, stop using it: %s\n", ids[i], dss_strerror(grants[i].rc));
        }
        rc = dss_unlockv(&dss, ids, 1, "mover-7", tokens, NULL);
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
