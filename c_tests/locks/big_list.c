/*
 * Proves: a list of a million locks (100,000 on PostgreSQL, 20,000 on etcd) begins at once and takes little memory, while others go on
 * writing; and a clean of a tenth of them leaves every lock that was taken anew meanwhile, whatever the moment.
 */
#include <malloc.h>
#include <stdatomic.h>
#include <sys/statvfs.h>

#include "locks.h"
#include "memory_use.h"

#define LOCKS_MAX 1000000
#define LOCKS test_amount(test_calls(LOCKS_MAX, test_store_is("etcd") ? LOCKS_MAX / 50 : LOCKS_MAX / 10))
#define VICTIMS (LOCKS / 10) /* every tenth lock is of the owner "victim" */
#define MAKERS 4
#define LISTS 10

#define FIRST_WITHIN_S (test_store_is_server() ? 0.250 : 0.050)
#define MEMORY_MAX_KIB (16 * 1024) /* much less than what all of them take */

static struct dss_handle handle;

static double stopwatch_s;

static void say_how_long(const char *what)
{
    fprintf(stderr, "%-28s %6.2f s\n", what, test_seconds() - stopwatch_s);
    stopwatch_s = test_seconds();
}

/* ---- A million locks --------------------------------------------------------------------------------------------- */

/* So many locks as one call takes, each `step` numbers behind the one before. */
struct batch {
    char names[DSS_LOCK_IDS_MAX][24];
    const char *ids[DSS_LOCK_IDS_MAX];
    size_t count;
};

static void batch_of(struct batch *batch, int first, int step, int end)
{
    for (batch->count = 0; batch->count < DSS_LOCK_IDS_MAX && first < end; batch->count++, first += step) {
        snprintf(batch->names[batch->count], sizeof(batch->names[0]), "lock-%07d", first);
        batch->ids[batch->count] = batch->names[batch->count];
    }
}

/* Makes one owner's locks of a range of numbers. */
static void make(struct dss_handle *own, const char *owner, int first, int step, int end)
{
    struct batch batch;

    for (; first < end; first += step * DSS_LOCK_IDS_MAX) {
        batch_of(&batch, first, step, end);
        CHECK_RC(dss_lockv(own, batch.ids, batch.count, owner, NULL, NULL), 0);
    }
}

/* With a handle of its own, which is closed with all that it knows of its locks. */
static void *make_share(void *arg)
{
    int first = *(int *)arg, end = first + LOCKS / MAKERS, begin;
    struct dss_handle own;

    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    for (begin = first; begin < end; begin += 5000) {
        int until = begin + 5000 < end ? begin + 5000 : end, i;

        for (i = 1; i < 10; i++)
            make(&own, "holder", begin + i, 10, until);
        make(&own, "victim", begin, 10, until);
    }
    dss_fini(&own);
    return NULL;
}

static void make_all(void)
{
    pthread_t threads[MAKERS];
    int firsts[MAKERS], i;

    for (i = 0; i < MAKERS; i++) {
        firsts[i] = LOCKS / MAKERS * i;
        threads[i] = start_thread(make_share, &firsts[i]);
    }
    for (i = 0; i < MAKERS; i++)
        join_thread(threads[i]);
    malloc_trim(0); /* else a list could hide what it takes in what was freed */
    say_how_long("made all locks");
}

/* ---- The list ---------------------------------------------------------------------------------------------------- */

static _Atomic int may_stop;
static _Atomic int writes;

/* Goes on writing, and is never held up for long. */
static void *write_on(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; !may_stop; i++) {
        char id[32];

        snprintf(id, sizeof(id), "written-%d", i % 100);
        CHECK_RC(dss_lock(&handle, id, "writer"), 0);
        CHECK_RC(dss_lock_refresh(&handle, id, "writer"), 0);
        CHECK_RC(dss_unlock(&handle, id, "writer"), 0);
        writes++;
    }
    return NULL;
}

struct listing {
    double begun_s, first_s;
    int next;
    int is_peak_told;
    long peak_kib;
};

static int walk(const struct dss_lock_info *info, void *arg)
{
    struct listing *listing = arg;
    char id[24];

    if (listing->next == 0)
        listing->first_s = test_seconds() - listing->begun_s;
    if (strcmp(info->lock_owner, "writer") == 0)
        return 0;
    snprintf(id, sizeof(id), "lock-%07d", listing->next);
    CHECK(strcmp(info->lock_id, id) == 0);
    CHECK(strcmp(info->lock_owner, listing->next % 10 == 0 ? "victim" : "holder") == 0);
    listing->next++;
    if (!listing->is_peak_told && listing->next % 10000 == 0 && memory_kib("VmRSS:") > listing->peak_kib)
        listing->peak_kib = memory_kib("VmRSS:");
    return 0;
}

static int stop_at_first(const struct dss_lock_info *info, void *arg)
{
    struct listing *listing = arg;

    (void)info;
    listing->first_s = test_seconds() - listing->begun_s;
    return 1;
}

