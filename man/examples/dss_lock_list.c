/* Shows the locks of all drives, as an operator wants to see them. */
#include <dss.h>
#include <inttypes.h>
#include <stdio.h>

static int show(const struct dss_lock_info *info, void *arg)
{
    int *count = arg;

    printf("%-12s %-10s token %" PRIu64 " by %s", info->lock_id, info->lock_owner, info->token, info->client);
    if (info->left_ms != INT64_MAX)
        printf(", %" PRId64 " ms left", info->left_ms);
    printf("%s%s\n", info->note[0] != '\0' ? ": " : "", info->note);
    return ++*count == 1000; /* anything but 0 ends the list */
}

int main(void)
{
    struct dss_filter drives = {.size = sizeof(drives), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "drive"};
    struct dss_handle dss;
    int count = 0, rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lock(&dss, "drive3", "mover-7")) == 0) {
        rc = dss_lock_list(&dss, &drives, show, &count);
        if (rc >= 0)
            printf("%d held%s\n", count, rc > 0 ? " and more" : "");
        dss_unlock(&dss, "drive3", "mover-7");
    }
    if (rc < 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc < 0;
}
