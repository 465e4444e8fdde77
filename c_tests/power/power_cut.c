/*
 * The power goes.
 *
 * What a program was told must be true when the machine is up again: a lock that it got is its lock, an unlock is done, a
 * value is there with its version, and no token or version is given twice. The disk, though, holds only what was
 * flushed, and of the rest some sectors in any order. So processes work on a store, and some are killed, while all that they
 * write and flush is recorded; from the record the disk is built as it may be after a power cut at some moment, over and
 * over; and each of these disks must open without help as a store in which all that was acknowledged before that moment stands.
 *
 *   power_cut [<states> [<seed>]]
 *
 * 500 states unless told. The seed chooses what processes do, the moments and the losses; the processes' turns are the
 * kernel's, so a seed gives the same kind of run, not the same run. With $DSS_TEST_KEEP a disk that failed is left, as it was
 * before it was opened.
 */
#include "power/work.h"

#define STATES_OF_RUN 50

static const struct run run_kind[] = {
    { .workers = 3, .lives = 4, .calls = 60 },
    /* One that is alone finds what nobody but the one that was killed before it knew of. */
    { .workers = 1, .lives = 16, .calls = 12 },
    /* The first is killed when it has written a page of the new store, the second one when it has taken that back. */
    { .workers = 1, .lives = 8, .calls = 6, .half_made = 1 },
};
#define RUN_KINDS (sizeof(run_kind) / sizeof(run_kind[0]))

static const struct run *running;

/* ---- The disks after the cut ------------------------------------------------------------------------------------------ */

static void show_call(const char *what, uint64_t number)
{
    const struct call *call = &calls->call[number];

    if (number == CALLS)
        fprintf(stderr, " %s: none;", what);
    else
        fprintf(stderr, " %s: call %llu of worker %u, from %llu to %llu, gave %d with %llu;", what, (unsigned long long)number,
                call->worker, (unsigned long long)call->begin, (unsigned long long)call->end, call->rc,
                (unsigned long long)call->token);
}

static int is_right(const char *kind, int is_lock, uint32_t name, uint64_t call, uint64_t token, uint64_t at)
{
    struct known known = known_of(calls, is_lock, name, at);

    if (may_be_found(calls, &known, is_lock, name, call, token, at))
        return 1;
    fprintf(stderr, "%s %u:", kind, name);
    show_call("found", call);
    show_call("acknowledged", known.call);
    fprintf(stderr, " %s; the number found is %llu\n",
            known.is_gone ? "it is gone" : known.may_be_gone ? "it may be gone" : "it is not gone", (unsigned long long)token);
    return 0;
}

static int values_are_right(struct dss_handle *handle, uint64_t at)
{
    int right = 1;

    for (uint32_t key = 0; key < KEYS; key++) {
        unsigned char expected[LONGEST_VALUE];
        void *value = NULL;
        size_t length = 0;
        uint64_t version = 0, call = CALLS;
        char name[32];

        key_name(name, sizeof(name), key);
        CHECK_RC_OR(dss_get(handle, name, &value, &length, &version), 0, -ENOENT);
        if (value != NULL) {
            call = writer_of(value, length);
            CHECK(call < CALLS && length == calls->call[call].length);
            fill_value(expected, length, call);
            CHECK(memcmp(value, expected, length) == 0);
        }
        free(value);
        right &= is_right("key", 0, key, call, version, at);
    }
    return right;
}

/* The clock has been set back by a year, so that it is the store that knows which numbers were given. */
static int numbers_go_on(struct dss_handle *handle, uint64_t at)
{
    const char *ids[] = { "after the cut" };
    struct dss_grant grant;
    uint64_t greatest = 0, version = 0;

    for (uint64_t i = 0; i < calls->count; i++) {
        if (was_answered(&calls->call[i], at) && calls->call[i].token > greatest)
            greatest = calls->call[i].token;
    }
    CHECK_RC(dss_lockv(handle, ids, 1, "ann", NULL, &grant), 0);
    CHECK_RC(dss_set(handle, ids[0], "", 0, NULL, &version), 0);
    if (grant.token > greatest && version > grant.token)
        return 1;
    fprintf(stderr, "after %llu the token %llu and the version %llu were given\n", (unsigned long long)greatest,
            (unsigned long long)grant.token, (unsigned long long)version);
    return 0;
}

static int stands(const char *disk, uint64_t at)
{
    struct dss_handle handle;
    struct found found;
    char uri[512];
    int right = 1;

    snprintf(uri, sizeof(uri), "sqlite:%s/dss.db", disk);
    if (dss_init_uri(&handle, uri) != 0) {
        fprintf(stderr, "it does not open: %s\n", dss_last_error());
        return 0;
    }
    found = find_locks(&handle);
    for (uint32_t lock = 0; lock < LOCKS; lock++)
        right &= is_right("lock", 1, lock, found.call[lock], found.token[lock], at);
    right &= values_are_right(&handle, at);
    right &= numbers_go_on(&handle, at);
    dss_fini(&handle);
    return right;
}

static const char *const operation_name[] = {"none", "write", "truncate", "flush", "link", "unlink"};

