/*
 * Proves: of 16 processes that want one lock at the same moment exactly one gets it, round after round; the others are
 * told -EEXIST, and the status names the winner.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "test.h"

#define PROCESSES 16
#define ID "the-only-drive"

struct shared {
    pthread_barrier_t barrier;
    int rc[PROCESSES];
};

static void owner_of(char *owner, size_t size, int process)
{
    snprintf(owner, size, "process-%d", process);
}

/* Looks at everybody's answer and releases the lock in the winner's name. */
static void judge(struct dss_handle *handle, const struct shared *shared)
{
    int winner = -1, i;
    char owner[32];

    for (i = 0; i < PROCESSES; i++) {
        if (shared->rc[i] == 0) {
            CHECK(winner == -1);
            winner = i;
        } else {
            CHECK(shared->rc[i] == -EEXIST);
        }
    }
    CHECK(winner != -1);
    owner_of(owner, sizeof(owner), winner);
    test_check_owner(handle, ID, owner);
    CHECK_RC(dss_unlock(handle, ID, owner), 0);
}

/* The two barriers of a round: all call at once, and nobody calls again before the judge of the round is done. */
static void compete(struct shared *shared, int process, int rounds)
{
    struct dss_handle handle;
    char owner[32];
    int round;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    owner_of(owner, sizeof(owner), process);
    for (round = 0; round < rounds; round++) {
        pthread_barrier_wait(&shared->barrier);
        shared->rc[process] = dss_lock(&handle, ID, owner);
        pthread_barrier_wait(&shared->barrier);
        if (round % PROCESSES == process)
            judge(&handle, shared);
    }
    dss_fini(&handle);
}

int main(void)
{
    struct shared *shared;
    pthread_barrierattr_t attributes;
    pid_t children[PROCESSES];
    int rounds = test_repeat(200, 10), i;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    CHECK(pthread_barrierattr_init(&attributes) == 0);
    CHECK(pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    CHECK(pthread_barrier_init(&shared->barrier, &attributes, PROCESSES) == 0);
    (void)test_uri(); /* the folder belongs to this process, not to the first child that asks for it */

    for (i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            compete(shared, i, rounds);
            exit(0);
        }
    }
    test_join_all(children, PROCESSES);
    return 0;
}
