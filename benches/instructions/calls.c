/*
 * Makes one kind of call so many times, for whoever counts instructions.
 *
 *   calls pair|status|set|get COUNT STORE
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

static void set(struct dss_handle *handle)
{
    static char value[100];

    check(dss_set(handle, "drive/LTO-4", value, sizeof(value), NULL, NULL));
}

static void get(struct dss_handle *handle)
{
    void *value;

    check(dss_get(handle, "drive/LTO-4", &value, NULL, NULL));
    free(value);
}

static const struct kind {
    const char *name;
    void (*call)(struct dss_handle *handle);
} kinds[] = { { "pair", pair }, { "status", status }, { "set", set }, { "get", get } };

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

int main(int argc, char **argv)
{
    struct dss_handle handle;
    size_t kind = 0;
    long count;

    while (argc == 4 && kind < KINDS && strcmp(argv[1], kinds[kind].name) != 0)
        kind++;
    if (argc != 4 || kind == KINDS) {
        fprintf(stderr, "usage: calls pair|status|set|get COUNT STORE\n");
        return 2;
    }
    count = atol(argv[2]);
    check(dss_init_uri(&handle, argv[3]));
    check(dss_lock(&handle, "drive/LTO-4", "bench"));
    set(&handle);
    for (long i = 0; i < count; i++)
        kinds[kind].call(&handle);
    check(dss_unlock(&handle, "drive/LTO-4", "bench"));
    dss_fini(&handle);
    return 0;
}
