/*
 * A disk, or a host that writes through a wrong pointer, changes a byte of the store's file.
 *
 * What is in the pages then is input like any other: it must not crash the process, make it hang or make it read
 * beyond its memory. A damage that is seen gives -EUCLEAN; one that hits a stored name can't be seen, so any answer
 * that a call may give is right here, and the process and the library live on.
 */
#include "damaged.h"

/* The bytes of the file's header and of each page's are changed one by one, the others now and then. */
static size_t next_place(size_t place)
{
    int in_header = place < 100 || place % 1024 < 24;

    return place + (size_t)test_repeat(in_header ? 1 : 97, 97);
}

int main(void)
{
    char *path = test_path("flipped.db"), *uri = sqlite_uri(path, "timeout_ms=1000"), *bytes;
    size_t size, place;
    unsigned seed = 1;

    bytes = make_store_to_damage(path, uri, &size);
    for (place = 0; place < size; place = next_place(place)) {
        char right = bytes[place];

        bytes[place] = (char)(right ^ (1 << rand_r(&seed) % 8));
        write_file(path, bytes, size);
        bytes[place] = right;
        use_damaged(uri, "byte", (long)place);
    }
    write_file(path, bytes, size);
    use_damaged(uri, "none, byte", (long)size);
    free(bytes);
    free(uri);
    free(path);
    return 0;
}
