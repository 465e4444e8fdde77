/*
 * Proves: 32 processes that open the same new store at once all succeed, whoever comes to create it, and from the first
 * moment on they share one set of locks.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "test.h"

#define PROCESSES 32

struct shared {
    pthread_barrier_t barrier;
    int common_rc[PROCESSES];
};

static struct shared *make_shared(void)
{
    pthread_barrierattr_t attributes;
    struct shared *shared;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    CHECK(pthread_barrierattr_init(&attributes) == 0);
    CHECK(pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    CHECK(pthread_barrier_init(&shared->barrier, &attributes, PROCESSES) == 0);
    return shared;
}

static void open_and_lock(struct shared *shared, const char *plain_uri, int process)
{
    /* Under valgrind 32 processes need more than the ten seconds that a call has, for their computing alone. */
    int patience = test_repeat(10000, 60000);
    struct dss_handle handle;
    char option[32], own[32], *uri;

    snprintf(option, sizeof(option), "timeout_ms=%d", patience);
    uri = test_with_option(plain_uri, option);
    snprintf(own, sizeof(own), "process-%d", process);
    pthread_barrier_wait(&shared->barrier);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, own, own), 0);
    shared->common_rc[process] = dss_lock(&handle, "common", own);
    CHECK(shared->common_rc[process] == 0 || shared->common_rc[process] == -EEXIST);
    dss_fini(&handle);
    free(uri);
}

static void check_store(const struct shared *shared, const char *uri)
{
    struct dss_handle handle;
    int winners = 0, i;
    char own[32];

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (i = 0; i < PROCESSES; i++) {
        snprintf(own, sizeof(own), "process-%d", i);
        test_check_owner(&handle, own, own);
        if (shared->common_rc[i] == 0) {
            winners++;
            test_check_owner(&handle, "common", own);
        }
    }
    CHECK(winners == 1);
    dss_fini(&handle);
}

static void race_for(struct shared *shared, const char *uri)
{
    pid_t children[PROCESSES];
    int i;

    for (i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            open_and_lock(shared, uri, i);
            exit(0);
        }
    }
    test_join_all(children, PROCESSES);
    check_store(shared, uri);
}

int main(void)
{
    int stores = test_amount(test_repeat(20, 8)), i;
    struct shared *shared = make_shared();

    for (i = 0; i < stores; i++) {
        char name[32], *uri;

        snprintf(name, sizeof(name), "new_%d", i);
        uri = test_other_uri(name);
        race_for(shared, uri);
        free(uri);
    }
    return 0;
}
