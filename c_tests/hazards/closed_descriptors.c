/*
 * A daemon opens a store, then closes every descriptor from 3 on, as daemons do, and then opens
 * files of its own.
 *
 * The files get the numbers that the library had. A dss_lock() then wrote 2 KB of a transaction
 * into one of them, answered 0, and locks of other processes were gone; without own files each call
 * gave -EBUSY for ever.
 *
 * At each of 50 moments a host closes its descriptors (idle, in the calls of its other threads, in a
 * wait, with a kept lock, in the callback of a list), opens 1 to 64 files, pipes and sockets, and
 * goes on with the store. Its own files must stay as they are, no acknowledged lock may be lost,
 * and calls give their usual answers. Where other threads are in a call, the host opens its files
 * when these calls have ended: between the library's look at a descriptor and the system call that
 * uses it, another thread can still close the descriptor and open a file under its number.
 *
 *   closed_descriptors [SEED [MOMENTS [FIRST]]]
 *
 * With $DSS_TEST_AT_ONCE the host opens its files while the calls of its other threads are under
 * way.
 */
#include "closed_in_call.h"
#include "closed_situations.h"

#define AT_ONCE 8        /* scenes that run together */
#define ENOUGH_FAILED 10 /* scenes: after that no more are begun */

static const char *const situation_names[] = {"idle", "in a call", "in a wait", "kept lock",
                                              "in a list"};
static const char *const way_names[] = {"closefrom", "close_range", "close"};

/* ---- The processes of a scene ---- */

static void be_host(void *arg)
{
    static void (*const situations[])(struct host *) = {idle, in_call, in_wait, kept, in_list};
    struct scene *scene = arg;
    struct own_files *files = &scene->shared->files;
    struct host host = {.scene = scene, .observer = {{0, 1}}};
    char option[32];
    char *uri;

    CHECK(dup2(scene->to_host.ends[0], 0) == 0 && dup2(scene->from_host.ends[1], 1) == 1);
    snprintf(option, sizeof(option), "timeout_ms=%d", TIMEOUT_MS);
    uri = test_with_option(scene->uri, option);
    CHECK_RC(dss_init_uri(&host.handle, uri), 0);
    CHECK_RC(dss_init_uri(&host.other, uri), 0);
    for (int i = rand_r(&scene->seed) % 12; i >= 0; i--)
        take_one(&host);
    for (int i = 0; i < scene->rounds && atomic_load(violation_count) < ENOUGH; i++) {
        situations[scene->situation](&host);
        own_files_check(files, "after the situation");
        make_calls(&host);
        own_files_check(files, "after all calls");
    }
    if (rand_r(&scene->seed) % 2)
        check_in_a_child(&host);
    if (test_store_is("memory"))
        check_acknowledged(&host.other, scene, "in the host");
    tell(&host.observer, LOOK);
    CHECK(next_word(&host.observer) == SEEN);
    dss_fini(&host.handle);
    dss_fini(&host.other);
    own_files_check(files, "after dss_fini");
    tell(&host.observer, DONE);
    CHECK(next_word(&host.observer) == SEEN);
    free(uri);
}

/* Holds locks, and takes more. */
static void be_neighbour(void *arg)
{
    struct scene *scene = arg;
    struct shared *shared = scene->shared;
    struct dss_handle handle;
    char id[96], contended[96], wanted[96];
    int served = 0;

    id_of(scene, "contended", 0, contended);
    id_of(scene, "wanted", 0, wanted);
    CHECK_RC(dss_init_uri(&handle, scene->uri), 0);
    CHECK_RC(dss_lock(&handle, wanted, "neighbour"), 0);
    tell(&scene->from_neighbour, READY);
    while (!atomic_load(&shared->stop) && atomic_load(violation_count) < ENOUGH) {
        int number = atomic_load(&shared->neighbour_acked), rc;

        if (number < 40) {
            rc = dss_lock(&handle, id_of(scene, "neighbour", number, id), "neighbour");
            EXPECT(rc == 0, "the neighbour's dss_lock gave %d (%s): %s", rc, dss_strerror(rc),
                   dss_last_error());
            atomic_fetch_add(&shared->neighbour_acked, rc == 0);
        }
        if (scene->situation == IN_CALL)
            contend_for(shared, 99, contended, NULL, &handle);
        if (atomic_load(&shared->release) > served) {
            CALL(dss_unlock(&handle, wanted, "neighbour"), 0);
            /* A waiter whose doorbell was closed is passed over until it has looked by itself. */
            while (atomic_load(&shared->served) <= served && atomic_load(violation_count) < ENOUGH)
                sleep_ms(1);
            CALL_WAITING(lock_waiting(&handle, wanted, "neighbour", 20000, NULL), 0, 20);
            served++;
        }
        sleep_ms(scene->situation == IN_CALL ? 0 : 5);
    }
    dss_fini(&handle);
}

