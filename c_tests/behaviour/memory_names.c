/*
 * Proves: memory stores of different names are separate, those of one name (also of the empty one) are the same store,
 * and a store is gone with the last of its handles.
 */
#include "test.h"

static void check_same_store(const char *uri)
{
    struct dss_handle one, two;

    CHECK_RC(dss_init_uri(&one, uri), 0);
    CHECK_RC(dss_init_uri(&two, uri), 0);
    CHECK_RC(dss_lock(&one, "id", "owner"), 0);
    test_check_owner(&two, "id", "owner");

    /* The store outlives the handle that made it and took the lock... */
    dss_fini(&one);
    test_check_owner(&two, "id", "owner");
    CHECK_RC(dss_init_uri(&one, uri), 0);
    test_check_owner(&one, "id", "owner");
    dss_fini(&two);
    test_check_owner(&one, "id", "owner");

    /* ...but not the last one. */
    dss_fini(&one);
    CHECK_RC(dss_init_uri(&one, uri), 0);
    test_check_owner(&one, "id", NULL);
    dss_fini(&one);
}

static void check_separate(const char *const *uris, size_t count)
{
    struct dss_handle handles[8];
    size_t i, j;

    CHECK(count <= sizeof(handles) / sizeof(handles[0]));
    for (i = 0; i < count; i++)
        CHECK_RC(dss_init_uri(&handles[i], uris[i]), 0);
    for (i = 0; i < count; i++) {
        for (j = i; j < count; j++)
            test_check_owner(&handles[j], "id", NULL);
        CHECK_RC(dss_lock(&handles[i], "id", uris[i]), 0);
    }
    for (i = 0; i < count; i++) {
        test_check_owner(&handles[i], "id", uris[i]);
        dss_fini(&handles[i]);
    }
}

int main(void)
{
    static const char *const uris[] = { "memory:", "memory:a", "memory:b", "memory:A", "memory:ab" };

    check_same_store("memory:");
    check_same_store("memory:name");
    check_separate(uris, sizeof(uris) / sizeof(uris[0]));
    check_separate(uris, sizeof(uris) / sizeof(uris[0]));
    return 0;
}