/* Any moment, or that of an answer: then all that it rests on must be on the disk. */
static uint64_t choose_moment_of_run(void)
{
    uint64_t end = calls->call[random_below(calls->count)].end;

    return random_below(2) == 0 && end != 0 ? end : 1 + random_below(record->clock);
}

/* Of one in which a store was half made, most are early. */
static uint64_t choose_moment(void)
{
    if (running->half_made && random_below(4) != 0)
        return 1 + random_below(record->clock / 4);
    return choose_moment_of_run();
}

static void check_one(uint64_t number)
{
    struct crash crash = { .record = record, .at = choose_moment(), .seed = mixed(seed, number) };
    char *disk = test_path("disk-XXXXXX");

    CHECK(mkdtemp(disk) != NULL);
    crash_into(&crash, disk);
    if (!stands(disk, crash.at)) {
        fprintf(stderr, "after a power cut at %llu of %llu; seed %llu, state %llu\n", (unsigned long long)crash.at,
                (unsigned long long)record->clock, (unsigned long long)seed, (unsigned long long)number);
        if (getenv("DSS_TEST_KEEP") != NULL) {
            char kept[] = "/tmp/dss-power-cut-XXXXXX";

            CHECK(mkdtemp(kept) != NULL);
            crash_into(&crash, kept);
            fprintf(stderr, "the disk is in %s\n", kept);
            for (uint64_t i = 0; i < record->ops; i++) {
                const struct op *op = &record->op[i];

                if (op->begin <= crash.at)
                    fprintf(stderr, "%5llu-%5llu %s inode %llu name %u offset %llu length %llu\n",
                            (unsigned long long)op->begin, (unsigned long long)op->end, operation_name[op->kind],
                            (unsigned long long)op->inode, op->name, (unsigned long long)op->offset,
                            (unsigned long long)op->length);
            }
        }
        exit(1);
    }
    test_remove_tree_(disk);
    free(disk);
}

static void set_clock_back(void)
{
    int64_t offset_us = -(int64_t)366 * 24 * 3600 * 1000000;
    char *path = test_path("clock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0 && pwrite(fd, &offset_us, sizeof(offset_us), 0) == (ssize_t)sizeof(offset_us));
    close(fd);
    CHECK(setenv("DSS_TEST_CLOCK", path, 1) == 0);
    free(path);
}

/* Processes of their own check, since this one must not hold a store when it forks workers; and there are two cores. */
static void check_states(int states)
{
    pid_t checker[2];

    for (int i = 0; i < 2; i++) {
        checker[i] = fork();
        CHECK(checker[i] >= 0);
        if (checker[i] == 0) {
            set_clock_back();
            begin_random(mixed(seed, (uint64_t)i));
            for (int state = i; state < states; state += 2)
                check_one((uint64_t)state);
            exit(0);
        }
    }
    test_join_all(checker, 2);
}

/* ---- All of it ---------------------------------------------------------------------------------------------------------- */

/* What was met, since a test in which nothing was killed and nothing was moved out of the log would prove little. */
struct met {
    uint64_t runs, calls, killed, writes, flushes, moves;
};

static void count(struct met *met)
{
    met->runs++;
    met->calls += calls->count;
    met->killed += calls->killed;
    for (uint64_t i = 0; i < record->ops; i++) {
        met->writes += record->op[i].kind == OP_WRITE;
        met->flushes += record->op[i].kind == OP_SYNC;
        met->moves += record->op[i].kind == OP_UNLINK;
    }
}

int main(int argc, char **argv)
{
    int states = argc > 1 ? atoi(argv[1]) : 500;
    uint64_t first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    double begun = test_seconds();
    struct met met = { 0 };

    /* Where it is in memory, since a flush of a real disk takes its time. */
    if (getenv("DSS_TEST_TMP") == NULL && access("/dev/shm", W_OK) == 0)
        CHECK(setenv("DSS_TEST_TMP", "/dev/shm", 1) == 0);
    for (int done = 0; done < states; done += STATES_OF_RUN) {
        seed = mixed(first_seed, (uint64_t)done);
        folder = test_path("store-XXXXXX");
        CHECK(mkdtemp(folder) != NULL);
        running = &run_kind[(size_t)(done / STATES_OF_RUN) % RUN_KINDS];
        run_workers(running);
        check_states(states - done < STATES_OF_RUN ? states - done : STATES_OF_RUN);
        count(&met);
        test_remove_tree_(folder);
        free(folder);
        CHECK(munmap(record, sizeof(*record)) == 0 && munmap(calls, sizeof(*calls)) == 0);
    }
    printf("%d disks after a power cut stood (seed %llu): %llu runs, %llu calls, %llu processes killed, %llu writes, "
           "%llu flushes, %llu files removed; %.1f s\n",
           states, (unsigned long long)first_seed, (unsigned long long)met.runs, (unsigned long long)met.calls,
           (unsigned long long)met.killed, (unsigned long long)met.writes, (unsigned long long)met.flushes,
           (unsigned long long)met.moves, test_seconds() - begun);
    CHECK(met.killed > 0 && met.moves > 0);
    return 0;
}
