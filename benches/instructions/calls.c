/*
 * Makes one kind of call so many times, for whoever counts instructions.
 *
 *   calls pair|status COUNT STORE
 */
#include <dss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc)
{
    if (rc != 0) {
        fprintf(stderr, "calls: %s\n", dss_last_error());
        exit(1);
    }
}

static void pair(struct dss_handle *handle)
{
    check(dss_lock(handle, "drive/LTO-3", "bench"));
    check(dss_unlock(handle, "drive/LTO-3", "bench"));
}

static void status(struct dss_handle *handle)
{
    struct timeval taken;
    char *owner;

    check(dss_lock_status(handle, "drive/LTO-4", &owner, &taken));
    free(owner);
}

int main(int argc, char **argv)
{
    struct dss_handle handle;
    long count;

    if (argc != 4 || (strcmp(argv[1], "pair") != 0 && strcmp(argv[1], "status") != 0)) {
        fprintf(stderr, "usage: calls pair|status COUNT STORE\n");
        return 2;
    }
    count = atol(argv[2]);
    check(dss_init_uri(&handle, argv[3]));
    check(dss_lock(&handle, "drive/LTO-4", "bench"));
    for (long i = 0; i < count; i++)
        (argv[1][0] == 'p' ? pair : status)(&handle);
    check(dss_unlock(&handle, "drive/LTO-4", "bench"));
    dss_fini(&handle);
    return 0;
}
