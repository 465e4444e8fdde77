/*
 * A disk, or a host that writes through a wrong pointer, changes a byte of the store's file.
 *
 * What is in the pages then is input like any other: it must not crash the process, make it hang or make it read
 * beyond its memory. A damage that is seen gives -EUCLEAN; one that hits a stored name can't be seen, so any answer
 * that a call may give is right here, and the process and the library live on.
 */
#include "folder.h"

#define LOCKS 60

static const int possible[] = {0,        -EEXIST,  -ENOLCK,          -EACCES, -EUCLEAN,
                               -EPROTONOSUPPORT, -EIO};

static void is_possible(int rc, size_t place)
{
    for (size_t i = 0; i < sizeof(possible) / sizeof(possible[0]); i++) {
        if (rc == possible[i])
            return;
    }
    fprintf(stderr, "byte %zu: %d, %s\n", place, rc, dss_last_error());
    CHECK(!"a code that a damaged file may give");
}

static void use(const char *uri, size_t place)
{
    struct dss_handle handle;
    char lock_id[32], *owner = NULL;
    int rc = dss_init_uri(&handle, uri);

    if (rc != 0 && rc != -EUCLEAN && rc != -EPROTONOSUPPORT)
        fprintf(stderr, "byte %zu: init gave %d, %s\n", place, rc, dss_last_error());
    CHECK(rc == 0 || rc == -EUCLEAN || rc == -EPROTONOSUPPORT);
    for (int i = 0; rc == 0 && i < LOCKS; i += 7) {
        snprintf(lock_id, sizeof(lock_id), "drive %d", i);
        is_possible(dss_lock(&handle, lock_id, "bob"), place);
        is_possible(dss_lock_status(&handle, lock_id, &owner, NULL), place);
        free(owner);
        is_possible(dss_lock_refresh(&handle, lock_id, "ann"), place);
        is_possible(dss_unlock(&handle, lock_id, "ann"), place);
    }
    dss_fini(&handle);
}

static char *make_store(const char *path, const char *uri, size_t *size)
{
    struct dss_handle handle;
    char lock_id[32];

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < LOCKS; i++) {
        snprintf(lock_id, sizeof(lock_id), "drive %d", i);
        CHECK_RC(dss_lock(&handle, lock_id, "ann"), 0);
    }
    dss_fini(&handle);
    return read_file(path, size);
}

/* The bytes of the file's header and of each page's are changed one by one, the others now and then. */
static size_t next_place(size_t place)
{
    int in_header = place < 100 || place % 1024 < 24;

    return place + (size_t)test_repeat(in_header ? 1 : 37, 97);
}

int main(void)
{
    char *path = test_path("flipped.db"), *uri = sqlite_uri(path, "timeout_ms=1000"), *bytes;
    size_t size, place;
    unsigned seed = 1;

    bytes = make_store(path, uri, &size);
    for (place = 0; place < size; place = next_place(place)) {
        char right = bytes[place];

        bytes[place] = (char)(right ^ (1 << rand_r(&seed) % 8));
        write_file(path, bytes, size);
        bytes[place] = right;
        use(uri, place);
    }
    write_file(path, bytes, size);
    use(uri, size);
    free(bytes);
    free(uri);
    free(path);
    return 0;
}
