/*
 * A process keeps a thousand locks, taken at all kinds of moments.
 *
 * Renewed one by one they would cost a thousand transactions, each with its flush to the disk, every second, and who
 * keeps many locks would slow down all others. One renewal takes along what would soon be due, so that after a while
 * all go together. SQLite counts the transactions that were written, in the index of its log (the -shm file).
 */
#include "hazard.h"

#define TTL_MS 3000
#define LOCKS 1000
#define AT_ONCE 50
/* So many are taken AT_ONCE at once, the others one by one. */
#define TAKEN_TOGETHER 500
/* The locks are renewed every third of their lease, or a little earlier. */
#define ROUNDS 5
#define MEASURED_MS (ROUNDS * TTL_MS / 3)
#define SETTLING_MS TTL_MS

static char names[LOCKS][16];
static uint64_t tokens[LOCKS];

static void keep(struct dss_handle *handle, int first, int count)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    struct dss_grant grants[AT_ONCE];
    const char *ids[AT_ONCE] = {NULL};

    for (int i = 0; i < count; i++) {
        snprintf(names[first + i], sizeof(names[0]), "drive %d", first + i);
        ids[i] = names[first + i];
    }
    CHECK_RC(dss_lockv(handle, ids, (size_t)count, "ann", &opts, grants), 0);
    for (int i = 0; i < count; i++)
        tokens[first + i] = grants[i].token;
}

/* The field iChange of the index's first header (sqlite.org/walformat.html): a counter of transactions. */
static uint32_t transactions(int index)
{
    uint32_t count;

    CHECK(pread(index, &count, sizeof(count), 8) == (ssize_t)sizeof(count));
    return count;
}

static int count_one(const struct dss_lock_info *info, void *count)
{
    CHECK(strcmp(info->lock_owner, "ann") == 0 && info->left_ms > 0);
    *(int *)count += 1;
    return 0;
}

static void check_all_are_held(struct dss_handle *handle)
{
    int count = 0;

    for (int i = 0; i < LOCKS; i++)
        CHECK_RC(dss_lock_left(handle, names[i], tokens[i], NULL), 0);
    CHECK_RC(dss_lock_list(handle, NULL, count_one, &count), 0);
    CHECK(count == LOCKS);
}

/* For so long no event comes: nothing is at risk. */
static void all_is_quiet(struct dss_handle *handle, int milliseconds)
{
    struct pollfd end = {.fd = dss_event_fd(handle), .events = POLLIN};

    CHECK(end.fd >= 0);
    CHECK(poll(&end, 1, milliseconds) == 0);
}

int main(void)
{
    char *path = test_path("dss.db-shm");
    struct dss_handle handle;
    uint32_t before, written;
    int index;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int i = 0; i < TAKEN_TOGETHER; i += AT_ONCE)
        keep(&handle, i, AT_ONCE);
    for (int i = TAKEN_TOGETHER; i < LOCKS; i++)
        keep(&handle, i, 1);
    index = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(index >= 0);
    all_is_quiet(&handle, SETTLING_MS);
    before = transactions(index);
    all_is_quiet(&handle, MEASURED_MS);
    written = transactions(index) - before;
    if (written < ROUNDS - 1 || written > 2 * (ROUNDS + 1))
        fprintf(stderr, "%u transactions in %d rounds\n", (unsigned)written, ROUNDS);
    /* Each lock was renewed each time, too: else it would be at risk. */
    CHECK(written >= ROUNDS - 1);
    CHECK(written <= 2 * (ROUNDS + 1));
    check_all_are_held(&handle);
    close(index);
    dss_fini(&handle);
    free(path);
    return 0;
}
