/* A code as a short text: for a log that is made from codes. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
    const int codes[] = {0, -EEXIST, -ENOLCK, -EINPROGRESS};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        printf("%4d: %s\n", codes[i], dss_strerror(codes[i]));
    return 0;
}
