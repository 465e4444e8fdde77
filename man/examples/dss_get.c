/* Which tape is in the drive? */
#include <dss.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    struct dss_handle dss;
    uint64_t version;
    size_t len;
    void *tape;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_set(&dss, "drive3/tape", "B00042", 6, NULL, NULL)) == 0) {
        rc = dss_get(&dss, "drive3/tape", &tape, &len, &version);
        if (rc == 0) { /* a NUL stands behind the value, so text can be printed as it is */
            printf("%s, %zu bytes, version %" PRIu64 "\n", (char *)tape, len, version);
            free(tape);
        } else if (rc == -ENOENT) {
            puts("the drive is empty");
            rc = 0;
        }
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
