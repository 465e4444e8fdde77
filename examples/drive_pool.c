/*
 * Ten workers share four tape drives: each takes any drive that is free, and waits while there is none.
 *
 * A pool needs no code of its own: four drives are four lock ids, and DSS_LOCK_ANY takes the first that is free. With a
 * ttl_ms the drive of a worker that dies comes back by itself. Workers that wait are served in the order in which they
 * came.
 *
 * That no drive is ever used by two at once is not taken on trust. The kernel is the witness: each drive is one byte of
 * a file, and a worker locks that byte (fcntl(2)) while it works, which fails if another process has it. And each grant
 * of a drive has to bring a higher token than all before it.
 */
#define _POSIX_C_SOURCE 200809L

#include <dss.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DRIVES 4
#define WORKERS 10
#define JOBS 3 /* of each worker */
#define JOB_MS 40

static const char *const drives[DRIVES] = { "drive/1", "drive/2", "drive/3", "drive/4" };

/* What a worker tells the parent of each job, while it has the drive. */
struct report {
    int worker;
    int drive; /* an index of drives */
    long waited_ms;
    uint64_t token;
};

/* What the parent knows of all jobs. */
struct book {
    int done[WORKERS];
    int used[WORKERS][JOBS]; /* the drives in the order in which the worker had them */
    long waited_ms[WORKERS]; /* the longest wait */
    int jobs[DRIVES][WORKERS];
    uint64_t token[DRIVES]; /* the latest */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void fail(const char *what)
{
    fprintf(stderr, "drive_pool: %s: %s\n", what, dss_last_error());
    exit(1);
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void work_for_ms(long ms)
{
    struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        continue;
}

/* F_WRLCK says that this process has the drive, F_UNLCK that it has not. */
static void bear_witness(int witness, int drive, short type)
{
    struct flock byte = { .l_type = type, .l_whence = SEEK_SET, .l_start = drive, .l_len = 1 };

    if (fcntl(witness, F_SETLK, &byte) == 0)
        return;
    if (errno != EACCES && errno != EAGAIN)
        die("fcntl");
    fprintf(stderr, "%s is used by two at once!\n", drives[drive]);
    exit(1);
}

/* Takes any free drive, waiting for it if need be. Gives its index, and its token. */
static int take_a_drive(struct dss_handle *dss, const char *name, uint64_t *token)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .flags = DSS_LOCK_ANY, .ttl_ms = 10000, .wait_ms = 30000 };
    struct dss_grant grants[DRIVES];
    int drive = 0;

    if (dss_lockv(dss, drives, DRIVES, name, &opts, grants) != 0)
        fail("no drive for me");
    while (grants[drive].rc != 0) /* -EEXIST; exactly one is 0 */
        drive++;
    *token = grants[drive].token;
    return drive;
}

static void do_a_job(struct dss_handle *dss, const char *name, int worker, int witness, int reports)
{
    struct report report = { .worker = worker };
    long asked_ms = now_ms();

    report.drive = take_a_drive(dss, name, &report.token);
    report.waited_ms = now_ms() - asked_ms;
    bear_witness(witness, report.drive, F_WRLCK);
    if (write(reports, &report, sizeof(report)) != (ssize_t)sizeof(report))
        die("write");
    work_for_ms(JOB_MS);
    bear_witness(witness, report.drive, F_UNLCK);
    /* By its token, so that it is this grant that ends and no later one. */
    if (dss_unlockv(dss, &drives[report.drive], 1, name, &report.token, NULL) != 0)
        fail("can't give the drive back");
}

/* The life of a worker. All open the store and then wait for the end of the pipe, to begin at the same moment. */
static void work(int worker, int witness, int reports, int start)
{
    struct dss_handle dss;
    char name[64], byte;

    snprintf(name, sizeof(name), "worker-%d@%d", worker + 1, (int)getpid());
    if (dss_init(&dss) != 0)
        fail("can't open the store");
    if (read(start, &byte, 1) != 0)
        die("read");
    for (int job = 0; job < JOBS; job++)
        do_a_job(&dss, name, worker, witness, reports);
    dss_fini(&dss);
    exit(0);
}

/* Gives the pipe from which the reports of all workers come; it ends when the last of them does. */
static int start_workers(int witness)
{
    int reports[2], start[2];

    if (pipe(reports) != 0 || pipe(start) != 0)
        die("pipe");
    for (int worker = 0; worker < WORKERS; worker++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            close(start[1]);
            close(reports[0]);
            work(worker, witness, reports[1], start[0]);
        }
    }
    close(start[0]);
    close(start[1]);
    close(reports[1]);
    return reports[0];
}

static void enter(struct book *book, const struct report *report)
{
    int drive = report->drive, worker = report->worker;

    if (report->token <= book->token[drive]) {
        fprintf(stderr, "the token of %s did not grow: %" PRIu64 " after %" PRIu64 "\n", drives[drive], report->token,
                book->token[drive]);
        exit(1);
    }
    book->token[drive] = report->token;
    book->jobs[drive][worker]++;
    book->used[worker][book->done[worker]++] = drive;
    if (report->waited_ms > book->waited_ms[worker])
        book->waited_ms[worker] = report->waited_ms;
}

static void show(const struct book *book)
{
    for (int worker = 0; worker < WORKERS; worker++) {
        printf("   worker-%-2d used", worker + 1);
        for (int job = 0; job < book->done[worker]; job++)
            printf("%s %s", job > 0 ? "," : "", drives[book->used[worker][job]]);
        printf("; its longest wait was %ld ms\n", book->waited_ms[worker]);
    }
    printf("\n   %-10s", "worker");
    for (int worker = 0; worker < WORKERS; worker++)
        printf(" %3d", worker + 1);
    printf("   jobs\n");
    for (int drive = 0; drive < DRIVES; drive++) {
        int sum = 0;

        printf("   %-10s", drives[drive]);
        for (int worker = 0; worker < WORKERS; worker++) {
            printf(" %3d", book->jobs[drive][worker]);
            sum += book->jobs[drive][worker];
        }
        printf("   %4d\n", sum);
    }
}

/* True if each worker ended well, which it does not if it found another one at its drive, and did all its jobs. */
static int all_went_well(const struct book *book)
{
    int status, well = 1;

    for (int worker = 0; worker < WORKERS; worker++) {
        if (wait(&status) < 0 || status != 0 || book->done[worker] != JOBS)
            well = 0;
    }
    return well;
}

int main(void)
{
    struct book book = { .done = { 0 } };
    struct report report;
    FILE *witness = tmpfile();
    long began_ms = now_ms();
    int reports;

    if (witness == NULL)
        die("tmpfile");
    printf("%d workers want one of %d drives, %d times each, for %d ms each time.\n", WORKERS, DRIVES, JOBS, JOB_MS);
    fflush(stdout);
    reports = start_workers(fileno(witness));
    while (read(reports, &report, sizeof(report)) == (ssize_t)sizeof(report))
        enter(&book, &report);
    show(&book);
    if (!all_went_well(&book))
        return 1;
    printf("   => %d jobs were done in %ld ms, and no drive was ever used by two at once.\n", WORKERS * JOBS,
           now_ms() - began_ms);
    return 0;
}
