/* Says at its start which store the program uses, for whoever reads the log beside that of another program. */
#include <dss.h>
#include <stdio.h>

int main(void)
{
    struct dss_handle dss;

    if (dss_init(&dss) != 0) {
        fprintf(stderr, "%s\n", dss_last_error());
        return 1;
    }
    printf("locks are in %s\n", dss_uri(&dss)); /* without passwords; valid until dss_fini() */
    dss_fini(&dss);
    return 0;
}
