/*
 * Proves: a lock belongs to an owner's name, not to a handle or a process. It outlives the handle that took it and the
 * process that took it, and any other process can see, refresh and unlock it; another file, schema or prefix is another store.
 */
#include "test.h"

typedef void (*work)(struct dss_handle *);

static void lock_it(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, "id", "owner"), 0);
}

static void check_held(struct dss_handle *handle)
{
    test_check_owner(handle, "id", "owner");
    CHECK_RC(dss_lock(handle, "id", "owner"), -EEXIST);
    CHECK_RC(dss_unlock(handle, "id", "other"), -EACCES);
    CHECK_RC(dss_lock_refresh(handle, "id", "owner"), 0);
}

static void unlock_it(struct dss_handle *handle)
{
    CHECK_RC(dss_unlock(handle, "id", "owner"), 0);
}

static void check_free(struct dss_handle *handle)
{
    test_check_owner(handle, "id", NULL);
    CHECK_RC(dss_unlock(handle, "id", "owner"), -ENOLCK);
}

static void with_a_handle(const char *uri, work todo)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    todo(&handle);
    dss_fini(&handle);
}

static void in_a_process(const char *uri, work todo)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        with_a_handle(uri, todo);
        exit(0);
    }
    test_join(child);
}

int main(void)
{
    const char *uri = test_uri();
    char *other = test_other_uri("other");

    /* Nothing stays open between the steps, so each of them reads what the one before has written. */
    with_a_handle(uri, lock_it);
    with_a_handle(uri, check_held);
    with_a_handle(other, check_free);
    with_a_handle(uri, unlock_it);
    with_a_handle(uri, check_free);

    in_a_process(uri, lock_it);
    in_a_process(uri, check_held);
    with_a_handle(uri, check_held);
    in_a_process(uri, unlock_it);
    in_a_process(uri, check_free);
    with_a_handle(uri, check_free);

    if (test_store_is("sqlite")) {
        /* One file by its two spellings: with a scheme, and as a path alone. */
        with_a_handle(uri, lock_it);
        with_a_handle(uri + strlen("sqlite:"), check_held);
        with_a_handle(uri + strlen("sqlite:"), unlock_it);
        with_a_handle(uri, check_free);
    }

    free(other);
    return 0;
}
