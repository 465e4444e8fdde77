/*
 * A runtime makes a child process behind the C library's back: by _Fork(3) or by the clone system call itself.
 *
 * Handlers of pthread_atfork(3) do not run then, so SQLite is open on both sides and shares its locks. Such a child
 * must not touch the store: each call on the inherited handle gives -ECHILD, and closing it changes nothing.
 */
#include "hazard.h"

#include <sys/syscall.h>

static struct dss_handle inherited;

/* Errors are told by the exit status alone: a child made this way may not even use stdio safely. */
#define CHILD_CHECK(condition)                                                                                      \
    do {                                                                                                            \
        if (!(condition))                                                                                           \
            _exit(__LINE__ % 200 + 1);                                                                              \
    } while (0)

static void in_the_child(void)
{
    struct dss_handle own;
    char *owner = NULL;
    int rc;

    CHILD_CHECK(dss_lock(&inherited, "new", "child") == -ECHILD);
    CHILD_CHECK(dss_lock(&inherited, "parent's", "child") == -ECHILD);
    CHILD_CHECK(dss_lock_refresh(&inherited, "parent's", "parent") == -ECHILD);
    CHILD_CHECK(dss_unlock(&inherited, "parent's", "parent") == -ECHILD);
    CHILD_CHECK(dss_unlock(&inherited, "parent's", NULL) == -ECHILD);
    CHILD_CHECK(dss_lock_status(&inherited, "parent's", &owner, NULL) == -ECHILD);
    CHILD_CHECK(owner == NULL);
    CHILD_CHECK(dss_last_error()[0] != '\0');
    /* A handle of its own is refused, or it is right: the parent's lock is seen through it. */
    rc = dss_init_uri(&own, test_uri());
    CHILD_CHECK(rc == 0 || rc == -ECHILD);
    CHILD_CHECK(rc != 0 || dss_lock(&own, "parent's", "child") == -EEXIST);
    dss_fini(&own);
    dss_fini(&inherited);
    CHILD_CHECK(inherited.dh_conn == NULL);
    rc = dss_lock(&inherited, "new", "child");
    CHILD_CHECK(rc == -EBADF || rc == -ECHILD);
    _exit(0);
}

static pid_t by_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void parent_is_unharmed(void)
{
    struct dss_handle second;
    char *owner = NULL;

    CHECK_RC(dss_lock_status(&inherited, "parent's", &owner, NULL), 0);
    CHECK(strcmp(owner, "parent") == 0);
    free(owner);
    CHECK_RC(dss_lock(&inherited, "new", "parent"), 0);
    CHECK_RC(dss_unlock(&inherited, "new", "parent"), 0);
    CHECK_RC(dss_init_uri(&second, test_uri()), 0);
    CHECK_RC(dss_lock_refresh(&second, "parent's", "parent"), 0);
    dss_fini(&second);
}

/* Runs after the raw child in a process that has nothing to do with either. */
static void stranger_sees_the_lock(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "parent's", "stranger"), -EEXIST);
    CHECK_RC(dss_lock_status(&handle, "new", NULL, NULL), -ENOLCK);
    dss_fini(&handle);
}

static void with_child_by(pid_t (*make)(void))
{
    pid_t child = make();

    CHECK(child >= 0);
    if (child == 0)
        in_the_child();
    parent_is_unharmed();
    test_join(child);
    parent_is_unharmed();
    test_join(spawn(stranger_sees_the_lock, NULL));
    parent_is_unharmed();
}

/* As long as nobody has called the library, a child made in this way has nothing of it to be harmed by. */
static void before_the_first_call(void)
{
    struct dss_handle handle;
    pid_t child;

    (void)test_uri();
    child = by_clone();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
        CHECK_RC(dss_lock(&handle, "child's", "child"), 0);
        dss_fini(&handle);
        _exit(0);
    }
    test_join(child);
}

int main(void)
{
    before_the_first_call();
    CHECK_RC(dss_init_uri(&inherited, test_uri()), 0);
    CHECK_RC(dss_lock(&inherited, "parent's", "parent"), 0);
    with_child_by(_Fork);
    with_child_by(by_clone);
    dss_fini(&inherited);
    return 0;
}
