/*
 * Proves: no increment is lost, and none is made twice, when sixteen processes count by compare-and-set, also when they are
 * killed at any moment. All of them make progress.
 *
 *   counter [seconds] [killed]
 */
#include "state/counter.h"

#define SECONDS 30
#define KILL_EVERY_US 20000

static int all_make_progress(void)
{
    for (int i = 0; i < WORKERS; i++) {
        if (atomic_load(&counting->workers[i].done) / ONE_MORE == 0)
            return 0;
    }
    return 1;
}

static void rest(double seconds)
{
    double end = test_seconds() + seconds;
    struct timespec moment = { 0, 10000000 };

    while (test_seconds() < end || !all_make_progress()) /* the watchdog has less patience */
        nanosleep(&moment, NULL);
}

static void kill_for(double seconds)
{
    double end = test_seconds() + seconds;
    unsigned seed = (unsigned)time(NULL);
    int killed = 0;

    fprintf(stderr, "seed %u\n", seed);
    for (; test_seconds() < end; killed++) {
        pause_at_random(&seed, KILL_EVERY_US);
        kill_worker(&counting->workers[rand_r(&seed) % WORKERS]);
    }
    fprintf(stderr, "%d killed\n", killed);
    CHECK(killed >= WORKERS);
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : SECONDS;
    int kills = count > 2;
    struct dss_handle handle;

    watchdog(HANGS_AFTER_S + (unsigned)seconds);
    use_files_in_memory();
    begin_counting();
    snprintf(counting->uri, sizeof(counting->uri), "%s", test_uri());
    CHECK_RC(dss_init_uri(&handle, counting->uri), 0);
    start_workers(&handle);
    if (kills)
        kill_for(seconds);
    else
        rest(seconds);
    stop_workers();
    CHECK(acknowledged_of_all() >= WORKERS);
    CHECK(check_counter(&handle) == 0 || kills);
    dss_fini(&handle);
    return 0;
}
