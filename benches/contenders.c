/* The lists of contenders. A new one goes to its list's end, and its colour into picture.c. */
#include "contender.h"

#include <string.h>

#define LENGTH(list) (int)(sizeof(list) / sizeof((list)[0]))

const struct contender *const contenders[] = {
    [LIBDSS] = &contender_libdss,
    [HANDWRITTEN] = &contender_handwritten,
    &contender_flock,
#ifdef WITH_REDIS
    &contender_redis,
#endif
};

const int contender_count = LENGTH(contenders);

static const struct contender *const at_postgres[] = {
    [LIBDSS] = &contender_libdss,
#ifdef WITH_POSTGRES
    &contender_postgres_text,
    &contender_postgres_prepared,
    &contender_postgres_text_bare,
    &contender_postgres_prepared_bare,
#endif
};

static const struct contender *const at_etcd[] = {
    [LIBDSS] = &contender_libdss,
#ifdef WITH_ETCD
    &contender_etcd_bare,
    &contender_etcd_session,
    &contender_etcd_lease,
#endif
};

const struct contest *contest_of(const char *store)
{
    static const struct contest files = { contenders, LENGTH(contenders), HANDWRITTEN + 1 };
    static const struct contest postgres = { at_postgres, LENGTH(at_postgres), LENGTH(at_postgres) };
    static const struct contest etcd = { at_etcd, LENGTH(at_etcd), LENGTH(at_etcd) };

    if (strcmp(store, "postgres") == 0)
        return &postgres;
    return strcmp(store, "etcd") == 0 ? &etcd : &files;
}
