/*
 * Proves: when processes of an ordinary user open the same new file at once, all of them succeed even under a umask
 * that takes away every right: nobody ever sees the file with less than the mode that it is made with.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "test.h"

#define PROCESSES 8

static pthread_barrier_t *make_barrier(void)
{
    pthread_barrierattr_t attributes;
    pthread_barrier_t *barrier;

    barrier = mmap(NULL, sizeof(*barrier), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(barrier != MAP_FAILED);
    CHECK(pthread_barrierattr_init(&attributes) == 0);
    CHECK(pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    CHECK(pthread_barrier_init(barrier, &attributes, PROCESSES) == 0);
    return barrier;
}

/* Root may do everything whatever the mode, so root becomes nobody for this. */
static void become_ordinary(uid_t user)
{
    if (geteuid() == 0)
        CHECK(setgid(user) == 0 && setuid(user) == 0);
}

static void open_new_files(pthread_barrier_t *barrier, int files)
{
    struct dss_handle handle;
    int i;

    (void)umask(0777);
    for (i = 0; i < files; i++) {
        char name[32], *path;

        snprintf(name, sizeof(name), "new-%d.db", i);
        path = test_path(name);
        pthread_barrier_wait(barrier);
        CHECK_RC(dss_init_uri(&handle, path), 0);
        test_check_owner(&handle, "id", NULL);
        dss_fini(&handle);
        free(path);
    }
}

/* The children leave by _exit(): the search for leaks may not trace a process that has changed its user. */
int main(void)
{
    const uid_t nobody = 65534;
    int files = test_repeat(50, 5), i;
    pthread_barrier_t *barrier = make_barrier();
    pid_t children[PROCESSES];

    if (geteuid() == 0)
        CHECK(chown(test_dir(), nobody, nobody) == 0);
    (void)test_dir();
    for (i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            become_ordinary(nobody);
            open_new_files(barrier, files);
            _exit(0);
        }
    }
    test_join_all(children, PROCESSES);
    return 0;
}
