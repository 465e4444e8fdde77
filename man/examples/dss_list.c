/* Shows which keys of the drives there are, and how long their values. */
#include <dss.h>
#include <inttypes.h>
#include <stdio.h>

static int show(const struct dss_key_info *info, void *arg)
{
    (void)arg;
    printf("%s: %zu bytes, version %" PRIu64 "\n", info->key, info->len, info->version);
    return 0;
}

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_set(&dss, "drive3/tape", "B00042", 6, NULL, NULL)) == 0)
        rc = dss_list(&dss, "drive", show, NULL);
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
