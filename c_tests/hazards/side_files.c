/*
 * An administrator clears away an "old" dss.db-shm or dss.db-wal while a daemon has the store open.
 *
 * SQLite's locks for writers live in the -shm file, and the latest transactions in the -wal. The
 * next program to come makes files of its own under these names, and from then on each of the two
 * grants the same lock to itself.
 *
 * That was found out by the daemon (-EIDRM), which closed the store: and by that the lock of the
 * newcomer was lost, since the connection was closed with a checkpoint through the index that
 * nobody used any more. So each way to harm a side file is tried with a newcomer that takes a lock,
 * and that is looked at after the first process has noticed and closed. Calls may fail until both
 * have opened the store anew. No process may be ended by SIGBUS, where a mapped file is cut short.
 */
#include "members.h"

static struct line may_lock, answer;

/* A newcomer is refused until all have noticed; here it does not wait for that for long. */
static char *hasty(const char *uri)
{
    static char text[640];

    snprintf(text, sizeof(text), "%s?timeout_ms=300", uri);
    return text;
}

static void newcomer(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    while (hear(&may_lock) != 0) {
        int rc = dss_init_uri(&handle, hasty(test_uri()));

        if (rc == 0)
            rc = dss_lock(&handle, "contended", "newcomer");
        tell(&answer, rc);
        if (rc == 0)
            CHECK(hear(&may_lock) == 1);
        dss_fini(&handle);
        tell(&answer, 0);
    }
}

/* The one who had it open before must not get the lock that the newcomer has. */
static int clear_away(const char *suffix)
{
    struct dss_handle handle;
    char side[512];
    int rc;

    snprintf(side, sizeof(side), "%s%s", test_uri() + strlen("sqlite:"), suffix);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, suffix, "ann"), 0);
    CHECK(unlink(side) == 0);
    tell(&may_lock, 1);
    rc = hear(&answer);
    CHECK_RC(dss_lock(&handle, "contended", "ann"), -EIDRM);
    CHECK(strstr(dss_last_error(), side) != NULL);
    if (rc == 0)
        tell(&may_lock, 1);
    dss_fini(&handle);
    CHECK(hear(&answer) == 0);
    return rc;
}

/* ---- What is done to a file ---- */

enum harm { REMOVE, EMPTY, CUT, COPY, NONSENSE, HARMS };

static const char *const harm_names[] = {"removed", "emptied", "cut in half", "replaced by a copy",
                                         "replaced by nonsense"};

static void write_file(const char *path, const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
}

static void do_harm(const char *path, enum harm harm)
{
    static char bytes[1 << 22];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;
    char beside[700];

    CHECK(size >= 0 && size < (ssize_t)sizeof(bytes));
    snprintf(beside, sizeof(beside), "%s-new", path);
    if (harm == REMOVE)
        CHECK(unlink(path) == 0);
    else if (harm == EMPTY || harm == CUT)
        CHECK(ftruncate(fd, harm == CUT ? size / 2 : 0) == 0);
    else {
        if (harm == NONSENSE)
            for (ssize_t i = 0; i < size; i++)
                bytes[i] = (char)(i * 37 + i / 251);
        write_file(beside, bytes, (size_t)size);
        CHECK(rename(beside, path) == 0);
    }
    close(fd);
}

/* ---- One case ---- */

static int is_refused(int rc)
{
    return rc == -EIDRM || rc == -EUCLEAN;
}

