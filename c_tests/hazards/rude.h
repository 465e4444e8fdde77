/*
 * What the programs of rude hosts share: two threads that work on a store meanwhile, and a look at what they print and leave open.
 */
#ifndef RUDE_H
#define RUDE_H

#include "contention/contention.h"

#include <dirent.h>

#define CREW_THREADS 2

struct crew {
    struct dss_handle *handle;
    pthread_t threads[CREW_THREADS];
    _Atomic int stop;
    _Atomic long pairs;
    _Atomic int started;
};

static inline void *crew_work_(void *arg)
{
    struct crew *crew = arg;
    char id[64];

    snprintf(id, sizeof(id), "crew %d of %d", atomic_fetch_add(&crew->started, 1), (int)getpid());
    while (!atomic_load(&crew->stop)) {
        CHECK_RC(dss_lock(crew->handle, id, "crew"), 0);
        CHECK_RC(dss_unlock(crew->handle, id, "crew"), 0);
        atomic_fetch_add(&crew->pairs, 1);
    }
    return NULL;
}

/* They make calls, each of which succeeds, until crew_ends(). */
static inline void crew_begins(struct crew *crew, struct dss_handle *handle)
{
    memset(crew, 0, sizeof(*crew));
    crew->handle = handle;
    for (int i = 0; i < CREW_THREADS; i++)
        crew->threads[i] = start_thread(crew_work_, crew);
    while (atomic_load(&crew->pairs) == 0)
        sched_yield();
}

static inline void crew_ends(struct crew *crew)
{
    atomic_store(&crew->stop, 1);
    for (int i = 0; i < CREW_THREADS; i++)
        join_thread(crew->threads[i]);
}

/* How many descriptors this process has. */
static inline int descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = -3; /* two dots, and the folder's own */

    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* From now on what is printed goes into a file of the test's folder, which must be empty at the end. */
static inline int begin_silence(void)
{
    char *path = test_path("printed");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK(fflush(NULL) == 0 && dup2(fd, STDOUT_FILENO) == STDOUT_FILENO);
    free(path);
    return fd;
}

static inline void check_silence(int fd)
{
    struct stat found;

    CHECK(fflush(NULL) == 0 && fstat(fd, &found) == 0 && found.st_size == 0);
    close(fd);
}

#endif