static void check_list(void)
{
    struct listing listing = { 0 };
    pthread_t writer = start_thread(write_on, NULL);
    double best_s = 1e9;
    long before_kib;
    int i, written;

    while (writes == 0)
        sched_yield();
    for (i = 0; i < LISTS; i++) {
        listing.begun_s = test_seconds();
        CHECK_RC(dss_lock_list(&handle, NULL, stop_at_first, &listing), 1);
        if (listing.first_s < best_s)
            best_s = listing.first_s;
    }

    before_kib = memory_kib("VmRSS:");
    listing.is_peak_told = reset_peak();
    listing.begun_s = test_seconds();
    written = writes;
    CHECK_RC(dss_lock_list(&handle, NULL, walk, &listing), 0);
    if (listing.is_peak_told)
        listing.peak_kib = memory_kib("VmHWM:");
    written = writes - written;
    may_stop = 1;
    join_thread(writer);
    say_how_long("listed them");
    if (listing.first_s < best_s)
        best_s = listing.first_s;
    fprintf(stderr, "first entry within %.1f ms, %ld KiB more memory, %d turns of a writer meanwhile\n", best_s * 1e3,
            listing.peak_kib - before_kib, written);
    CHECK(listing.next == LOCKS);
    CHECK(written > 0);
    CHECK(best_s <= FIRST_WITHIN_S);
    CHECK(listing.peak_kib - before_kib <= MEMORY_MAX_KIB);
}

/* ---- The clean --------------------------------------------------------------------------------------------------- */

/* The tokens of those that were taken anew. */
static uint64_t retaken[LOCKS_MAX / 10];
static _Atomic int is_cleaned;

/*
 * As soon as the clean has begun: releases victims that it has not come to yet and takes them anew, of the same owner,
 * now behind and now ahead of where it works. Gives how many it released.
 */
static void *retake(void *arg)
{
    struct dss_grant grants[DSS_LOCK_IDS_MAX];
    struct batch batch;
    long *released = arg;
    unsigned seed = 1;
    int rcs[DSS_LOCK_IDS_MAX];
    size_t i;

    while (dss_lock_status(&handle, "lock-0000000", NULL, NULL) == 0)
        CHECK(!is_cleaned);
    while (!is_cleaned) {
        int first = rand_r(&seed) % (VICTIMS - DSS_LOCK_IDS_MAX);

        if (retaken[first] != 0 || retaken[first + DSS_LOCK_IDS_MAX - 1] != 0)
            continue;
        batch_of(&batch, first * 10, 10, LOCKS);
        (void)dss_unlockv(&handle, batch.ids, batch.count, "victim", NULL, rcs);
        CHECK_RC(dss_lockv(&handle, batch.ids, batch.count, "victim", NULL, grants), 0);
        for (i = 0; i < batch.count; i++) {
            CHECK(rcs[i] == 0 || rcs[i] == -ENOLCK);
            *released += rcs[i] == 0;
            retaken[first + (int)i] = grants[i].token;
        }
    }
    return NULL;
}

static int check_is_retaken(const struct dss_lock_info *info, void *arg)
{
    int number = atoi(info->lock_id + strlen("lock-"));

    CHECK(number % 10 == 0);
    if (info->token != retaken[number / 10]) {
        fprintf(stderr, "%s has the token %llu, not %llu\n", info->lock_id, (unsigned long long)info->token,
                (unsigned long long)retaken[number / 10]);
        exit(1);
    }
    ++*(int *)arg;
    return 0;
}

/* How many victims were released and taken anew before the clean came to them. */
static long clean_once(void)
{
    struct dss_filter victims = { .size = sizeof(victims), .lock_owner = "victim" };
    long released = 0;
    int shown = 0, expected = 0, i;
    pthread_t thread;

    memset(retaken, 0, sizeof(retaken));
    is_cleaned = 0;
    thread = start_thread(retake, &released);
    CHECK_RC(dss_lock_clean(&handle, &victims, NULL, NULL), 0);
    is_cleaned = 1;
    join_thread(thread);
    say_how_long("cleaned a tenth of them");

    CHECK_RC(dss_lock_list(&handle, &victims, check_is_retaken, &shown), 0);
    for (i = 0; i < VICTIMS; i++)
        expected += retaken[i] != 0;
    fprintf(stderr, "%d were taken anew, %ld of them before their turn\n", expected, released);
    CHECK(shown == expected);
    CHECK(locks_of(&handle) == (size_t)(LOCKS - VICTIMS + expected));
    return released;
}

static void check_clean(void)
{
    struct dss_filter victims = { .size = sizeof(victims), .lock_owner = "victim" };
    int tries;

    for (tries = 1; clean_once() == 0; tries++) {
        /* The other thread came too late each time. */
        CHECK(tries < 10);
        CHECK_RC(dss_lock_clean(&handle, &victims, NULL, NULL), 0);
        make(&handle, "victim", 0, 10, LOCKS);
    }
}

/* Where there is room for it, the file is kept in memory: it is not the disk that is measured. */
static void choose_place(void)
{
    struct statvfs room;

    if (getenv("DSS_TEST_TMP") == NULL && statvfs("/dev/shm", &room) == 0 && access("/dev/shm", W_OK) == 0 &&
        (uint64_t)room.f_bavail * room.f_frsize > UINT64_C(2) << 30)
        CHECK(setenv("DSS_TEST_TMP", "/dev/shm", 1) == 0);
}

int main(void)
{
    choose_place();
    stopwatch_s = test_seconds();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    make_all();
    check_list();
    check_clean();
    dss_fini(&handle);
    say_how_long("closed");
    return 0;
}
