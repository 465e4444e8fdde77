/*
 * A file system that says it is another one: preloaded, it answers statfs(2) in all its forms with the magic number in
 * $DSS_TEST_FS_MAGIC. A network file system is found on few machines that run tests.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

/* The C library's own function of that name; ISO C can't cast what dlsym gives, so the bytes are copied. */
static void find_next(const char *name, void *function)
{
    void *address = dlsym(RTLD_NEXT, name);

    if (address == NULL)
        abort();
    memcpy(function, &address, sizeof(address));
}

static unsigned long magic_or(unsigned long real)
{
    const char *magic = getenv("DSS_TEST_FS_MAGIC");

    return magic != NULL ? strtoul(magic, NULL, 16) : real;
}

#define ANSWER_IN_PLACE_OF(name, what, result)                                                                      \
    int name(what, result)                                                                                          \
    {                                                                                                               \
        int (*next)(what, result);                                                                                  \
        int rc;                                                                                                     \
                                                                                                                    \
        find_next(#name, &next);                                                                                    \
        rc = next(of, found);                                                                                       \
        if (rc == 0)                                                                                                \
            found->f_type = (__typeof__(found->f_type))magic_or((unsigned long)found->f_type);                      \
        return rc;                                                                                                  \
    }

ANSWER_IN_PLACE_OF(statfs, const char *of, struct statfs *found)
ANSWER_IN_PLACE_OF(statfs64, const char *of, struct statfs64 *found)
ANSWER_IN_PLACE_OF(fstatfs, int of, struct statfs *found)
ANSWER_IN_PLACE_OF(fstatfs64, int of, struct statfs64 *found)
