/* The list of contenders. A new one goes to its end, and its colour into picture.c. */
#include "contender.h"

const struct contender *const contenders[] = {
    [LIBDSS] = &contender_libdss,
    [HANDWRITTEN] = &contender_handwritten,
    &contender_flock,
#ifdef WITH_REDIS
    &contender_redis,
#endif
};

const int contender_count = sizeof(contenders) / sizeof(contenders[0]);
