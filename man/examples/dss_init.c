/* Opens the store of this site, and says which one it is, or why it can't be opened. */
#include <dss.h>
#include <stdio.h>

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss); /* $DSS_URI, else /etc/dss/uri, else a file of this user's own */

    if (rc != 0) {
        fprintf(stderr, "the store can't be opened: %s\n", dss_last_error());
        return 1;
    }
    printf("the store %s is open\n", dss_uri(&dss));
    dss_fini(&dss);
    return 0;
}
