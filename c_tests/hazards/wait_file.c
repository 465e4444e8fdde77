/*
 * Those who wait for locks are woken by way of shared memory, which a file beside the database names, FILE-wait; and
 * anything may happen to both.
 *
 * They hold hints only. Somebody removes the file, cuts it short, a folder or another's file has its name, the file or
 * the memory is full of nonsense, or there is no room to make it: then waiters look by themselves, four times a second,
 * and that is all that is lost. It must not let a lock be granted twice, nor end a process: once the file itself was
 * mapped, and who cut it short ended all who waited, by SIGBUS.
 */
#include "contend.h"
#include "host_sqlite.h"

#include <sys/shm.h>

/* A waiter that is not woken looks by itself after so long; and what a busy machine may add. */
#define RECHECK_S 0.25
#define SLACK_S 2.0
/* Each time the lock is released so soon after the wait began that the waiter would not look by itself for long. */
#define SOON_US 50000
#define PROMPTLY_S 0.1
#define ROUNDS 7
/* What the file holds: a mark, the IPC namespace, the number of the segment, and a number to know it by. */
#define RECORD_WORDS 4
#define SEGMENT 2
/* The words of the segment: that number, those who wait, then the requests that processes leave for each other. */
#define WAITERS 8
#define REQUESTS (WAITERS + 64 + 512 * 16)
#define SEGMENT_WORDS (REQUESTS + 64 + 128 * 128)

/* The segment of those who have the store open; NULL if there is none now. */
static uint64_t *attach(const char *side)
{
    uint64_t record[RECORD_WORDS] = {0};
    int fd = open(side, O_RDONLY | O_CLOEXEC);
    void *words = (void *)-1;

    if (fd >= 0 && pread(fd, record, sizeof(record), 0) == (ssize_t)sizeof(record))
        words = shmat((int)record[SEGMENT], NULL, 0);
    if (fd >= 0)
        close(fd);
    return words == (void *)-1 ? NULL : words;
}

static int take(struct dss_handle *handle, const char *owner, int64_t wait_ms)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = wait_ms};
    const char *ids[] = {"drive"};

    return dss_lockv(handle, ids, 1, owner, &opts, NULL);
}

static void sleep_s(double seconds)
{
    struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    CHECK(nanosleep(&pause, NULL) == 0);
}

/* ---- A waiter in another process, and how long it takes until it has what was released. ---- */

enum word { WAIT = 1, END, WAITS, GRANTED };

struct waiter {
    struct line ask, answer;
    const char *uri;
    double *granted_at; /* in memory that both have */
    pid_t process;
};

static void wait_when_told(void *arg)
{
    struct waiter *waiter = arg;
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, waiter->uri), 0);
    while (hear(&waiter->ask) == WAIT) {
        tell(&waiter->answer, WAITS);
        CHECK_RC(take(&handle, "waiter", 15000), 0);
        *waiter->granted_at = test_seconds();
        CHECK_RC(dss_unlock(&handle, "drive", "waiter"), 0);
        tell(&waiter->answer, GRANTED);
    }
    dss_fini(&handle);
}

