/*
 * A disk refuses a flush: its cable, its controller or its thin pool is broken.
 *
 * What was written may never reach the disk, although it can still be read; and a second flush that succeeds proves
 * nothing, since the kernel has forgotten by then which pages it could not write. A call that returned 0 would have
 * acknowledged a lock that the next power cut takes away. failing_sync.sh runs this program under strace(1), which
 * makes flushes fail from outside, and runs it again without, to see what is left.
 *
 *   failing_sync make FOLDER          a store with one lock in it
 *   failing_sync always FOLDER N      all flushes fail from the N-th on
 *   failing_sync some FOLDER          some flushes fail, and then none any more
 *   failing_sync crash FOLDER         a store that was left by a kill, with a log
 *   failing_sync refused FOLDER       all flushes fail, and the store can't be opened
 *   failing_sync verify FOLDER        the store holds what was acknowledged, and not what was refused
 */
#include "hazard.h"

#define TRIES 16

static char *uri, *answers_path;

static void name_lock(char *lock_id, size_t size, int number)
{
    snprintf(lock_id, size, "drive %d", number);
}

static void is_failure_of_disk(int rc)
{
    if (rc != -EIO && rc != -EINPROGRESS)
        fprintf(stderr, "%d is no answer for a failed flush: %s\n", rc, dss_last_error());
    CHECK(rc == -EIO || rc == -EINPROGRESS);
    CHECK(dss_last_error()[0] != '\0');
}

/* Tries some locks, notes each answer in the file, and returns how many were granted. */
static int try_locks(struct dss_handle *handle, FILE *answers)
{
    char lock_id[32];
    int granted = 0;

    for (int i = 0; i < TRIES; i++) {
        int rc;

        name_lock(lock_id, sizeof(lock_id), i);
        rc = dss_lock(handle, lock_id, "ann");
        fprintf(answers, "%d %d\n", i, rc);
        granted += rc == 0;
        if (rc != 0)
            is_failure_of_disk(rc);
    }
    return granted;
}

static void make(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "from before", "ann"), 0);
    dss_fini(&handle);
}

/* Each lock needs a flush of its own, so at most as many can be granted as flushes succeeded. */
static void always(int first_failure)
{
    FILE *answers = fopen(answers_path, "w");
    struct dss_handle handle;
    int rc = dss_init_uri(&handle, uri), granted;

    CHECK(answers != NULL);
    if (rc != 0) {
        is_failure_of_disk(rc);
    } else {
        granted = try_locks(&handle, answers);
        if (granted >= first_failure)
            fprintf(stderr, "%d locks were granted with %d flushes\n", granted, first_failure - 1);
        CHECK(granted < first_failure);
    }
    dss_fini(&handle);
    CHECK(fclose(answers) == 0);
}

static void some(void)
{
    FILE *answers = fopen(answers_path, "w");
    struct dss_handle handle;
    int tries = 0;

    CHECK(answers != NULL);
    while (dss_init_uri(&handle, uri) != 0)
        CHECK(tries++ < TRIES);
    CHECK(try_locks(&handle, answers) > 0);
    /* The faults are over by now: the same handle does all that a handle does. */
    CHECK_RC(dss_lock(&handle, "from before", "bob"), -EEXIST);
    CHECK_RC(dss_lock(&handle, "afterwards", "ann"), 0);
    CHECK_RC(dss_lock_refresh(&handle, "afterwards", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "afterwards", "ann"), 0);
    dss_fini(&handle);
    CHECK(fclose(answers) == 0);
}

static void lock_and_die(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "from before", "ann"), 0);
    kill(getpid(), SIGKILL);
}

static void crash(void)
{
    pid_t child = spawn(lock_and_die, NULL);
    int status;

    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void refused(void)
{
    struct dss_handle handle;

    is_failure_of_disk(dss_init_uri(&handle, uri));
}

/* 0 means applied, -EINPROGRESS means unknown, every other error means not applied. */
static void verify(void)
{
    FILE *answers = fopen(answers_path, "r");
    struct dss_handle handle;
    char lock_id[32];
    int number, rc;

    CHECK(answers != NULL);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    test_check_owner(&handle, "from before", "ann");
    while (fscanf(answers, "%d %d", &number, &rc) == 2) {
        name_lock(lock_id, sizeof(lock_id), number);
        if (rc != -EINPROGRESS)
            test_check_owner(&handle, lock_id, rc == 0 ? "ann" : NULL);
    }
    dss_fini(&handle);
    fclose(answers);
}

int main(int argc, char **argv)
{
    char path[512], answers[512];

    CHECK(argc >= 3);
    snprintf(path, sizeof(path), "%s/dss.db", argv[2]);
    snprintf(answers, sizeof(answers), "%s/answers", argv[2]);
    uri = sqlite_uri(path, "timeout_ms=20");
    answers_path = answers;
    if (strcmp(argv[1], "make") == 0)
        make();
    else if (strcmp(argv[1], "always") == 0 && argc == 4)
        always(atoi(argv[3]));
    else if (strcmp(argv[1], "some") == 0)
        some();
    else if (strcmp(argv[1], "crash") == 0)
        crash();
    else if (strcmp(argv[1], "refused") == 0)
        refused();
    else if (strcmp(argv[1], "verify") == 0)
        verify();
    else
        CHECK(!"a known way to run");
    free(uri);
    return 0;
}
