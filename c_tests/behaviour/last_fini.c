/*
 * Proves: a memory: store is gone with the last of its handles, also where the last two are closed at the same moment.
 * (Each of two threads once took the other for the last user, and the store stayed with all its locks.)
 */
#include <pthread.h>

#include "test.h"

#define ROUNDS 20000

static pthread_barrier_t together;
static struct dss_handle handles[2];

static void *close_one(void *handle)
{
    int i;

    for (i = 0; i < test_repeat(ROUNDS, 200); i++) {
        pthread_barrier_wait(&together);
        dss_fini(handle);
        pthread_barrier_wait(&together);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    int i;

    CHECK(pthread_barrier_init(&together, NULL, 3) == 0);
    for (i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, close_one, &handles[i]) == 0);
    for (i = 0; i < test_repeat(ROUNDS, 200); i++) {
        CHECK_RC(dss_init_uri(&handles[0], "memory:short"), 0);
        CHECK_RC(dss_init_uri(&handles[1], "memory:short"), 0);
        CHECK_RC(dss_lock(&handles[0], "drive", "ann"), 0);
        pthread_barrier_wait(&together);
        pthread_barrier_wait(&together);
    }
    for (i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
