/* A cluster manager has seen host7 die, and frees what its movers held. */
#include <dss.h>
#include <stdio.h>

static int tell(const struct dss_lock_info *info, void *arg)
{
    (void)arg;
    printf("removed %s of %s\n", info->lock_id, info->lock_owner); /* it is gone already */
    return 0;
}

int main(void)
{
    struct dss_filter movers = {.size = sizeof(movers), .flags = DSS_FILTER_OWNER_PREFIX, .lock_owner = "mover@host7:"};
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lock(&dss, "drive3", "mover@host7:4711")) == 0)
        rc = dss_lock_clean(&dss, &movers, tell, NULL);
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
