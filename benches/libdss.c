/* libdss through its C interface, as a program uses it. */
#include <dss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contender.h"

static void *open_store(const char *folder)
{
    struct dss_handle *dss = malloc(sizeof(*dss));
    char uri[4096];

    snprintf(uri, sizeof(uri), strstr(folder, "://") != NULL ? "%s" : "sqlite:%s/libdss.db", folder);
    if (dss != NULL && dss_init_uri(dss, uri) != 0) {
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

static int status(void *self, const char *id)
{
    struct timeval taken;
    char *owner;
    int rc = dss_lock_status(self, id, &owner, &taken);

    free(owner);
    return rc;
}

static int set(void *self, const char *key, const void *value, size_t len)
{
    uint64_t version;

    return dss_set(self, key, value, len, NULL, &version);
}

static int get(void *self, const char *key)
{
    uint64_t version;
    void *value;
    size_t len;
    int rc = dss_get(self, key, &value, &len, &version);

    free(value);
    return rc;
}

static int fill_some(void *self, long first, size_t count)
{
    char names[DSS_LOCK_IDS_MAX][32];
    const char *ids[DSS_LOCK_IDS_MAX];

    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "held/%ld", first + (long)i);
        ids[i] = names[i];
    }
    return dss_lockv(self, ids, count, "holder", NULL, NULL);
}

static int fill(void *self, long count)
{
    int rc = 0;

    for (long first = 0; first < count && rc == 0; first += DSS_LOCK_IDS_MAX) {
        long left = count - first;

        rc = fill_some(self, first, left < DSS_LOCK_IDS_MAX ? (size_t)left : DSS_LOCK_IDS_MAX);
    }
    return rc;
}

static void close_store(void *self)
{
    dss_fini(self);
    free(self);
}

const struct contender contender_libdss = {
    .name = "libdss",
    .title = "libdss",
    .one_for_all_threads = true,
    .open = open_store,
    .lock = lock,
    .unlock = unlock,
    .status = status,
    .set = set,
    .get = get,
    .fill = fill,
    .close = close_store,
};
