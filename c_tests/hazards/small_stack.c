/*
 * The host runs its calls in threads with small stacks, as programs with thousands of threads do.
 *
 * SQLite and Rust both like large buffers on the stack; one that does not fit ends the process by SIGSEGV. Every call,
 * with the longest names and through its failures, must do with 64 KiB.
 */
#include "hazard.h"

#include <limits.h>

#define STACK_SIZE (64 * 1024)

static char long_id[DSS_LOCK_ID_MAX + 2], long_owner[DSS_LOCK_OWNER_MAX + 2];

static int end_list(const struct dss_key_info *info, void *arg)
{
    (void)arg;
    CHECK(strcmp(info->key, long_id) == 0 && info->len == DSS_VALUE_MAX);
    return 1;
}

static void calls_for_a_value(struct dss_handle *handle)
{
    void *large = calloc(1, DSS_VALUE_MAX), *found = NULL;

    CHECK(large != NULL);
    CHECK_RC(dss_set(handle, long_id, large, DSS_VALUE_MAX, NULL, NULL), 0);
    CHECK_RC(dss_get(handle, long_id, &found, NULL, NULL), 0);
    CHECK(memcmp(found, large, DSS_VALUE_MAX) == 0);
    CHECK_RC(dss_list(handle, long_id, end_list, NULL), 1);
    CHECK_RC(dss_set(handle, long_id, NULL, 0, NULL, NULL), 0);
    free(found);
    free(large);
}

static void calls_that_work(struct dss_handle *handle)
{
    char *owner = NULL;
    struct timeval when;

    CHECK_RC(dss_lock(handle, long_id, long_owner), 0);
    CHECK_RC(dss_lock_refresh(handle, long_id, long_owner), 0);
    CHECK_RC(dss_lock_status(handle, long_id, &owner, &when), 0);
    CHECK(strcmp(owner, long_owner) == 0);
    free(owner);
    CHECK_RC(dss_unlock(handle, long_id, long_owner), 0);
    calls_for_a_value(handle);
}

static void calls_that_fail(struct dss_handle *handle)
{
    struct dss_handle bad;

    CHECK_RC(dss_unlock(handle, long_id, long_owner), -ENOLCK);
    CHECK_RC(dss_lock(handle, long_id, long_owner), 0);
    CHECK_RC(dss_lock(handle, long_id, "another"), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, long_id, "another"), -EACCES);
    CHECK_RC(dss_unlock(handle, long_id, NULL), 0);
    CHECK_RC(dss_set(handle, long_id, NULL, 0, NULL, NULL), -ENOENT);
    CHECK_RC(dss_get(handle, long_id, NULL, NULL, NULL), -ENOENT);
    CHECK_RC(dss_lock(handle, NULL, "ann"), -EINVAL);
    CHECK_RC(dss_init_uri(&bad, "nonsense:"), -EINVAL);
    CHECK_RC(dss_init_uri(&bad, "/dev/null"), -EUCLEAN);
    CHECK_RC(dss_init_uri(&bad, "/no such folder/dss.db"), -ENOENT);
}

static void *all_calls(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    calls_that_work(&handle);
    calls_that_fail(&handle);
    dss_fini(&handle);
    return NULL;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    memset(long_id, '\xff', DSS_LOCK_ID_MAX);
    memset(long_owner, '"', DSS_LOCK_OWNER_MAX);
    (void)test_uri();
    CHECK(PTHREAD_STACK_MIN <= STACK_SIZE);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0);
    /* Twice: the first thread makes the store, the second one opens it. */
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&thread, &attributes, all_calls, NULL) == 0);
        join_thread(thread);
    }
    CHECK(pthread_attr_destroy(&attributes) == 0);
    return 0;
}
