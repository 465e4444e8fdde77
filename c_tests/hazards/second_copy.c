/*
 * Two copies of the library in one process: the host is linked with one, a plugin brings another along.
 *
 * The copies share no memory, so neither knows what the other has locked. With POSIX locks, which belong to the
 * process, both would be granted the same lock; with locks of open file descriptions each is a stranger to the other.
 */
#include "loaded.h"

#define SECONDS 3.0

static struct arena *arena;

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t size;

    CHECK(in != NULL && out != NULL);
    while ((size = fread(buffer, 1, sizeof(buffer), in)) > 0)
        CHECK(fwrite(buffer, 1, size, out) == size);
    fclose(in);
    CHECK(fclose(out) == 0);
}

static void *contend_through(void *library)
{
    struct dss_api api = api_of(library);
    struct dss_handle handle;

    CHECK(api.init_uri(&handle, test_uri()) == 0);
    contend(&api, &handle, arena, "drive", SECONDS);
    api.fini(&handle);
    return NULL;
}

/* What one copy holds, the other must refuse, and the other way round. */
static void each_sees_the_other(void *first, void *second)
{
    struct dss_api one = api_of(first), two = api_of(second);
    struct dss_handle first_handle, second_handle;

    CHECK(one.init_uri(&first_handle, test_uri()) == 0);
    CHECK(two.init_uri(&second_handle, test_uri()) == 0);
    CHECK(one.lock(&first_handle, "robot", "first") == 0);
    CHECK(two.lock(&second_handle, "robot", "second") == -EEXIST);
    CHECK(one.unlock(&first_handle, "robot", "first") == 0);
    CHECK(two.lock(&second_handle, "robot", "second") == 0);
    two.fini(&second_handle);
    CHECK(one.lock(&first_handle, "robot", "first") == -EEXIST);
    CHECK(one.unlock(&first_handle, "robot", "second") == 0);
    one.fini(&first_handle);
}

static void use_two_copies(void *copy_path)
{
    void *first = load(library_file()), *second = load(copy_path);
    pthread_t threads[2];

    CHECK(dlsym(first, "dss_lock") != dlsym(second, "dss_lock"));
    each_sees_the_other(first, second);
    threads[0] = start_thread(contend_through, first);
    threads[1] = start_thread(contend_through, second);
    join_thread(threads[0]);
    join_thread(threads[1]);
}

static void use_one_copy(void *arg)
{
    (void)arg;
    contend_through(load(library_file()));
}

int main(void)
{
    char *copy = test_path("copy.so");
    pid_t children[2];

    (void)test_uri();
    copy_file(library_file(), copy);
    arena = arena_make();
    children[0] = spawn(use_two_copies, copy);
    children[1] = spawn(use_one_copy, NULL);
    arena_close(arena, children, 2);
    free(copy);
    return 0;
}