/* For 150 ms, since a look at a file's name is good for 100: until its calls fail, if they do. */
static void let_notice(struct member *member)
{
    for (int i = 0; i < 15 && !is_refused(ask(member, SEE, 0)); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
}

/* Each call gives its usual answer, or fails because the store is to be opened anew. */
static void check_held(struct member *member, int lock, int owner, int may_fail)
{
    int rc = ask(member, SEE, lock);

    if (member->process == 0)
        return; /* that it was killed is known */
    EXPECT(rc == owner || (may_fail && is_refused(rc)),
           "process %d sees lock %d of process %d: %d (%s)", member->number, lock, owner, rc,
           rc < 0 ? dss_strerror(rc) : "another owner");
    if (member->number == owner)
        return;
    rc = ask(member, TAKE, lock);
    EXPECT(rc == -EEXIST || (may_fail && is_refused(rc)),
           "process %d takes lock %d of process %d: %d (%s)", member->number, lock, owner, rc,
           dss_strerror(rc));
}

/* In which order the two go on after the harm. */
enum story { FIRST_CLOSES, NEWCOMER_CLOSES, NEWCOMER_LEAVES, FIRST_ACTS, STORIES };

static const char *const story_names[] = {"who had it closes first", "the newcomer closes first",
                                          "the newcomer leaves before anybody notices",
                                          "who had it makes a call before the newcomer comes"};

#define HELD 5 /* locks of the first process; then one that it asks for after the harm */
#define FIRSTS HELD
#define NEWCOMERS (HELD + 1)
#define PAIR (HELD + 2)

static void open_anew(struct member *one, struct member *other)
{
    int first = ask(one, OPEN, 0), second = ask(other, OPEN, 0);

    EXPECT(first == 0 && second == 0, "the store can't be opened anew: %d and %d", first, second);
}

/* What the newcomer finds, and whether it gets a lock that is free. */
static int come(struct member *newcomer)
{
    int rc = ask(newcomer, OPEN, 0);

    EXPECT(rc == 0 || is_refused(rc), "the newcomer's dss_init gave %d (%s)", rc, dss_strerror(rc));
    if (rc != 0)
        return 0;
    rc = ask(newcomer, TAKE, NEWCOMERS);
    EXPECT(rc == 0 || is_refused(rc), "the newcomer's dss_lock gave %d (%s)", rc, dss_strerror(rc));
    for (int i = 0; i < HELD; i++)
        check_held(newcomer, i, 1, 1);
    return rc == 0;
}

static void play(struct member *first, struct member *newcomer, const char *side, enum harm harm,
                 enum story story)
{
    int newcomer_closes = story == NEWCOMER_CLOSES, has_first, has_newcomer;
    struct member *one = newcomer_closes ? newcomer : first,
                  *other = newcomer_closes ? first : newcomer;

    EXPECT(ask(first, OPEN, 0) == 0, "the first process can't open the store");
    for (int i = 0; i < HELD; i++)
        EXPECT(ask(first, TAKE, i) == 0, "the first process can't take lock %d", i);
    do_harm(side, harm);
    /* Memory that is cut off in the middle of a call ends the process, and this is looked for after a
     * pause of some milliseconds. */
    (void)nanosleep(&(struct timespec){0, 30000000}, NULL);
    if (story == FIRST_ACTS) {
        check_held(first, 0, 1, 1);
        if (ask(first, TAKE, PAIR) == 0)
            (void)ask(first, FREE, PAIR);
    }
    has_newcomer = come(newcomer);
    if (story == NEWCOMER_LEAVES)
        (void)ask(newcomer, CLOSE, 0);
    if (has_newcomer)
        check_held(first, NEWCOMERS, 2, 1);
    has_first = ask(first, TAKE, FIRSTS) == 0;
    let_notice(first);
    (void)ask(one, CLOSE, 0);
    if (one == first && has_newcomer && story != NEWCOMER_LEAVES)
        check_held(newcomer, NEWCOMERS, 2, 1);
    (void)ask(other, CLOSE, 0);
    open_anew(one, other);
    for (int i = 0; i < HELD + has_first; i++) {
        check_held(newcomer, i, 1, 0);
        check_held(first, i, 1, 0);
    }
    if (has_newcomer) {
        check_held(first, NEWCOMERS, 2, 0);
        check_held(newcomer, NEWCOMERS, 2, 0);
    }
}

/* The log that is cut short is no case of it: its transactions are gone from the disk then. */
static void newcomers(void)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-wait"};

    for (int number = 0; number < 3 * HARMS * STORIES; number++) {
        enum harm harm = (enum harm)(number / STORIES % HARMS);
        enum story story = (enum story)(number % STORIES);
        const char *suffix = suffixes[number / STORIES / HARMS];
        struct member first, newcomer;
        char name[32], side[600];
        char *uri;

        if (strcmp(suffix, "-wal") == 0 && (harm == EMPTY || harm == CUT))
            continue;
        snprintf(name, sizeof(name), "case-%d", number);
        uri = test_other_uri(name);
        snprintf(side, sizeof(side), "%s%s", uri + strlen("sqlite:"), suffix);
        snprintf(case_name, sizeof(case_name), "%s %s, %s", suffix, harm_names[harm],
                 story_names[story]);
        start(&first, 1, uri);
        start(&newcomer, 2, hasty(uri));
        play(&first, &newcomer, side, harm, story);
        stop(&newcomer);
        stop(&first);
        free(uri);
    }
    CHECK(failures == 0);
}

/* ---- A process that only renews a lock finds out by itself ---- */

#define TTL_MS 1500

static void renewed_meanwhile(void)
{
    struct dss_event event;
    struct dss_handle handle;
    const char *ids[] = {"lock 1"};
    struct ask kept = {
        .ids = ids, .count = 1, .owner = "1", .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    struct pollfd events = {.events = POLLIN};
    struct member newcomer;
    char *uri = test_other_uri("renewed"), side[600];

    snprintf(case_name, sizeof(case_name), "-shm removed beside a kept lock");
    snprintf(side, sizeof(side), "%s-shm", uri + strlen("sqlite:"));
    start(&newcomer, 2, uri);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(lock_set(&handle, &kept, NULL), 0);
    events.fd = dss_event_fd(&handle);
    CHECK(unlink(side) == 0);
    EXPECT(ask(&newcomer, OPEN, 0) == 0 && ask(&newcomer, TAKE, NEWCOMERS) == 0,
           "the newcomer can't take a lock");
    (void)ask(&newcomer, CLOSE, 0);
    /* Until the renewal fails; if it does not, the lock is still kept. */
    (void)poll(&events, 1, TTL_MS * 3 / 2);
    (void)dss_event_next(&handle, &event);
    dss_fini(&handle);
    CHECK(ask(&newcomer, OPEN, 0) == 0);
    check_held(&newcomer, NEWCOMERS, 2, 0);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "lock 6", "thief"), -EEXIST);
    dss_fini(&handle);
    stop(&newcomer);
    CHECK(failures == 0);
    free(uri);
}

int main(int argc, char **argv)
{
    struct dss_handle handle;
    pid_t child;
    int rc;

    use_files_in_memory();
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc == 1 || strcmp(argv[1], "newcomers") == 0)
        newcomers();
    if (argc == 1 || strcmp(argv[1], "renewed") == 0)
        renewed_meanwhile();
    if (argc > 1 && strcmp(argv[1], "known") != 0)
        return 0;

    (void)test_uri();
    line_make(&may_lock);
    line_make(&answer);
    child = spawn(newcomer, NULL);
    rc = clear_away("-shm");
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_unlock(&handle, "contended", NULL), rc == 0 ? 0 : -ENOLCK);
    dss_fini(&handle);
    (void)clear_away("-wal");
    tell(&may_lock, 0);
    test_join(child);
    return 0;
}
