/*
 * A plugin that uses libdss is unloaded while threads that once called it live on.
 *
 * A thread's exit runs destructors of the library's thread-local data, and a later fork runs its handlers. If the code
 * was unmapped by then, the host crashes at a moment when nobody thinks of locks any more. So the library stays.
 */
#include "loaded.h"

#define THREADS 4
#define ROUNDS 5

static const char *library_name;
static struct dss_api api;
static struct dss_handle handle;
static struct line called;
static pthread_barrier_t unloaded;

static void *call_and_live_on(void *arg)
{
    char owner[32];

    snprintf(owner, sizeof(owner), "thread %d", *(int *)arg);
    CHECK(api.lock(&handle, owner, owner) == 0);
    CHECK(api.unlock(&handle, owner, owner) == 0);
    /* A failure leaves a text behind that belongs to this thread. */
    CHECK(api.lock(&handle, NULL, owner) == -EINVAL);
    CHECK(api.last_error()[0] != '\0');
    tell(&called, 1);
    pthread_barrier_wait(&unloaded);
    return NULL;
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static void unload_under_threads(int close_handle)
{
    void *library = load(library_name);
    pthread_t threads[THREADS];
    int numbers[THREADS];

    api = api_of(library);
    CHECK(api.init_uri(&handle, test_uri()) == 0);
    CHECK(pthread_barrier_init(&unloaded, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        threads[i] = start_thread(call_and_live_on, &numbers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(hear(&called) == 1);
    if (close_handle)
        api.fini(&handle);
    CHECK(dlclose(library) == 0);
    pthread_barrier_wait(&unloaded);
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    CHECK(pthread_barrier_destroy(&unloaded) == 0);
    test_join(spawn(do_nothing, NULL));
}

static void *open_and_lock(void *library)
{
    api = api_of(library);
    CHECK(api.init_uri(&handle, test_uri()) == 0);
    CHECK(api.lock(&handle, "drive", "plugin") == 0);
    return NULL;
}

static void *go_on(void *library)
{
    api = api_of(library);
    CHECK(api.lock(&handle, "drive", "other") == -EEXIST);
    CHECK(api.unlock(&handle, "drive", "plugin") == 0);
    api.fini(&handle);
    return NULL;
}

/*
 * The plugin comes back and goes on with the handle that it left open. The threads that called it have ended, so there
 * are no destructors for which the loader would keep the library: it stays because it says so itself.
 */
static void handle_outlives_unloading(void)
{
    void *library = load(library_name);

    join_thread(start_thread(open_and_lock, library));
    CHECK(dlclose(library) == 0);
    CHECK(dlopen(library_name, RTLD_NOW | RTLD_NOLOAD) != NULL);
    library = load(library_name);
    join_thread(start_thread(go_on, library));
    CHECK(dlclose(library) == 0);
}

int main(void)
{
    library_name = library_file();
    line_make(&called);
    /* First, for a thread that forks keeps some of those destructors, and the main thread never ends. */
    handle_outlives_unloading();
    for (int i = 0; i < ROUNDS; i++)
        unload_under_threads(1);
    unload_under_threads(0);
    unload_under_threads(1);
    return 0;
}
