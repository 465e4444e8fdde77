/*
 * A disk refuses a flush: its cable, its controller or its thin pool is broken.
 *
 * What was written may never reach the disk, although it can still be read; and a second flush that succeeds proves
 * nothing, since the kernel has forgotten by then which pages it could not write. A call that returned 0 would have
 * acknowledged a lock or a value that the next power cut takes away. failing_sync.sh runs this program under strace(1), which
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
#include "state/state.h"

#define TRIES 16

static char *uri, *answers_path;

static void name_one(char *name, size_t size, int number)
{
    snprintf(name, size, "drive %d", number);
}

/* Or a value. */
static int is_lock(int number)
{
    return number % 2 == 0;
}

static void is_failure_of_disk(int rc)
{
    if (rc != -EIO && rc != -EINPROGRESS)
        fprintf(stderr, "%d is no answer for a failed flush: %s\n", rc, dss_last_error());
    CHECK(rc == -EIO || rc == -EINPROGRESS);
    CHECK(dss_last_error()[0] != '\0');
}

/* Tries some locks and values in turn, notes each answer in the file, and returns how many were granted or set. */
static int try_all(struct dss_handle *handle, FILE *answers)
{
    char name[32];
    int done = 0;

    for (int i = 0; i < TRIES; i++) {
        int rc;

        name_one(name, sizeof(name), i);
        rc = is_lock(i) ? dss_lock(handle, name, "ann") : dss_set(handle, name, "ann", 3, NULL, NULL);
        fprintf(answers, "%d %d\n", i, rc);
        done += rc == 0;
        if (rc != 0)
            is_failure_of_disk(rc);
    }
    return done;
}

static void make(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "from before", "ann"), 0);
    dss_fini(&handle);
}

/* Each write needs a flush of its own, so at most as many can be acknowledged as flushes succeeded. */
static void always(int first_failure)
{
    FILE *answers = fopen(answers_path, "w");
    struct dss_handle handle;
    int rc = dss_init_uri(&handle, uri), done;

    CHECK(answers != NULL);
    if (rc != 0) {
        is_failure_of_disk(rc);
    } else {
        done = try_all(&handle, answers);
        if (done >= first_failure)
            fprintf(stderr, "%d writes were acknowledged with %d flushes\n", done, first_failure - 1);
        CHECK(done < first_failure);
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
    CHECK(try_all(&handle, answers) > 0);
    /* The faults are over by now: the same handle does all that a handle does. */
    CHECK_RC(dss_lock(&handle, "from before", "bob"), -EEXIST);
    CHECK_RC(dss_lock(&handle, "afterwards", "ann"), 0);
    CHECK_RC(dss_lock_refresh(&handle, "afterwards", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "afterwards", "ann"), 0);
    CHECK_RC(dss_set(&handle, "afterwards", "ann", 3, NULL, NULL), 0);
    CHECK_RC(dss_set(&handle, "afterwards", NULL, 0, NULL, NULL), 0);
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
    char name[32];
    int number, rc;

    CHECK(answers != NULL);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    test_check_owner(&handle, "from before", "ann");
    while (fscanf(answers, "%d %d", &number, &rc) == 2) {
        name_one(name, sizeof(name), number);
        if (rc != -EINPROGRESS && is_lock(number))
            test_check_owner(&handle, name, rc == 0 ? "ann" : NULL);
        else if (rc != -EINPROGRESS)
            check_text(&handle, name, rc == 0 ? "ann" : NULL);
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