static void start_waiter(struct waiter *waiter, const char *uri)
{
    line_make(&waiter->ask);
    line_make(&waiter->answer);
    waiter->uri = uri;
    waiter->granted_at = mmap(NULL, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(waiter->granted_at != MAP_FAILED);
    waiter->process = spawn(wait_when_told, waiter);
}

static void end_waiter(struct waiter *waiter)
{
    tell(&waiter->ask, END);
    test_join(waiter->process);
    for (int i = 0; i < 2; i++) {
        close(waiter->ask.ends[i]);
        close(waiter->answer.ends[i]);
    }
    CHECK(munmap(waiter->granted_at, sizeof(double)) == 0);
}

/* Before the lock is released, `meanwhile` happens, if there is any. */
static double hand_over(struct dss_handle *handle, struct waiter *waiter, void (*meanwhile)(const char *),
                        const char *arg)
{
    static unsigned seed = 1;
    double released_at;

    CHECK_RC(take(handle, "ann", 15000), 0);
    tell(&waiter->ask, WAIT);
    CHECK(hear(&waiter->answer) == WAITS);
    pause_at_random(&seed, SOON_US);
    if (meanwhile != NULL)
        meanwhile(arg);
    released_at = test_seconds();
    CHECK_RC(dss_unlock(handle, "drive", "ann"), 0);
    CHECK(hear(&waiter->answer) == GRANTED);
    return *waiter->granted_at - released_at;
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

static void check_promptly(double *seconds, int count, const char *when)
{
    qsort(seconds, (size_t)count, sizeof(*seconds), by_size);
    if (seconds[count / 2] > PROMPTLY_S)
        fprintf(stderr, "%s, a waiter was woken after %.3f s\n", when, seconds[count / 2]);
    CHECK(seconds[count / 2] <= PROMPTLY_S);
}

static void check_prompt_rounds(struct dss_handle *handle, struct waiter *waiter, const char *when)
{
    double seconds[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        seconds[i] = hand_over(handle, waiter, NULL, NULL);
    check_promptly(seconds, ROUNDS, when);
}

/* Waiting works, be it slowly. */
static void check_rounds(struct dss_handle *handle, struct waiter *waiter, int count)
{
    for (int i = 0; i < count; i++)
        CHECK(hand_over(handle, waiter, NULL, NULL) < RECHECK_S + SLACK_S);
}

/* ---- The file as it should be. ---- */

static unsigned mode_of(const char *path)
{
    struct stat found;

    CHECK(lstat(path, &found) == 0 && S_ISREG(found.st_mode));
    return found.st_mode & 07777;
}

/* One, since locks on its bytes tell who is alive; and none of a file that was removed. */
static void check_one_descriptor(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    char target[1024];
    int count = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        ssize_t size = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

        if (size < 0)
            continue;
        target[size] = '\0';
        if (strstr(target, "-wait") != NULL) {
            CHECK(strstr(target, "deleted") == NULL);
            count++;
        }
    }
    closedir(dir);
    CHECK(count == 1);
}

/* Whoever may use the database may use the file beside it, whatever the umask of the one who came first. */
static void modes(const char *folder)
{
    static const struct {
        const char *options;
        unsigned mode, mask;
    } cases[] = {{"", 0600, 0}, {"", 0600, 0777}, {"mode=0660", 0660, 077}, {"mode=0666", 0666, 0}};

    for (int i = 0; i < 4; i++) {
        char path[512], side[600];
        char *uri;
        struct dss_handle handle;
        mode_t mask = umask(cases[i].mask);

        snprintf(path, sizeof(path), "%s/mode-%d.db", folder, i);
        uri = sqlite_uri(path, cases[i].options);
        snprintf(side, sizeof(side), "%s-wait", path);
        CHECK_RC(dss_init_uri(&handle, uri), 0);
        /* Who does nothing but open the store has no use for it. */
        CHECK(!exists(side));
        CHECK_RC(take(&handle, "ann", 100), 0);
        CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
        CHECK(mode_of(path) == cases[i].mode && mode_of(side) == cases[i].mode);
        check_one_descriptor();
        /* Made anew, it is as it was. */
        CHECK(unlink(side) == 0);
        sleep_s(0.15);
        CHECK_RC(take(&handle, "ann", 100), 0);
        CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
        CHECK(mode_of(side) == cases[i].mode);
        check_one_descriptor();
        dss_fini(&handle);
        CHECK(!exists(side));
        umask(mask);
        free(uri);
    }
}

static void use_what_is_inherited(void *arg)
{
    struct dss_handle *handle = arg;

    CHECK_RC(take(handle, "child", 100), 0);
    CHECK_RC(dss_unlock(handle, "drive", "child"), 0);
    check_one_descriptor();
    CHECK_RC(dss_lock(handle, "drive", "child"), 0);
    CHECK_RC(dss_unlock(handle, "drive", "child"), 0);
    check_one_descriptor();
}

/* A child opens the file for itself, most often under its parent's number; letting go of what it inherited, it closed that. */
static void a_child_has_its_own(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(take(&handle, "ann", 100), 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    for (int i = 0; i < 3; i++) {
        test_join(spawn(use_what_is_inherited, &handle));
        CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
        CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
        check_one_descriptor();
    }
    dss_fini(&handle);
}

static void removed_by_the_last(const char *uri, const char *side)
{
    struct dss_handle one, other;
    struct waiter waiter;

    CHECK(!exists(side));
    CHECK_RC(dss_init_uri(&one, uri), 0);
    CHECK_RC(dss_init_uri(&other, uri), 0);
    start_waiter(&waiter, uri);
    check_prompt_rounds(&one, &waiter, "at first");
    dss_fini(&one);
    CHECK(exists(side));
    check_prompt_rounds(&other, &waiter, "after another handle was closed");
    end_waiter(&waiter);
    CHECK(exists(side));
    dss_fini(&other);
    CHECK(!exists(side));
}

/* ---- It is removed while all have it open. ---- */

static void remove_and_wait(const char *side)
{
    CHECK(unlink(side) == 0);
    sleep_s(0.5);
}

static void removed_while_open(const char *uri, const char *side)
{
    struct dss_handle handle;
    struct waiter waiter;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    start_waiter(&waiter, uri);
    /* Under one who waits: it sees the release by itself, and has the new file from then on. */
    for (int i = 0; i < 3; i++)
        CHECK(hand_over(&handle, &waiter, remove_and_wait, side) < RECHECK_S + SLACK_S);
    CHECK(exists(side));
    check_prompt_rounds(&handle, &waiter, "after the file was removed while it waited");
    end_waiter(&waiter);
    /* And before one comes who knows the former file no more. */
    CHECK(unlink(side) == 0);
    start_waiter(&waiter, uri);
    sleep_s(0.5);
    check_prompt_rounds(&handle, &waiter, "when it came after the file was removed");
    end_waiter(&waiter);
    dss_fini(&handle);
    CHECK(!exists(side));
}

/* ---- Something else has its name. ---- */

static char others_file[512];

static void put_folder(const char *side)
{
    CHECK(mkdir(side, 0755) == 0);
}

static void put_link(const char *side)
{
    CHECK(symlink(others_file, side) == 0);
}

static void put_dangling_link(const char *side)
{
    CHECK(symlink("/nonexistent/of-dss", side) == 0);
}

static void put_fifo(const char *side)
{
    CHECK(mkfifo(side, 0600) == 0);
}

/* In a folder that all may write to, anybody can be the first. */
static void put_strangers_file(const char *side)
{
    write_text(side, "");
    CHECK(truncate(side, 4096) == 0);
    CHECK(chmod(side, 0666) == 0);
    if (geteuid() == 0)
        CHECK(chown(side, NOBODY, NOBODY) == 0);
}

static void cut_short(const char *side)
{
    struct stat found;

    if (lstat(side, &found) == 0 && S_ISREG(found.st_mode))
        CHECK(truncate(side, 0) == 0);
}

static void something_else(const char *uri, const char *side, void (*put)(const char *))
{
    struct dss_handle handle;
    struct waiter waiter;
    struct stat before, after;

    put(side);
    CHECK(lstat(side, &before) == 0);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    start_waiter(&waiter, uri);
    CHECK(hand_over(&handle, &waiter, cut_short, side) < RECHECK_S + SLACK_S);
    check_rounds(&handle, &waiter, 1);
    end_waiter(&waiter);
    dss_fini(&handle);
    /* It is not ours, so it stays. */
    CHECK(lstat(side, &after) == 0);
    CHECK(after.st_ino == before.st_ino && after.st_mode == before.st_mode && after.st_uid == before.st_uid);
    CHECK(after.st_size == 0 || after.st_size == before.st_size);
    CHECK(remove(side) == 0);
}

static void others_files(const char *folder, const char *uri, const char *side)
{
    struct stat found;

    snprintf(others_file, sizeof(others_file), "%s/precious", folder);
    write_text(others_file, "precious");
    something_else(uri, side, put_folder);
    something_else(uri, side, put_link);
    something_else(uri, side, put_dangling_link);
    something_else(uri, side, put_fifo);
    something_else(uri, side, put_strangers_file);
    CHECK(stat(others_file, &found) == 0 && found.st_size == (off_t)strlen("precious"));
}

/* ---- It is full of nonsense. ---- */

static uint64_t word_of_nonsense(unsigned *seed)
{
    uint64_t word = 0;

    for (int i = 0; i < 4; i++)
        word = word << 16 | ((unsigned)rand_r(seed) & 0xffff);
    return word;
}

/* The kinds with an odd number begin as a file of ours does, so that all the rest is taken for good. */
static void write_nonsense(const char *side, int kind)
{
    uint64_t words[512];
    size_t count = kind == 7 ? RECORD_WORDS - 1 : 512;
    unsigned seed = (unsigned)kind;
    FILE *file = fopen(side, "wb");

    CHECK(file != NULL && fchmod(fileno(file), 0600) == 0);
    for (size_t i = 0; i < count; i++)
        words[i] = kind < 2 ? UINT64_MAX : word_of_nonsense(&seed);
    if (kind % 2 == 1)
        memcpy(words, "dsswait1", 8);
    CHECK(fwrite(words, 8, count, file) == count);
    CHECK(fclose(file) == 0);
}

/* In the memory, the kinds with an odd number leave what tells its layout. */
static void fill_with_nonsense(uint64_t *words, int kind)
{
    unsigned seed = (unsigned)kind;

    for (size_t i = 1; i < SEGMENT_WORDS; i++)
        if (kind % 2 == 0 || (i != WAITERS && i != REQUESTS))
            words[i] = kind < 2 ? UINT64_MAX : word_of_nonsense(&seed);
}

static void nonsense_is_found(const char *uri, const char *side)
{
    for (int kind = 0; kind < 8; kind++) {
        struct dss_handle handle;
        struct waiter waiter;
        uint64_t *words;

        write_nonsense(side, kind);
        CHECK_RC(dss_init_uri(&handle, uri), 0);
        start_waiter(&waiter, uri);
        check_rounds(&handle, &waiter, 1);
        words = attach(side);
        CHECK(words != NULL);
        fill_with_nonsense(words, kind);
        check_rounds(&handle, &waiter, 1);
        CHECK(shmdt(words) == 0);
        end_waiter(&waiter);
        dss_fini(&handle);
        CHECK(unlink(side) == 0 || errno == ENOENT);
    }
}

/* What somebody does to the file under those who have it open is mended, and the next one to come finds them. */
static void cut_short_while_open(const char *uri, const char *side)
{
    struct dss_handle handle;
    struct waiter waiter;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(take(&handle, "ann", 0), 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    for (int i = 0; i < 3; i++) {
        CHECK(truncate(side, i * 8) == 0);
        start_waiter(&waiter, uri);
        check_rounds(&handle, &waiter, 3);
        check_prompt_rounds(&handle, &waiter, "after the file was cut short");
        end_waiter(&waiter);
    }
    dss_fini(&handle);
    CHECK(!exists(side));
}

/* Where the memory says that somebody has the write lock. Who is killed leaves it so, and nobody may be kept waiting. */
#define AT_WORK (REQUESTS + 16)

static void a_dead_one_is_at_work(const char *path, const char *side)
{
    static const char *const options[] = {"timeout_ms=0", "timeout_ms=2", ""};

    for (int i = 0; i < 3; i++) {
        char *uri = sqlite_uri(path, options[i]);
        struct dss_handle handle;
        uint64_t *words;

        CHECK_RC(dss_init_uri(&handle, uri), 0);
        CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
        words = attach(side);
        CHECK(words != NULL);
        words[AT_WORK] = 1;
        CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
        CHECK(shmdt(words) == 0);
        dss_fini(&handle);
        free(uri);
    }
}

static struct arena *arena;
static const char *contenders_uri;

static void wait_and_contend(void *arg)
{
    double end = test_seconds() + *(double *)arg;
    int me = atomic_fetch_add(&arena->contenders, 1) + 1;
    struct dss_handle handle;
    char owner[32];

    snprintf(owner, sizeof(owner), "contender %d", me);
    CHECK_RC(dss_init_uri(&handle, contenders_uri), 0);
    while (test_seconds() < end && !atomic_load(&arena->stop)) {
        int rc = take(&handle, owner, 3000);

        if (rc == -ETIMEDOUT)
            continue;
        CHECK_RC(rc, 0);
        be_inside(arena, me);
        atomic_fetch_add(&arena->grants, 1);
        CHECK_RC(dss_unlock(&handle, "drive", owner), 0);
    }
    dss_fini(&handle);
}

/* Writes into the memory and the file, wherever they are at the moment. */
static void scribble(const char *side, double seconds)
{
    double end = test_seconds() + seconds;
    unsigned seed = 1;

    while (test_seconds() < end) {
        uint64_t *words = attach(side);
        int fd = open(side, O_WRONLY | O_CLOEXEC);

        for (int i = 0; words != NULL && i < 200; i++)
            words[1 + rand_r(&seed) % (i % 2 == 0 ? 100 : SEGMENT_WORDS - 1)] = word_of_nonsense(&seed);
        if (fd >= 0) {
            uint64_t word = word_of_nonsense(&seed);

            CHECK(pwrite(fd, &word, 8, rand_r(&seed) % RECORD_WORDS * 8) == 8);
            close(fd);
        }
        if (words != NULL)
            CHECK(shmdt(words) == 0);
        pause_at_random(&seed, 2000);
    }
}

static void nonsense_is_written(const char *uri, const char *side)
{
    double seconds = 1.0;
    pid_t contenders[3];

    arena = arena_make();
    contenders_uri = uri;
    for (int i = 0; i < 3; i++)
        contenders[i] = spawn(wait_and_contend, &seconds);
    scribble(side, seconds);
    arena_close(arena, contenders, 3);
    CHECK(unlink(side) == 0 || errno == ENOENT);
}

/* ---- There is no room to make it. ---- */

#define PAGE 4096
/* The log of SQLite may need some. */
#define FREE_PAGES 10

static void fill_up(const char *path)
{
    static const char zeros[PAGE];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t size = 0;

    CHECK(fd >= 0);
    while (pwrite(fd, zeros, PAGE, size) == PAGE)
        size += PAGE;
    CHECK(errno == ENOSPC && size > FREE_PAGES * PAGE);
    CHECK(ftruncate(fd, size - FREE_PAGES * PAGE) == 0);
    close(fd);
}

/* A log that is long, and written from its beginning again: so it needs no room for a while. */
static void lengthen_log(struct dss_handle *handle, const char *path)
{
    sqlite3 *db;

    for (int i = 0; i < 60; i++) {
        CHECK_RC(take(handle, "ann", 0), 0);
        CHECK_RC(dss_unlock(handle, "drive", "ann"), 0);
    }
    db = host_open(path);
    sql(db, "PRAGMA wal_checkpoint(RESTART)");
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

static void full_disk(const char *uri, const char *path, const char *side, const char *folder)
{
    char filler[512];
    struct dss_handle handle;
    struct waiter waiter;
    struct stat found;

    snprintf(filler, sizeof(filler), "%s/filler", folder);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    lengthen_log(&handle, path);
    start_waiter(&waiter, uri);
    check_rounds(&handle, &waiter, 1);
    CHECK(unlink(side) == 0);
    fill_up(filler);
    check_rounds(&handle, &waiter, 3);
    CHECK(unlink(filler) == 0);
    sleep_s(0.5);
    check_prompt_rounds(&handle, &waiter, "when there is room again");
    CHECK(lstat(side, &found) == 0 && found.st_size == RECORD_WORDS * 8);
    end_waiter(&waiter);
    dss_fini(&handle);
    CHECK(!exists(side));
}

/*
 * In memory: how long a disk takes shall not be taken for how long a waiter waits, and it has to be full once. The log of
 * those who contend for a second needs some room.
 */
static void on_a_disk_of_our_own(void *arg)
{
    const char *folder = arg;
    char path[512], side[600];
    char *uri;

    private_mounts();
    mount_tmpfs(folder, "size=64m");
    snprintf(path, sizeof(path), "%s/dss.db", folder);
    snprintf(side, sizeof(side), "%s-wait", path);
    uri = sqlite_uri(path, "");
    modes(folder);
    a_child_has_its_own(uri);
    removed_by_the_last(uri, side);
    removed_while_open(uri, side);
    others_files(folder, uri, side);
    nonsense_is_found(uri, side);
    nonsense_is_written(uri, side);
    cut_short_while_open(uri, side);
    a_dead_one_is_at_work(path, side);
    full_disk(uri, path, side, folder);
    free(uri);
}

int main(void)
{
    char *folder = test_path("disk");

    CHECK(mkdir(folder, 0755) == 0);
    test_join(spawn(on_a_disk_of_our_own, folder));
    free(folder);
    return 0;
}
