/* Opens the store of the environment, or says why it can't be opened. */
#include <dss.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc != 0) {
        const char *uri = getenv("DSS_URI");

        fprintf(stderr, "the store %s: %s\n", uri != NULL ? uri : "(the default)", dss_last_error());
        return 1;
    }
    puts("the store is open");
    dss_fini(&dss);
    return 0;
}
