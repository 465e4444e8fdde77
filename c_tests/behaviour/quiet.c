/*
 * Proves: the library is a quiet guest. No call, whether it succeeds or fails, writes to the standard output or error,
 * or changes the locale, the umask, the working directory, the signal mask, what a signal does, or whether the thread
 * can be cancelled.
 */
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>

#include "test.h"

/* What of the process a library must leave alone. */
struct surroundings {
    char locale[1024];
    locale_t thread_locale;
    mode_t umask;
    struct stat folder;
    sigset_t mask;
    struct {
        int known;
        struct sigaction action;
    } signals[NSIG];
    int cancel_state;
    int cancel_type;
};

static mode_t current_umask(void)
{
    mode_t mask = umask(0);

    (void)umask(mask);
    return mask;
}

static void look_around(struct surroundings *now)
{
    int number;

    memset(now, 0, sizeof(*now));
    snprintf(now->locale, sizeof(now->locale), "%s", setlocale(LC_ALL, NULL));
    now->thread_locale = uselocale((locale_t)0);
    now->umask = current_umask();
    CHECK(stat(".", &now->folder) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now->mask) == 0);
    for (number = 1; number < NSIG; number++)
        now->signals[number].known = sigaction(number, NULL, &now->signals[number].action) == 0;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &now->cancel_state) == 0);
    CHECK(pthread_setcancelstate(now->cancel_state, NULL) == 0);
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &now->cancel_type) == 0);
    CHECK(pthread_setcanceltype(now->cancel_type, NULL) == 0);
}

static void check_same_sets(const sigset_t *before, const sigset_t *after)
{
    int number;

    for (number = 1; number < NSIG; number++)
        CHECK(sigismember(before, number) == sigismember(after, number));
}

static void check_same(const struct surroundings *before, const struct surroundings *after)
{
    int number;

    CHECK(strcmp(before->locale, after->locale) == 0);
    CHECK(before->thread_locale == after->thread_locale);
    CHECK(before->umask == after->umask);
    CHECK(before->folder.st_dev == after->folder.st_dev && before->folder.st_ino == after->folder.st_ino);
    check_same_sets(&before->mask, &after->mask);
    for (number = 1; number < NSIG; number++) {
        CHECK(before->signals[number].known == after->signals[number].known);
        CHECK(before->signals[number].action.sa_handler == after->signals[number].action.sa_handler);
        CHECK(before->signals[number].action.sa_flags == after->signals[number].action.sa_flags);
        check_same_sets(&before->signals[number].action.sa_mask, &after->signals[number].action.sa_mask);
    }
    CHECK(before->cancel_state == after->cancel_state);
    CHECK(before->cancel_type == after->cancel_type);
}

static void call_with_success(struct dss_handle *handle)
{
    struct timeval stamp;
    char *owner;

    CHECK_RC(dss_lock(handle, "id", "owner"), 0);
    CHECK_RC(dss_lock_refresh(handle, "id", "owner"), 0);
    CHECK_RC(dss_lock_status(handle, "id", &owner, &stamp), 0);
    free(owner);
    CHECK_RC(dss_unlock(handle, "id", "owner"), 0);
    CHECK_RC(dss_lock(handle, "id", "owner"), 0);
    CHECK_RC(dss_unlock(handle, "id", NULL), 0);
    CHECK(dss_strerror(0) != NULL && dss_version() != NULL && dss_last_error() != NULL);
}

static void call_with_failure(struct dss_handle *handle)
{
    struct dss_handle bad = { NULL };
    char *missing = test_path("no/such/folder/dss.db"), *owner;

    CHECK_RC(dss_lock(handle, "held", "owner"), 0);
    CHECK_RC(dss_lock(handle, "held", "other"), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, "held", "other"), -EACCES);
    CHECK_RC(dss_unlock(handle, "held", "other"), -EACCES);
    CHECK_RC(dss_unlock(handle, "held", "owner"), 0);
    CHECK_RC(dss_unlock(handle, "held", "owner"), -ENOLCK);
    CHECK_RC(dss_lock_refresh(handle, "held", "owner"), -ENOLCK);
    CHECK_RC(dss_lock_status(handle, "held", &owner, NULL), -ENOLCK);
    CHECK_RC(dss_lock(handle, NULL, "\xff%s\n"), -EINVAL);
    CHECK_RC(dss_lock(&bad, "id", "owner"), -EBADF);
    CHECK_RC(dss_init(NULL), -EINVAL);
    CHECK_RC(dss_init_uri(&bad, "nonsense://"), -EINVAL);
    CHECK_RC(dss_init_uri(&bad, missing), -ENOENT);
    CHECK(dss_init_uri(&bad, test_dir()) < 0); /* a folder is no file */
    dss_fini(&bad);
    free(missing);
}

static void check_surroundings(void)
{
    static struct surroundings before, after;
    struct dss_handle handle;

    look_around(&before);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    look_around(&after);
    check_same(&before, &after);
    call_with_success(&handle);
    look_around(&after);
    check_same(&before, &after);
    call_with_failure(&handle);
    look_around(&after);
    check_same(&before, &after);
    dss_fini(&handle);
    look_around(&after);
    check_same(&before, &after);
}

static int messages;

/* Puts a file in place of a standard stream and gives back what it was. */
static int redirect(int fd, const char *path)
{
    int kept = fcntl(fd, F_DUPFD_CLOEXEC, 10), file;

    CHECK(kept >= 0);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    CHECK(dup2(file, fd) == fd);
    CHECK(close(file) == 0);
    return kept;
}

/* A check that fails tells so in the file, so whatever is in there is shown on the real stream when the test ends. */
static void show_messages(void)
{
    char text[4096];
    ssize_t length;
    int fd;

    fflush(NULL);
    for (fd = 1; fd <= 2; fd++) {
        CHECK(lseek(fd, 0, SEEK_SET) == 0);
        while ((length = read(fd, text, sizeof(text))) > 0)
            CHECK(write(messages, text, (size_t)length) == length);
        CHECK(dup2(messages, fd) == fd);
    }
}

static off_t size_of(int fd)
{
    struct stat file;

    CHECK(fstat(fd, &file) == 0);
    return file.st_size;
}

static void choose_unusual_surroundings(void)
{
    sigset_t some;

    CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
    (void)umask(0137);
    CHECK(chdir("/") == 0);
    CHECK(sigemptyset(&some) == 0);
    CHECK(sigaddset(&some, SIGUSR1) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &some, NULL) == 0);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
}

int main(void)
{
    char *out = test_path("stdout"), *err = test_path("stderr");

    (void)redirect(1, out);
    messages = redirect(2, err);
    CHECK(atexit(show_messages) == 0);

    /* First as a process finds itself at its start, then with everything set to something else. */
    check_surroundings();
    choose_unusual_surroundings();
    check_surroundings();

    fflush(NULL);
    CHECK(size_of(1) == 0);
    CHECK(size_of(2) == 0);
    free(out);
    free(err);
    return 0;
}
