/*
 * A clean-up script emptied dss.db-wal while two daemons had the store open. The latest locks were
 * in that file alone. SQLite appended behind the gap, and all went on as if nothing had happened
 * until the last daemon closed the store: the next one found an older state, and was granted a
 * drive that another one was writing to.
 *
 * Proves, for a log that is emptied, cut at several places, zeroed or overwritten in place while
 * two processes have the store open: no lock is granted any more, by a call (-EUCLEAN) or by an
 * opening of the store, whether one of the two makes a call before it closes the store or not; the
 * text says what to do, and that helps.
 */
#include "members.h"

enum harm { EMPTY, HEADER_LEFT, HALF, ALL_BUT_ONE, ZEROS, NONSENSE, HARMS };

static const char *const names[] = {"emptied", "cut to its header", "cut in half",
                                    "cut by one byte",
                                    "filled with zeros", "filled with nonsense"};

static void do_harm(const char *path, enum harm harm)
{
    struct stat found;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char bytes[1 << 16];
    off_t left[] = {0, 32, 0, 0};

    CHECK(fd >= 0 && fstat(fd, &found) == 0);
    CHECK(found.st_size > 2000 && found.st_size < (off_t)sizeof(bytes));
    left[HALF] = found.st_size / 2;
    left[ALL_BUT_ONE] = found.st_size - 1;
    for (off_t i = 0; i < found.st_size; i++)
        bytes[i] = (char)(harm == ZEROS ? 0 : i * 37 + i / 251);
    if (harm < ZEROS)
        CHECK(ftruncate(fd, left[harm]) == 0);
    else
        CHECK(pwrite(fd, bytes, (size_t)found.st_size, 0) == found.st_size);
    close(fd);
}

static void check_refused(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), -EUCLEAN);
    CHECK(strstr(dss_last_error(), "-wal") != NULL && strstr(dss_last_error(), "remove") != NULL);
}

static void play(const char *uri, const char *log, int calls)
{
    struct member one, other, late;
    struct dss_handle handle;

    start(&one, 1, uri);
    start(&other, 2, uri);
    start(&late, 3, uri);
    CHECK(ask(&one, OPEN, 0) == 0 && ask(&other, OPEN, 0) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(ask(&one, TAKE, i) == 0);
    do_harm(log, (enum harm)(calls / 2));
    if (calls % 2 != 0) {
        EXPECT(ask(&other, TAKE, 5) == -EUCLEAN, "a lock is granted behind the gap");
        EXPECT(ask(&one, TAKE, 6) == -EUCLEAN, "a lock is granted by the other process");
        EXPECT(ask(&late, OPEN, 0) == -EUCLEAN, "a third process opens the store");
    }
    (void)ask(&one, CLOSE, 0);
    (void)ask(&other, CLOSE, 0);
    if (failures == 0)
        check_refused(uri);
    EXPECT(ask(&late, OPEN, 0) == -EUCLEAN, "the store is opened in an older state");
    stop(&late);
    stop(&other);
    stop(&one);

    CHECK(failures == 0 && unlink(log) == 0);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "anew", "ann"), 0);
    dss_fini(&handle);
}

int main(void)
{
    use_files_in_memory();
    (void)signal(SIGPIPE, SIG_IGN);
    for (int number = 0; number < 2 * HARMS; number++) {
        char name[32], log[600], *uri;

        snprintf(name, sizeof(name), "case-%d", number);
        uri = test_other_uri(name);
        snprintf(log, sizeof(log), "%s-wal", uri + strlen("sqlite:"));
        snprintf(case_name, sizeof(case_name), "%s, %s", names[number / 2],
                 number % 2 != 0 ? "then calls" : "no call");
        play(uri, log, number);
        free(uri);
    }
    return 0;
}
