/* How long the disk takes for what all durable contenders wait for: a page is written to a file and flushed. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "records.h"
#include "support.h"
#include "trial.h"

enum { PAGE = 4096, FLUSHES = 100 };

static void flush_pages(const struct trial *trial, double *ret_numbers)
{
    static const char page[PAGE];
    double spent_us[FLUSHES];
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/flush", trial->folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; i < FLUSHES; i++) {
        int64_t begun_ns = now_ns();

        /* The file grows in the first round alone, as the log of a database does. */
        if (pwrite(fd, page, PAGE, (off_t)i * PAGE) != PAGE || fdatasync(fd) != 0)
            die("%s: %s", path, strerror(errno));
        spent_us[i] = (double)(now_ns() - begun_ns) / 1000;
    }
    ret_numbers[0] = median_of(spent_us, FLUSHES);
}

double cost_of_flush(const struct workload *workload)
{
    return workload->rounds * seconds_of(workload);
}

void run_flush(const struct workload *workload)
{
    const struct subject subject = { workload->name, workload->store, 1, "disk" };
    const struct trial trial = { .workload = workload, .contender = NULL, .folder = folder_of(workload) };
    double numbers[TRIAL_NUMBERS];

    for (int round = 0; round < workload->rounds; round++) {
        run_trial(flush_pages, &trial, numbers);
        record(&subject, round, "flush_us", numbers[0]);
        progress_done(workload->name, seconds_of(workload));
    }
}
