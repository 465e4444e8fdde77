/*
 * A process forks while it lists or cleans locks: in the callback, or in another thread.
 *
 * A list reads from an open snapshot, and for a fork all that is open of SQLite has to be closed; and the child of a fork
 * must leave its parent's connection to a server alone. So the list is cut short, and must say so: a list that ends early with 0 would tell an administrator that locks are not there. After it,
 * all works in both processes, and nothing stays beside the file when all of them have closed it.
 */
#include "hazard.h"

#include <stdatomic.h>

#define LOCKS 500
#define AT_ONCE 50
/* Where in the list the fork comes: at its beginning, among others, at its end. */
static const int moments[] = {0, 1, 63, 64, 200, LOCKS - 1};
#define MOMENTS ((int)(sizeof(moments) / sizeof(moments[0])))

static struct dss_handle handle;

static void name_of(char *name, size_t size, int number)
{
    snprintf(name, size, "drive %03d", number);
}

static void take_all(void)
{
    for (int first = 0; first < LOCKS; first += AT_ONCE) {
        char names[AT_ONCE][16];
        const char *ids[AT_ONCE];

        for (int i = 0; i < AT_ONCE; i++) {
            name_of(names[i], sizeof(names[i]), first + i);
            ids[i] = names[i];
        }
        CHECK_RC(dss_lockv(&handle, ids, AT_ONCE, "ann", NULL, NULL), 0);
    }
}

/* ---- A list, and what happens in the middle of it. ---- */

struct course {
    int seen;
    int moment;            /* after so many locks something happens */
    void (*event)(void *); /* or nothing */
    void *arg;
};

static int show(const struct dss_lock_info *info, void *arg)
{
    struct course *course = arg;
    char name[16];

    name_of(name, sizeof(name), course->seen);
    CHECK(strcmp(info->lock_id, name) == 0 && strcmp(info->lock_owner, "ann") == 0);
    if (course->seen == course->moment && course->event != NULL)
        course->event(course->arg);
    course->seen++;
    return 0;
}

/* Whoever else may have a lock at the moment, has one of another name. */
static int list_drives(struct dss_handle *of, struct course *course)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "drive "};

    return dss_lock_list(of, &filter, show, course);
}

/* In its parent a list was cut short, or it shows all. */
static void check_course(int rc, const struct course *course)
{
    if (rc == -EINTR && !test_store_is("memory")) {
        CHECK(course->seen > course->moment && dss_last_error()[0] != '\0');
        return;
    }
    CHECK_RC(rc, 0);
    CHECK(course->seen == LOCKS);
}

static void check_whole_list(struct dss_handle *of)
{
    struct course course = {0};

    CHECK_RC(list_drives(of, &course), 0);
    CHECK(course.seen == LOCKS);
}

static void check_all_works(struct dss_handle *of)
{
    char name[32];

    snprintf(name, sizeof(name), "zoo %d", (int)getpid());
    CHECK_RC(dss_lock(of, name, "bob"), 0);
    CHECK_RC(dss_lock(of, "drive 007", "bob"), -EEXIST);
    CHECK_RC(dss_unlock(of, name, "bob"), 0);
    check_whole_list(of);
}

/* ---- Forks in the callback: both sides come back from it into the list. ---- */

enum side { PARENT, CHILD, CHILD_THAT_CLOSES };

static pid_t child;
static enum side side;

static void fork_here(void *closes)
{
    child = fork();
    CHECK(child >= 0);
    side = child > 0 ? PARENT : closes != NULL ? CHILD_THAT_CLOSES : CHILD;
    if (child == 0 && closes != NULL)
        dss_fini(&handle);
}

/* Nothing of a list that another process began is here. */
static void go_on_in_child(int rc)
{
    struct dss_handle own;

    CHECK_RC(rc, -EINTR);
    if (side == CHILD && test_store_is("memory")) {
        struct course course = {0};

        CHECK_RC(list_drives(&handle, &course), -ECHILD);
    } else if (side == CHILD) {
        check_all_works(&handle);
        CHECK_RC(dss_init_uri(&own, test_uri()), 0);
        check_all_works(&own);
        dss_fini(&own);
        check_all_works(&handle);
    }
    dss_fini(&handle);
    end_child();
}

static void fork_in_callback(int moment, void *closes)
{
    struct course course = {0, moment, fork_here, closes};
    int rc = list_drives(&handle, &course);

    if (side != PARENT)
        go_on_in_child(rc);
    check_course(rc, &course);
    check_all_works(&handle);
    test_join(child);
    check_all_works(&handle);
}

/* ---- Forks in another thread, while the callback runs. ---- */

static void child_uses_it(void *arg)
{
    (void)arg;
    if (!test_store_is("memory"))
        check_all_works(&handle);
    dss_fini(&handle);
}

static void *fork_once(void *arg)
{
    *(pid_t *)arg = spawn(child_uses_it, NULL);
    /* The child ends with this thread otherwise. */
    test_join(*(pid_t *)arg);
    return NULL;
}

static void let_a_thread_fork(void *arg)
{
    join_thread(start_thread(fork_once, arg));
}

static void fork_in_thread(int moment)
{
    pid_t ended;
    struct course course = {0, moment, let_a_thread_fork, &ended};

    check_course(list_drives(&handle, &course), &course);
    check_all_works(&handle);
}

/* ---- Forks at any moment. ---- */

static _Atomic int stop;

static void *fork_on_and_on(void *arg)
{
    unsigned seed = (unsigned)getpid();

    (void)arg;
    while (!atomic_load(&stop)) {
        test_join(spawn(child_uses_it, NULL));
        pause_at_random(&seed, 2000);
    }
    return NULL;
}

static void forks_at_random(double seconds)
{
    pthread_t forker = start_thread(fork_on_and_on, NULL);
    double end = test_seconds() + seconds;
    int whole = 0;

    while (test_seconds() < end || whole == 0) {
        struct course course = {.moment = -1};
        int rc = list_drives(&handle, &course);

        check_course(rc, &course);
        whole += rc == 0;
    }
    atomic_store(&stop, 1);
    join_thread(forker);
    check_all_works(&handle);
}

/* ---- Clean. ---- */

/* Each was removed by then, so no more than what the callback has seen is gone in the child. */
static void clean_with_fork(int moment)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_owner = "ann"};
    struct course course = {0, moment, fork_here, NULL};
    int rc = dss_lock_clean(&handle, &filter, show, &course);

    if (side != PARENT) {
        CHECK_RC(rc, -EINTR);
        CHECK(course.seen == moment + 1);
        dss_fini(&handle);
        end_child();
    }
    CHECK_RC(rc, 0);
    CHECK(course.seen == LOCKS);
    test_join(child);
    test_check_owner(&handle, "drive 499", NULL);
}

static void check_nothing_beside(void)
{
    static const char *const names[] = {"dss.db-wal", "dss.db-shm", "dss.db-wait", "dss.db-journal"};

    for (int i = 0; i < 4; i++) {
        char *path = test_path(names[i]);

        CHECK(!exists(path));
        free(path);
    }
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    take_all();
    for (int i = 0; i < MOMENTS; i++) {
        fork_in_callback(moments[i], i % 2 == 0 ? NULL : &handle);
        fork_in_thread(moments[i]);
    }
    forks_at_random(1.0);
    clean_with_fork(100);
    dss_fini(&handle);
    if (test_store_is("sqlite"))
        check_nothing_beside();
    return 0;
}
