/*
 * Proves: a lock_id has 1 to 2048 bytes and a lock_owner 1 to 256, exactly, in each of the calls; an empty name gives
 * -EINVAL, one that is too long -ENAMETOOLONG, and neither changes anything.
 */
#include "test.h"

#define ID_MAX 2048
#define OWNER_MAX 256

/* A name of so many bytes, in memory of exactly its size, so that reading past its end is noticed. */
static char *name_of(size_t length, char byte)
{
    char *name = malloc(length + 1);

    CHECK(name != NULL);
    memset(name, byte, length);
    name[length] = '\0';
    return name;
}

static void check_works(struct dss_handle *handle, size_t id_length, size_t owner_length)
{
    char *id = name_of(id_length, 'i'), *owner = name_of(owner_length, 'o');

    CHECK_RC(dss_lock(handle, id, owner), 0);
    test_check_owner(handle, id, owner);
    CHECK_RC(dss_lock(handle, id, owner), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, id, owner), 0);
    CHECK_RC(dss_unlock(handle, id, owner), 0);
    test_check_owner(handle, id, NULL);
    CHECK_RC(dss_lock(handle, id, owner), 0);
    CHECK_RC(dss_unlock(handle, id, NULL), 0);
    free(id);
    free(owner);
}

static void check_bad_id(struct dss_handle *handle, size_t length, int rc)
{
    char *id = name_of(length, 'i'), *owner = NULL;
    struct timeval stamp;

    CHECK_RC(dss_lock(handle, id, "owner"), rc);
    CHECK_RC(dss_lock_refresh(handle, id, "owner"), rc);
    CHECK_RC(dss_unlock(handle, id, "owner"), rc);
    CHECK_RC(dss_unlock(handle, id, NULL), rc);
    CHECK_RC(dss_lock_status(handle, id, &owner, &stamp), rc);
    CHECK_RC(dss_lock_status(handle, id, NULL, NULL), rc);
    CHECK(owner == NULL);
    free(id);
}

static void check_bad_owner(struct dss_handle *handle, size_t length, int rc)
{
    char *owner = name_of(length, 'o');

    CHECK_RC(dss_lock(handle, "id", owner), rc);
    test_check_owner(handle, "id", NULL);
    CHECK_RC(dss_lock_refresh(handle, "id", owner), rc);
    CHECK_RC(dss_unlock(handle, "id", owner), rc);

    CHECK_RC(dss_lock(handle, "id", "holder"), 0);
    CHECK_RC(dss_lock(handle, "id", owner), rc);
    CHECK_RC(dss_lock_refresh(handle, "id", owner), rc);
    CHECK_RC(dss_unlock(handle, "id", owner), rc);
    test_check_owner(handle, "id", "holder");
    CHECK_RC(dss_unlock(handle, "id", "holder"), 0);
    free(owner);
}

/* A name that is cut off at the limit would be taken for another one that ends there. */
static void check_no_truncation(struct dss_handle *handle)
{
    char *owner = name_of(OWNER_MAX, 'o'), *longer = name_of(OWNER_MAX + 1, 'o');

    CHECK_RC(dss_lock(handle, "id", owner), 0);
    CHECK_RC(dss_lock_refresh(handle, "id", longer), -ENAMETOOLONG);
    CHECK_RC(dss_unlock(handle, "id", longer), -ENAMETOOLONG);
    test_check_owner(handle, "id", owner);
    CHECK_RC(dss_unlock(handle, "id", owner), 0);
    free(owner);
    free(longer);
}

int main(void)
{
    struct dss_handle handle;

    CHECK(DSS_LOCK_ID_MAX == ID_MAX);
    CHECK(DSS_LOCK_OWNER_MAX == OWNER_MAX);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);

    check_works(&handle, 1, 1);
    check_works(&handle, ID_MAX - 1, OWNER_MAX - 1);
    check_works(&handle, ID_MAX, OWNER_MAX);
    check_bad_id(&handle, 0, -EINVAL);
    check_bad_id(&handle, ID_MAX + 1, -ENAMETOOLONG);
    check_bad_id(&handle, 1024 * 1024, -ENAMETOOLONG);
    check_bad_owner(&handle, 0, -EINVAL);
    check_bad_owner(&handle, OWNER_MAX + 1, -ENAMETOOLONG);
    check_bad_owner(&handle, 1024 * 1024, -ENAMETOOLONG);
    check_no_truncation(&handle);

    dss_fini(&handle);
    return 0;
}
