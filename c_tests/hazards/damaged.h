/*
 * How a damaged store is used, and which answers it may give: what flipped_bytes.c and extreme_values.c share.
 */
#ifndef DAMAGED_H
#define DAMAGED_H

#include "folder.h"

#define DAMAGED_LOCKS 60

/* A damage that is seen, or an answer that is right for what the file says now. */
static inline void check_possible(int rc, const char *what, long place)
{
    static const int possible[] = {0, -EEXIST, -ENOLCK, -EACCES, -EUCLEAN, -EPROTONOSUPPORT, -EIO};

    for (size_t i = 0; i < sizeof(possible) / sizeof(possible[0]); i++) {
        if (rc == possible[i])
            return;
    }
    fprintf(stderr, "%s %ld: %d, %s\n", what, place, rc, dss_last_error());
    CHECK(!"a code that a damaged file may give");
}

/* Makes all calls; what was damaged, and where, is told if one of them gives what it may not give. */
static inline void use_damaged(const char *uri, const char *what, long place)
{
    struct dss_handle handle;
    char lock_id[32], *owner = NULL;
    int rc = dss_init_uri(&handle, uri);

    if (rc != 0 && rc != -EUCLEAN && rc != -EPROTONOSUPPORT)
        fprintf(stderr, "%s %ld: init gave %d, %s\n", what, place, rc, dss_last_error());
    CHECK(rc == 0 || rc == -EUCLEAN || rc == -EPROTONOSUPPORT);
    for (int i = 0; rc == 0 && i < DAMAGED_LOCKS; i += 7) {
        snprintf(lock_id, sizeof(lock_id), "drive %d", i);
        check_possible(dss_lock(&handle, lock_id, "bob"), what, place);
        check_possible(dss_lock_status(&handle, lock_id, &owner, NULL), what, place);
        free(owner);
        check_possible(dss_lock_refresh(&handle, lock_id, "ann"), what, place);
        check_possible(dss_unlock(&handle, lock_id, "bob"), what, place);
        check_possible(dss_unlock(&handle, lock_id, "ann"), what, place);
    }
    dss_fini(&handle);
}

/* A store with some locks, closed; returns its bytes, which the caller frees. */
static inline char *make_store_to_damage(const char *path, const char *uri, size_t *size)
{
    struct dss_handle handle;
    char lock_id[32];

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < DAMAGED_LOCKS; i++) {
        snprintf(lock_id, sizeof(lock_id), "drive %d", i);
        CHECK_RC(dss_lock(&handle, lock_id, "ann"), 0);
    }
    dss_fini(&handle);
    return read_file(path, size);
}

#endif
