/*
 * A program passed the struct dss_handle of another library to this one. The text of -EBADF told it
 * to call dss_init first, which it had done, in the other library.
 *
 * Proves: a handle that is not open gives -EBADF in every call, whether it is zeroed, was never initialised, has been
 * closed or is the copy of one that was closed, and the text says which; and closing it again harms
 * nobody.
 */
#include "test.h"

static const char not_open[] = "call dss_init first", closed[] = "was closed by dss_fini",
                  foreign[] = "is nothing that dss_init of this library has given";

/* The text of the latest failure has this part, and no part that belongs to another cause. */
static void check_text(const char *part)
{
    const char *const parts[] = { not_open, closed, foreign };
    size_t i;

    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if ((strstr(dss_last_error(), parts[i]) != NULL) != (parts[i] == part)) {
            fprintf(stderr, "\"%s\" and nothing else should be in: %s\n", part, dss_last_error());
            exit(1);
        }
    }
}

static void check_bad(struct dss_handle *handle, const char *text)
{
    struct timeval stamp = { 1, 2 };
    char *owner = (char *)handle;

    CHECK_RC(dss_lock(handle, "id", "owner"), -EBADF);
    check_text(text);
    CHECK_RC(dss_lock_refresh(handle, "id", "owner"), -EBADF);
    CHECK_RC(dss_unlock(handle, "id", "owner"), -EBADF);
    CHECK_RC(dss_unlock(handle, "id", NULL), -EBADF);
    CHECK_RC(dss_lock_status(handle, "id", &owner, &stamp), -EBADF);
    CHECK(owner == NULL);
    CHECK(stamp.tv_sec == 1 && stamp.tv_usec == 2);
    CHECK_RC(dss_lock_status(handle, "id", NULL, NULL), -EBADF);
    check_text(text);
}

static void check_zeroed(void)
{
    struct dss_handle handle;

    memset(&handle, 0, sizeof(handle));
    check_bad(&handle, not_open);
    dss_fini(&handle);
    CHECK(handle.dh_conn == NULL);
    check_bad(&handle, not_open);
    check_bad(NULL, not_open);
}

/* What a variable may hold that nobody initialised: numbers of any size, and pointers to something else. */
static void check_garbage(void)
{
    static const unsigned char fill[] = { 0x01, 0x7f, 0x80, 0xa5, 0xff };
    void *elsewhere = malloc(64);
    struct dss_handle handle;
    uintptr_t number;
    char address[40];
    size_t i;

    for (i = 0; i < sizeof(fill); i++) {
        memset(&handle, fill[i], sizeof(handle));
        check_bad(&handle, foreign);
        dss_fini(&handle);
        check_bad(&handle, not_open);
    }
    /* Small numbers and single bits look most like whatever a library may keep in there. */
    for (number = 1; number < 4096; number++) {
        handle.dh_conn = (void *)number;
        CHECK_RC(dss_lock_status(&handle, "id", NULL, NULL), -EBADF);
    }
    for (i = 0; i < 8 * sizeof(number); i++) {
        handle.dh_conn = (void *)((uintptr_t)1 << i);
        CHECK_RC(dss_lock_status(&handle, "id", NULL, NULL), -EBADF);
    }
    CHECK(elsewhere != NULL);
    memset(elsewhere, 0x5a, 64);
    handle.dh_conn = elsewhere;
    check_bad(&handle, foreign);
    snprintf(address, sizeof(address), "dh_conn (%p)", elsewhere);
    CHECK(strstr(dss_last_error(), address) != NULL);
    dss_fini(&handle);
    handle.dh_conn = &handle;
    check_bad(&handle, foreign);
    free(elsewhere);
}

static void check_closed(void)
{
    struct dss_handle handle, stale, never;
    int i;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK(handle.dh_conn != NULL);
    stale = handle;
    dss_fini(&handle);
    CHECK(handle.dh_conn == NULL);
    check_bad(&handle, not_open);
    check_bad(&stale, closed);
    /* The number of a handle that is not open yet. */
    never = stale;
    never.dh_conn = (char *)never.dh_conn + 1000000;
    check_bad(&never, foreign);
    dss_fini(&handle);
    dss_fini(&stale);

    /* What a closed handle held does not come back to life when others are opened, perhaps in the same memory. */
    for (i = 0; i < 100; i++) {
        CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
        CHECK_RC(dss_lock_status(&stale, "id", NULL, NULL), -EBADF);
        dss_fini(&stale);
        CHECK_RC(dss_lock_status(&handle, "id", NULL, NULL), -ENOLCK);
        stale = handle;
        dss_fini(&handle);
    }
}

/* A struct copied by assignment is the same handle: it works until one of the two is closed. */
static void check_copied(void)
{
    struct dss_handle handle, copy;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    copy = handle;
    CHECK_RC(dss_lock(&copy, "id", "owner"), 0);
    test_check_owner(&handle, "id", "owner");
    CHECK_RC(dss_unlock(&handle, "id", "owner"), 0);

    dss_fini(&copy);
    check_bad(&copy, not_open);
    check_bad(&handle, closed);
    dss_fini(&handle);
    CHECK(handle.dh_conn == NULL);
    check_bad(&handle, not_open);
}

int main(void)
{
    struct dss_handle other;

    check_zeroed();
    check_garbage();
    check_closed();
    check_copied();

    /* The same while a handle is open that must not be taken for the bad one, nor be closed by it. */
    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    CHECK_RC(dss_lock(&other, "kept", "owner"), 0);
    check_zeroed();
    check_garbage();
    check_closed();
    check_copied();
    test_check_owner(&other, "kept", "owner");
    CHECK_RC(dss_unlock(&other, "kept", "owner"), 0);
    dss_fini(&other);
    return 0;
}
