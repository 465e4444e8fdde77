/*
 * Proves: the library that was loaded says the same version as the header that the program was compiled with.
 */
#include "test.h"

int main(void)
{
    char numbers[64];

    snprintf(numbers, sizeof(numbers), "%d.%d.%d", DSS_VERSION_MAJOR, DSS_VERSION_MINOR, DSS_VERSION_PATCH);
    CHECK(strcmp(DSS_VERSION, numbers) == 0);
    CHECK(strcmp(dss_version(), DSS_VERSION) == 0);
    CHECK(dss_version() == dss_version());
    return 0;
}
