#include "side_files.h"

#include "actor.h"

enum { WAL, SHM, WAIT, SIDES };

static const char *const suffixes[SIDES] = {"-wal", "-shm", "-wait"};

enum { REMOVE, EMPTY, CUT, COPY, NONSENSE, OVERWRITE, HARMS };

static unsigned below(unsigned *seed, unsigned limit)
{
    return (unsigned)rand_r(seed) % limit;
}

/* The path of a side file, or of another one that stands beside it for a moment. */
static void name_side(char path[600], int side, const char *more)
{
    const char *store = store_uri + strlen("sqlite:");

    snprintf(path, 600, "%.*s%s%s", (int)strcspn(store, "?"), store, suffixes[side], more);
}

static void fill(int fd, off_t size, unsigned *seed)
{
    unsigned char bytes[4096];

    for (off_t at = 0; at < size; at += (off_t)sizeof(bytes)) {
        size_t count = size - at < (off_t)sizeof(bytes) ? (size_t)(size - at) : sizeof(bytes);

        for (size_t i = 0; i < count; i++)
            bytes[i] = (unsigned char)rand_r(seed);
        CHECK(pwrite(fd, bytes, count, at) == (ssize_t)count);
    }
}

/* As `cp FILE TEMP && mv TEMP FILE` does it, while others write to the file. */
static void copy(int from, int to, off_t size)
{
    char bytes[4096];
    ssize_t count;

    for (off_t at = 0; at < size && (count = pread(from, bytes, sizeof(bytes), at)) > 0;
         at += count)
        CHECK(pwrite(to, bytes, (size_t)count, at) == count);
}

static void replace(int side, const char *path, int fd, off_t size, int by_a_copy, unsigned *seed)
{
    char beside[600];
    int other;

    name_side(beside, side, "-new");
    other = open(beside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(other >= 0);
    if (by_a_copy)
        copy(fd, other, size);
    else
        fill(other, 1 + below(seed, 100000), seed);
    CHECK(close(other) == 0 && rename(beside, path) == 0);
}

/*
 * The kernel ends each process that uses mapped memory that was cut off (dss.h says so of the file -shm). A log
 * that is harmed in place ends the use of the store: see lose_log().
 */
static int is_spared(int side, unsigned harm)
{
    return side != WAIT && (harm == OVERWRITE || harm == EMPTY || harm == CUT);
}

static void harm(int side, unsigned how, unsigned *seed)
{
    char path[600];
    struct stat found;
    int fd;

    name_side(path, side, "");
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return; /* all processes have just closed the store */
    CHECK(fstat(fd, &found) == 0);
    switch (how) {
    case REMOVE:
        CHECK(unlink(path) == 0 || errno == ENOENT);
        break;
    case EMPTY:
        CHECK(ftruncate(fd, 0) == 0);
        break;
    case CUT:
        CHECK(ftruncate(fd, found.st_size > 0 ? below(seed, (unsigned)found.st_size) : 0) == 0);
        break;
    case OVERWRITE:
        fill(fd, found.st_size, seed);
        break;
    default:
        replace(side, path, fd, found.st_size, how == COPY, seed);
    }
    close(fd);
}

/* ---- The newcomer ---- */

/* The others look at the names of the files at each call, or after 100 ms at the latest. Not for
 * ever: they may be dead. */
static void wait_for_others(unsigned *seed)
{
    uint64_t calls = atomic_load(&records->taken) + below(seed, 100);
    double end = test_seconds() + 2;

    pause_at_random(seed, below(seed, 4) == 0 ? 200000 : 50000);
    while (atomic_load(&records->taken) < calls && !is_over() && test_seconds() < end)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void come(void *arg)
{
    struct actor newcomer = {.handle = &newcomer.own, .seed = *(unsigned *)arg};

    newcomer.owner = ((uint64_t)1 << 40) + (uint64_t)getpid() * 2; /* no actor of worker.c has it */
    open_store(&newcomer.own, newcomer.seed);
    take_and_look(&newcomer, wait_for_others);
    dss_fini(newcomer.handle);
}

void harm_side_file(unsigned *seed)
{
    for (int times = 0; times < 3; times++) { /* so that it happens 50 times in 6 seconds */
        int side = (int)below(seed, SIDES);
        unsigned how = below(seed, HARMS);

        harm(side, is_spared(side, how) ? REMOVE : how, seed);
        test_join(spawn(come, seed));
    }
}

/*
 * Once enough has happened that may be lost. True if the processes have gone on, or been refused, since then: what is lost
 * before any of them appends to the log can't be noticed.
 */
int lose_log(unsigned *seed)
{
    static const unsigned ways[] = {EMPTY, CUT, OVERWRITE};
    static int is_done;
    uint64_t calls;

    if (is_done || atomic_load(&records->taken) < 1000)
        return 0;
    is_done = 1;
    harm(WAL, ways[below(seed, 3)], seed);
    calls = atomic_load(&records->taken) + 200;
    while (atomic_load(&records->taken) < calls && !atomic_load(&records->refused)) {
        if (is_over())
            return 0;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return 1;
}
