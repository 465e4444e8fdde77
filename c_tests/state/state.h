/*
 * What the programs about values share: to set and get a text, to write a guard, and to see what stands under a key.
 */
#ifndef STATE_H
#define STATE_H

#include "test.h"

static inline struct dss_guard of_version(uint64_t version)
{
    struct dss_guard guard = { .size = sizeof(guard), .flags = DSS_GUARD_VERSION, .version = version };

    return guard;
}

static inline struct dss_guard of_lock(const char *lock_id, uint64_t token)
{
    struct dss_guard guard = { .size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = lock_id, .token = token };

    return guard;
}

static inline struct dss_guard of_both(uint64_t version, const char *lock_id, uint64_t token)
{
    struct dss_guard guard = of_lock(lock_id, token);

    guard.flags |= DSS_GUARD_VERSION;
    guard.version = version;
    return guard;
}

/* Sets a value without a guard, which must succeed, and gives its version. */
static inline uint64_t set_value(struct dss_handle *handle, const char *key, const void *value, size_t len)
{
    uint64_t version = 0;

    CHECK_RC(dss_set(handle, key, value, len, NULL, &version), 0);
    CHECK(version != 0);
    return version;
}

static inline uint64_t set_text(struct dss_handle *handle, const char *key, const char *text)
{
    return set_value(handle, key, text, strlen(text));
}

static inline int set_guarded(struct dss_handle *handle, const char *key, const char *text, struct dss_guard guard)
{
    return dss_set(handle, key, text, strlen(text), &guard, NULL);
}

static inline int delete_key(struct dss_handle *handle, const char *key)
{
    return dss_set(handle, key, NULL, 0, NULL, NULL);
}

/* The version of what stands under the key; 0 if nothing does. */
static inline uint64_t version_of(struct dss_handle *handle, const char *key)
{
    uint64_t version = 0;
    int rc = dss_get(handle, key, NULL, NULL, &version);

    if (rc == -ENOENT) {
        CHECK(version == 0);
        return 0;
    }
    CHECK_RC(rc, 0);
    CHECK(version != 0);
    return version;
}

/* Ends the test unless just this stands under the key, with this version (0: with any). */
static inline void check_value(struct dss_handle *handle, const char *key, const void *value, size_t len, uint64_t version)
{
    void *found = NULL;
    size_t found_len = 0;
    uint64_t found_version = 0;

    CHECK_RC(dss_get(handle, key, &found, &found_len, &found_version), 0);
    CHECK(found != NULL && found_len == len);
    CHECK(memcmp(found, value, len) == 0);
    CHECK(((char *)found)[len] == '\0');
    CHECK(found_version != 0 && (version == 0 || found_version == version));
    free(found);
}

/* NULL: nothing stands there. */
static inline void check_text(struct dss_handle *handle, const char *key, const char *text)
{
    if (text == NULL)
        CHECK(version_of(handle, key) == 0);
    else
        check_value(handle, key, text, strlen(text), 0);
}

static inline int count_key(const struct dss_key_info *info, void *arg)
{
    (void)info;
    ++*(size_t *)arg;
    return 0;
}

static inline size_t keys_of(struct dss_handle *handle, const char *prefix)
{
    size_t count = 0;

    CHECK_RC(dss_list(handle, prefix, count_key, &count), 0);
    return count;
}

#endif
