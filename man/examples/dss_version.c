/* Whether the library that was found is the one that the program was compiled for. */
#include <dss.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    printf("compiled with libdss %s, running with %s\n", DSS_VERSION, dss_version());
    return strcmp(DSS_VERSION, dss_version()) != 0;
}