static void look(struct scene *scene, int word)
{
    const char *when = word == LOOK ? "while the host has the store open" : "after dss_fini";
    struct dss_handle handle;
    int rc;

    if (word != FORCE) {
        own_files_check_locks(&scene->shared->files, when);
        own_files_check_contents(&scene->shared->files, when);
    }
    if (test_store_is("memory"))
        return;
    rc = dss_init_uri(&handle, scene->uri);
    EXPECT(rc == 0, "%s: the store can't be opened: %s", when, dss_last_error());
    if (rc != 0)
        return;
    if (word == FORCE)
        force_kept(&handle, scene);
    else
        check_acknowledged(&handle, scene, when);
    dss_fini(&handle);
}

static void observe(struct scene *scene)
{
    int word, status = 0;
    pid_t neighbour = 0, host;

    if (scene->is_multi) {
        neighbour = spawn(be_neighbour, scene);
        CHECK(next_word(&scene->from_neighbour) == READY);
    }
    host = spawn(be_host, scene);
    close(scene->from_host.ends[1]);
    while ((word = next_word(&scene->from_host)) != 0) {
        look(scene, word);
        tell(&scene->to_host, SEEN);
        if (word == DONE)
            break;
    }
    if (word == 0) {
        violation("the host hangs, or has ended before its time");
        (void)kill(host, SIGKILL);
    }
    CHECK(waitpid(host, &status, 0) == host);
    EXPECT(word == 0 || status == 0, "the host ended with status %#x", (unsigned)status);
    atomic_store(&scene->shared->stop, 1);
    if (neighbour > 0) {
        CHECK(waitpid(neighbour, &status, 0) == neighbour);
        EXPECT(status == 0, "the neighbour ended with status %#x", (unsigned)status);
    }
    if (word != 0)
        look(scene, DONE);
}

/* A process of its own; it fails if anything was wrong. */
static void play(void *arg)
{
    struct scene *scene = arg;
    char name[32];
    char *folder;

    snprintf(name, sizeof(name), "moment-%d", scene->number);
    folder = test_path(name);
    CHECK(mkdir(folder, 0700) == 0);
    if (!test_store_is_server())
        scene->uri = test_other_uri(name);
    scene->shared = shared_memory(sizeof(*scene->shared));
    violation_count = &scene->shared->violations;
    snprintf(case_name, sizeof(case_name),
             "moment %d (%s, %s process, %s, %d own descriptors, %d rounds)", scene->number,
             situation_names[scene->situation], scene->is_multi ? "second" : "one",
             way_names[scene->way], scene->own_count, scene->rounds);
    own_files_prepare(&scene->shared->files, folder, scene->own_count, &scene->seed);
    line_make(&scene->to_host);
    line_make(&scene->from_host);
    line_make(&scene->from_neighbour);
    (void)signal(SIGPIPE, SIG_IGN);
    observe(scene);
    test_remove_tree_(folder);
    free(folder);
    if (atomic_load(violation_count) > 0)
        _exit(1);
}

static struct scene choose(unsigned seed, int number)
{
    struct scene scene = {
        .number = number, .seed = seed * 7919 + (unsigned)number, .uri = test_uri()};

    scene.situation = (enum situation)(number % SITUATIONS);
    scene.is_multi = number / SITUATIONS % 2 && !test_store_is("memory");
    scene.way = (enum way)(rand_r(&scene.seed) % WAYS);
    scene.rounds = 1 + (rand_r(&scene.seed) % 3 == 0);
    scene.own_count = 1 + rand_r(&scene.seed) % (rand_r(&scene.seed) % 3 == 0 ? 8 : MOST_OWN);
    return scene;
}

/* Whether the next one that ends has failed. */
static int one_fails(void)
{
    int status;

    CHECK(wait(&status) > 0);
    return status != 0;
}

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    int moments = argc > 2 ? atoi(argv[2]) : 50, first = argc > 3 ? atoi(argv[3]) : 0, running = 0,
        failed = 0;

    use_files_in_memory();
    for (int number = first; number < first + moments && failed < ENOUGH_FAILED; number++) {
        struct scene scene = choose(seed, number);

        (void)spawn(play, &scene);
        if (++running == AT_ONCE) {
            failed += one_fails();
            running--;
        }
    }
    while (running-- > 0)
        failed += one_fails();
    if (failed > 0)
        fprintf(stderr, "%d moments show violations (seed %u)\n", failed, seed);
    return failed > 0;
}
