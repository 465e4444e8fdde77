/*
 * A copy of the library that is loaded by hand, as a host does that has plugins. Programs that include this are not
 * linked with libdss: a library that was there from the program's start would never leave it.
 */
#ifndef LOADED_H
#define LOADED_H

#include "contend.h"

#include <dlfcn.h>

/* Where the tested library is: ctest says it. */
static inline const char *library_file(void)
{
    const char *path = getenv("DSS_TEST_LIBRARY");

    return path != NULL ? path : "libdss.so.0";
}

static inline void *load(const char *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return library;
}

/* ISO C has no cast from an object's address to a function's; copying the bytes is what POSIX means. */
static inline void find(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);

    CHECK(address != NULL);
    memcpy(function, &address, sizeof(address));
}

static inline struct dss_api api_of(void *library)
{
    struct dss_api api;

    find(library, "dss_init_uri", &api.init_uri);
    find(library, "dss_fini", &api.fini);
    find(library, "dss_lock", &api.lock);
    find(library, "dss_unlock", &api.unlock);
    find(library, "dss_last_error", &api.last_error);
    return api;
}

#endif
