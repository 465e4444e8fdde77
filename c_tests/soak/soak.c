/*
 * A daemon ran for weeks, and each fault of the network or the disk left it a descriptor or some bytes poorer.
 *
 * Lets processes and threads work on a store while things break (history/actor.c, history/faults.c), for long, and looks again and
 * again at one process that is never killed: the memory that it takes, its descriptors and threads, how long the store's log is,
 * and how long a lock and unlock of its own take. At the end these must be what they were after a quarter of the time.
 *
 *   soak URI SECONDS FAULT,... FILE.csv
 */
#include "history/faults.h"
#include "memory_use.h"

#include <dirent.h>

#define WORKERS 3
#define THREADS 2
#define RESIDENTS 4 /* threads of the process that is looked at */
#define SAMPLES 120
#define PROBES 4096 /* the most of a sample */
#define RING 4096
#define WAIT_BETWEEN_US 2000
#define REST_US 1000 /* so that four stores at once leave the machine some time */

struct sample {
    double seconds, memory_kib, descriptors, threads, log_kib, median_us, slowest_us;
    long probes, failed;
};

static struct sample *samples;
static double lasts;
static const char *log_path;

/* ---- What is looked at ---- */

static double entries_of(const char *path)
{
    DIR *folder = opendir(path);
    double count = -3; /* two dots, and what this takes itself */

    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static double log_kib(void)
{
    struct stat found;

    return log_path != NULL && stat(log_path, &found) == 0 ? (double)found.st_size / 1024 : 0;
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

/* Locks and unlocks until the end of the sample; those that meet no fault are timed. */
static void probe(struct dss_handle *handle, struct sample *sample, double end)
{
    struct timespec moment = {0, WAIT_BETWEEN_US * 1000};
    double took[PROBES];
    long count = 0;

    while (test_seconds() < end && count < PROBES) {
        double begin = test_seconds();

        if (dss_lock(handle, "probe", "resident") == 0 && dss_unlock(handle, "probe", "resident") == 0)
            took[count++] = (test_seconds() - begin) * 1e6;
        else
            sample->failed += dss_unlock(handle, "probe", "resident") != 0;
        nanosleep(&moment, NULL);
    }
    qsort(took, (size_t)count, sizeof(took[0]), compare);
    sample->probes = count;
    sample->median_us = count > 0 ? took[count / 2] : 0;
    sample->slowest_us = count > 0 ? took[count - 1] : 0;
}

static void look(struct dss_handle *handle)
{
    double begun = test_seconds();

    for (int i = 0; i < SAMPLES; i++) {
        struct sample *sample = &samples[i];

        probe(handle, sample, begun + lasts * (i + 1) / SAMPLES);
        sample->seconds = test_seconds() - begun;
        sample->memory_kib = (double)memory_kib("RssAnon:");
        sample->descriptors = entries_of("/proc/self/fd");
        sample->threads = entries_of("/proc/self/task") + 1;
        sample->log_kib = log_kib();
    }
}

/* ---- Who works ---- */

static void run_actors(int count, unsigned seed, uint64_t owner, void (*meanwhile)(struct dss_handle *handle))
{
    struct dss_handle shared;
    struct actor actors[MOST];
    pthread_t threads[MOST];

    open_store(&shared, 0);
    for (int i = 0; i < count; i++) {
        actors[i] = (struct actor){.seed = seed + (unsigned)i, .owner = (owner * MOST + (unsigned)i) * 2, .handle = &shared};
        if (i % 2 == 1) {
            actors[i].handle = &actors[i].own;
            open_store(&actors[i].own, actors[i].seed);
        }
        threads[i] = start_thread(act, &actors[i]);
    }
    if (meanwhile != NULL) {
        meanwhile(&shared);
        atomic_store(&records->stop, 1);
    }
    for (int i = 0; i < count; i++)
        join_thread(threads[i]);
    for (int i = 1; i < count; i += 2)
        dss_fini(&actors[i].own);
    dss_fini(&shared);
}

static void work(void *arg)
{
    uint64_t owner = *(uint64_t *)arg;

    run_actors(THREADS, (unsigned)owner * MOST, owner, NULL);
}

static pid_t start(unsigned seed)
{
    static uint64_t started;

    (void)seed;
    started++;
    return spawn(work, &started);
}

static void reside(void *arg)
{
    (void)arg;
    run_actors(RESIDENTS, 1, 0, look);
}

/* ---- What is said of it ---- */

static void write_samples(const char *path)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    fputs("seconds,memory_kib,descriptors,threads,log_kib,median_us,slowest_us,probes,failed\n", file);
    for (int i = 0; i < SAMPLES; i++) {
        const struct sample *one = &samples[i];

        fprintf(file, "%.1f,%.0f,%.0f,%.0f,%.0f,%.1f,%.1f,%ld,%ld\n", one->seconds, one->memory_kib, one->descriptors,
                one->threads, one->log_kib, one->median_us, one->slowest_us, one->probes, one->failed);
    }
    CHECK(fclose(file) == 0);
}

/* The median of a quarter of the samples. */
static double of_quarter(int quarter, size_t offset)
{
    double values[SAMPLES / 4];

    for (int i = 0; i < SAMPLES / 4; i++)
        memcpy(&values[i], (const char *)&samples[quarter * SAMPLES / 4 + i] + offset, sizeof(double));
    qsort(values, SAMPLES / 4, sizeof(values[0]), compare);
    return values[SAMPLES / 8];
}

/* Whether the last quarter is no more than the second one by this factor and this much. */
static int is_flat(const char *what, size_t offset, double factor, double more)
{
    double before = of_quarter(1, offset), after = of_quarter(3, offset);
    int flat = after <= before * factor + more;

    printf("%s %.0f -> %.0f%s; ", what, before, after, flat ? "" : " GROWS");
    return flat;
}

static int all_is_flat(void)
{
    int flat = is_flat("memory KiB", offsetof(struct sample, memory_kib), 1.1, 512);
    long probes = 0;

    for (int i = SAMPLES * 3 / 4; i < SAMPLES; i++)
        probes += samples[i].probes;
    if (probes == 0)
        printf("STUCK; ");
    flat &= probes > 0;
    flat &= is_flat("descriptors", offsetof(struct sample, descriptors), 1, 2);
    flat &= is_flat("threads", offsetof(struct sample, threads), 1, 1);
    flat &= is_flat("log KiB", offsetof(struct sample, log_kib), 1.5, 512);
    /* Others may be at work on the machine: this looks for what grows without end. */
    flat &= is_flat("lock and unlock us", offsetof(struct sample, median_us), 2, 500);
    return flat;
}

int main(int argc, char **argv)
{
    pid_t processes[WORKERS], resident;
    int count, status;
    unsigned seed = 1;

    CHECK(argc == 5);
    store_uri = argv[1];
    lasts = atof(argv[2]);
    samples = shared_memory(SAMPLES * sizeof(*samples));
    records = shared_memory(sizeof(*records));
    records->ring = RING;
    records->rest_us = REST_US;
    count = test_store_is("memory") ? 0 : WORKERS;
    if (test_store_is("sqlite")) {
        char *path = malloc(strlen(store_uri) + sizeof("-wal"));

        CHECK(path != NULL);
        sprintf(path, "%s-wal", store_uri + strlen("sqlite:"));
        log_path = path;
    }
    watchdog((unsigned)lasts + 120);
    faults_begin(argv[3]);
    resident = spawn(reside, NULL);
    for (int i = 0; i < count; i++)
        processes[i] = start(seed);
    while (waitpid(resident, &status, WNOHANG) == 0) {
        pause_at_random(&seed, 1000000);
        if (count > 0 && !atomic_load(&records->stop))
            disturb(processes, count, &seed, start);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    faults_end();
    test_join_all(processes, (size_t)count);
    write_samples(argv[4]);
    printf("%llu calls; ", (unsigned long long)atomic_load(&records->taken));
    show_faults();
    return all_is_flat() ? 0 : 1;
}
