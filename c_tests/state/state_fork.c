/*
 * A process forks, with values in hand and in the middle of a list of keys.
 *
 * Proves: both processes go on with the handle, and each sees what the other writes; a list that was cut short by the fork says
 * so, and none shows less with 0. A store in memory stays with the parent.
 */
#include "hazards/hazard.h"
#include "state/state.h"

#define KEYS 200

static struct dss_handle handle;
static const int moments[] = { 0, 63, 64, 100, KEYS - 1 };

static void name(char *key, int number)
{
    snprintf(key, 16, "key %03d", number);
}

/* ---- A fork between calls ---------------------------------------------------------------------------------------- */

static void be_child(void *arg)
{
    uint64_t version = *(uint64_t *)arg;
    struct dss_guard guard = of_version(version);
    void *value = &version;
    size_t count = 0;

    if (test_store_is("memory")) {
        CHECK_RC(dss_get(&handle, "shared", &value, NULL, NULL), -ECHILD);
        CHECK(value == NULL);
        CHECK_RC(dss_set(&handle, "shared", "child", 5, NULL, NULL), -ECHILD);
        CHECK_RC(dss_list(&handle, NULL, count_key, &count), -ECHILD);
        dss_fini(&handle);
        return;
    }
    check_value(&handle, "shared", "parent", 6, version);
    CHECK_RC(dss_set(&handle, "shared", "child", 5, &guard, NULL), 0);
    check_text(&handle, "shared", "child");
    CHECK(keys_of(&handle, "shared") == 1);
    dss_fini(&handle);
}

static void fork_between_calls(void)
{
    uint64_t version = set_text(&handle, "shared", "parent");

    test_join(spawn(be_child, &version));
    check_text(&handle, "shared", test_store_is("memory") ? "parent" : "child");
    CHECK_RC(delete_key(&handle, "shared"), 0);
}

/* ---- A fork while a thread is in a call -------------------------------------------------------------------------- */

static _Atomic int may_stop;

static void *set_on_and_on(void *arg)
{
    uint64_t last = 0;

    (void)arg;
    while (!may_stop) {
        uint64_t version = set_text(&handle, "busy", "value");

        CHECK(version > last);
        last = version;
    }
    return NULL;
}

static void use_it(void *arg)
{
    char key[32];

    (void)arg;
    if (!test_store_is("memory")) {
        snprintf(key, sizeof(key), "of %d", (int)getpid());
        set_text(&handle, key, "mine");
        check_text(&handle, key, "mine");
        CHECK_RC(delete_key(&handle, key), 0);
    }
    dss_fini(&handle);
}

static void fork_beside_a_call(void)
{
    pthread_t thread = start_thread(set_on_and_on, NULL);
    unsigned seed = (unsigned)getpid();

    for (int i = 0; i < test_repeat(30, 5); i++) {
        pause_at_random(&seed, 3000);
        test_join(spawn(use_it, NULL));
    }
    may_stop = 1;
    join_thread(thread);
    CHECK_RC(delete_key(&handle, "busy"), 0);
}

/* ---- A fork in a list -------------------------------------------------------------------------------------------- */

struct course {
    int seen, moment;
    pid_t child; /* 0 in the child */
};

static int fork_in_list(const struct dss_key_info *info, void *arg)
{
    struct course *course = arg;
    char key[16];

    name(key, course->seen);
    CHECK(strcmp(info->key, key) == 0);
    if (course->seen++ == course->moment) {
        course->child = fork();
        CHECK(course->child >= 0);
    }
    return 0;
}

static void check_fork_in_list(int moment)
{
    struct course course = { .moment = moment, .child = -1 };
    int rc = dss_list(&handle, NULL, fork_in_list, &course);

    if (course.child == 0) {
        CHECK_RC(rc, -EINTR); /* nothing of a list that another process began is here */
        if (!test_store_is("memory"))
            CHECK(keys_of(&handle, NULL) == KEYS);
        dss_fini(&handle);
        end_child();
    }
    if (rc == -EINTR && !test_store_is("memory")) {
        CHECK(course.seen > moment && dss_last_error()[0] != '\0');
    } else {
        CHECK_RC(rc, 0);
        CHECK(course.seen == KEYS);
    }
    test_join(course.child);
    CHECK(keys_of(&handle, NULL) == KEYS);
}

int main(void)
{
    char key[16];

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    fork_between_calls();
    fork_beside_a_call();
    for (int i = 0; i < KEYS; i++) {
        name(key, i);
        set_text(&handle, key, "value");
    }
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++)
        check_fork_in_list(moments[i]);
    dss_fini(&handle);
    return 0;
}
