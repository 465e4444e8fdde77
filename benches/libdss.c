/* libdss through its C interface, as a program uses it. */
#include <dss.h>
#include <stdio.h>
#include <stdlib.h>

#include "contender.h"

static void *open_store(const char *path)
{
    struct dss_handle *dss = malloc(sizeof(*dss));

    if (dss != NULL && dss_init_uri(dss, path) != 0) {
        fprintf(stderr, "libdss: %s\n", dss_last_error());
        free(dss);
        return NULL;
    }
    return dss;
}

static int lock(void *self, const char *id, const char *owner)
{
    return dss_lock(self, id, owner);
}

static int unlock(void *self, const char *id, const char *owner)
{
    return dss_unlock(self, id, owner);
}

static void close_store(void *self)
{
    dss_fini(self);
    free(self);
}

const struct contender libdss = { "libdss", open_store, lock, unlock, close_store };
