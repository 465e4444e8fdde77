/*
 * A user who may write to FILE-wait can have it name any segment of shared memory. Memory that a
 * stranger has made can be changed by the stranger at any moment.
 *
 * Proves: a process of root does not attach a segment that another user has made, and does its work
 * without it.
 */
#include "hazard.h"

#include <sys/mman.h>
#include <sys/shm.h>

/* What the file holds: a mark, the IPC namespace, the number of the segment, and a number to know it by,
 * the segment's first. */
enum { MARK, NAMESPACE, SEGMENT, NONCE, WORDS };

static int *their_segment;

static struct shmid_ds state_of(int segment)
{
    struct shmid_ds state;

    CHECK(shmctl(segment, IPC_STAT, &state) == 0);
    return state;
}

/* As the user nobody, of the size that libdss wants. */
static void make_segment(void *arg)
{
    size_t size = *(size_t *)arg;
    uint64_t *words;

    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    *their_segment = shmget(IPC_PRIVATE, size, 0666);
    CHECK(*their_segment >= 0);
    words = shmat(*their_segment, NULL, 0);
    CHECK(words != (void *)-1);
    words[0] = 42;
    CHECK(shmdt(words) == 0);
}

static void work(void *arg)
{
    struct dss_handle handle;
    struct dss_lock_opts waiting = {.size = sizeof(waiting), .wait_ms = 50};
    const char *id = "drive";

    CHECK_RC(dss_init_uri(&handle, arg), 0);
    CHECK_RC(dss_lockv(&handle, &id, 1, "bob", &waiting, NULL), -ETIMEDOUT);
    CHECK_RC(dss_lock(&handle, "other", "bob"), 0);
    dss_fini(&handle);
}

int main(void)
{
    const char *uri = test_uri();
    uint64_t record[WORDS];
    struct dss_handle handle;
    char side[600];
    size_t size;
    int fd;

    CHECK(geteuid() == 0); /* only root can be two users */
    their_segment = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                         0);
    CHECK(their_segment != MAP_FAILED);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    snprintf(side, sizeof(side), "%s-wait", uri + strlen("sqlite:"));
    fd = open(side, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, record, sizeof(record), 0) == sizeof(record));
    size = state_of((int)record[SEGMENT]).shm_segsz;
    test_join(spawn(make_segment, &size));
    record[SEGMENT] = (uint64_t)*their_segment;
    record[NONCE] = 42;
    CHECK(pwrite(fd, record, sizeof(record), 0) == sizeof(record));
    test_join(spawn(work, (void *)uri));
    /* Nobody else has attached it. */
    CHECK(state_of(*their_segment).shm_lpid == state_of(*their_segment).shm_cpid);
    CHECK(shmctl(*their_segment, IPC_RMID, NULL) == 0);
    close(fd);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
    return 0;
}
