/*
 * The host opens and closes the store's files: a backup agent that copies them, a program that looks at their size.
 *
 * POSIX drops all locks that a process has on a file when it closes any descriptor of that file. The write lock of a
 * transaction that runs in another thread is gone then, another process begins its own, and both commit: one lock with
 * two holders. The library's locks belong to its open file descriptions instead, which nobody else can close.
 */
#include "contend.h"

#define PROCESSES 4
#define SECONDS 4.0

static struct arena *arena;
static _Atomic int host_stop;

/* Opens and closes every file of the store's folder, as long as the contender works. */
static void *open_and_close(void *arg)
{
    char path[512];
    struct dirent *entry;

    (void)arg;
    while (!atomic_load(&host_stop)) {
        DIR *dir = opendir(test_dir());

        CHECK(dir != NULL);
        while ((entry = readdir(dir)) != NULL) {
            int fd;

            snprintf(path, sizeof(path), "%s/%.200s", test_dir(), entry->d_name);
            fd = entry->d_type == DT_REG ? open(path, O_RDWR | O_CLOEXEC) : -1;
            if (fd >= 0)
                close(fd);
        }
        closedir(dir);
    }
    return NULL;
}

static void contender(void *arg)
{
    struct dss_handle handle;
    pthread_t host;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    host = start_thread(open_and_close, NULL);
    contend(linked_api(), &handle, arena, "drive", SECONDS);
    atomic_store(&host_stop, 1);
    join_thread(host);
    dss_fini(&handle);
}

int main(void)
{
    pid_t children[PROCESSES];
    struct dss_handle handle;

    arena = arena_make();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    dss_fini(&handle);
    for (int i = 0; i < PROCESSES; i++)
        children[i] = spawn(contender, NULL);
    arena_close(arena, children, PROCESSES);
    return 0;
}
