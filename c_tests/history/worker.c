/*
 * Makes a history: processes with threads make random calls on few names, while things happen to them and to the store, and
 * each call is recorded. Whether the history can have been is for others to judge: tests/histories.rs runs this.
 *
 *   worker URI FILE SEED MILLISECONDS PROCESSES THREADS [FAULT,...]
 *
 * The faults are in faults.c. The parent makes no call while its children live: so one process can have a `memory:` store.
 */
#include "faults.h"

static int process_count, thread_count;

struct start {
    unsigned seed;
    uint64_t incarnation; /* no two processes ever have the same */
};

/* Half of the threads share a handle, the others have each their own. */
static void work(void *arg)
{
    struct start *start = arg;
    struct dss_handle shared;
    struct actor actors[MOST];
    pthread_t threads[MOST];

    open_store(&shared, start->seed);
    for (int i = 0; i < thread_count; i++) {
        actors[i] = (struct actor){.seed = start->seed * MOST + (unsigned)i, .handle = &shared};
        actors[i].owner = (start->incarnation * MOST + (unsigned)i) * 2;
        if (i % 2 == 1) {
            actors[i].handle = &actors[i].own;
            open_store(&actors[i].own, actors[i].seed);
        }
        threads[i] = start_thread(act, &actors[i]);
    }
    for (int i = 0; i < thread_count; i++)
        join_thread(threads[i]);
    /* What was done last is looked at, too, while the store is there. */
    actors[0].handle = &shared;
    look_at_all(&actors[0]);
    for (int i = 1; i < thread_count; i += 2)
        dss_fini(&actors[i].own);
    dss_fini(&shared);
}

static pid_t start(unsigned seed)
{
    static uint64_t incarnations;
    struct start start = {.seed = seed + (unsigned)incarnations, .incarnation = incarnations + 1};

    incarnations++;
    return spawn(work, &start);
}

static void map_records(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    CHECK(fd >= 0 && ftruncate(fd, sizeof(*records)) == 0);
    records = mmap(NULL, sizeof(*records), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(records != MAP_FAILED);
    close(fd);
}

int main(int argc, char **argv)
{
    pid_t processes[MOST];
    unsigned seed;
    double last;

    CHECK(argc == 7 || argc == 8);
    store_uri = argv[1];
    map_records(argv[2]);
    seed = (unsigned)strtoul(argv[3], NULL, 10);
    process_count = atoi(argv[5]);
    thread_count = atoi(argv[6]);
    CHECK(process_count <= MOST && thread_count <= MOST);
    watchdog((unsigned)(atof(argv[4]) / 1e3) + 90);
    faults_begin(argc == 8 ? argv[7] : "");
    last = test_seconds() + atof(argv[4]) / 1e3;
    for (int i = 0; i < process_count; i++)
        processes[i] = start(seed);
    while (test_seconds() < last && !is_over()) {
        pause_at_random(&seed, 200000);
        disturb(processes, process_count, &seed, start);
    }
    faults_end();
    atomic_store(&records->stop, 1);
    test_join_all(processes, (size_t)process_count);
    show_faults();
    return 0;
}
