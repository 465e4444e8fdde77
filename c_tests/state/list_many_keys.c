/*
 * Proves: a list of 100,000 keys with values (20,000 on PostgreSQL, 5,000 on etcd; a quarter of it in make test) comes in the order of
 * its bytes and takes little memory, while others go on writing; its callback gets each value.
 *
 *   list_many_keys [keys]
 */
#include <malloc.h>

#include "contention/contention.h"
#include "memory_use.h"
#include "state/state.h"

#define KEYS 100000
#define MAKERS 8
#define VALUE_SIZE 200
#define MEMORY_MAX_KIB (4 * 1024) /* much less than what all of them take */

static struct dss_handle handle;
static int keys;

/* On a server each set, and each get, is a call by the network. */
static int keys_to_make(int count, char **arguments)
{
    if (count > 1)
        return atoi(arguments[1]);
    return test_amount(test_store_is("etcd") ? KEYS / 20 : test_calls(KEYS, KEYS / 5));
}

static void name(char *key, int number)
{
    snprintf(key, 32, "key-%07d", number);
}

static void value_of(char *value, int number)
{
    memset(value, number % 256, VALUE_SIZE);
}

/* ---- Many keys --------------------------------------------------------------------------------------------------- */

/* Anyhow but in order, so that it is the list that has to sort them. */
static void *make_share(void *arg)
{
    char key[32], value[VALUE_SIZE];

    for (int i = keys - 1 - *(int *)arg; i >= 0; i -= MAKERS) {
        name(key, i);
        value_of(value, i);
        set_value(&handle, key, value, sizeof(value));
    }
    return NULL;
}

static void make_all(void)
{
    pthread_t threads[MAKERS];
    int firsts[MAKERS];
    double begun = test_seconds();

    for (int i = 0; i < MAKERS; i++) {
        firsts[i] = i;
        threads[i] = start_thread(make_share, &firsts[i]);
    }
    for (int i = 0; i < MAKERS; i++)
        join_thread(threads[i]);
    malloc_trim(0); /* else a list could hide what it takes in what was freed */
    fprintf(stderr, "set %d keys in %.1f s\n", keys, test_seconds() - begun);
}

/* ---- The list ---------------------------------------------------------------------------------------------------- */

static _Atomic int may_stop;
static _Atomic int writes;

/* Goes on writing, and is never held up for long. */
static void *write_on(void *arg)
{
    char key[32];

    (void)arg;
    for (int i = 0; !may_stop; i++) {
        snprintf(key, sizeof(key), "written-%d", i % 100);
        set_text(&handle, key, "written");
        if (i % 2 == 0)
            CHECK_RC(delete_key(&handle, key), 0);
        writes++;
    }
    return NULL;
}

struct listing {
    int next, gets;
    int is_peak_told;
    long peak_kib;
};

static int walk(const struct dss_key_info *info, void *arg)
{
    struct listing *listing = arg;
    char key[32], value[VALUE_SIZE];

    if (strncmp(info->key, "written", 7) == 0)
        return 0;
    name(key, listing->next);
    CHECK(strcmp(info->key, key) == 0 && info->len == VALUE_SIZE);
    if (listing->gets) {
        value_of(value, listing->next);
        check_value(&handle, info->key, value, sizeof(value), info->version);
    }
    if (!listing->is_peak_told && listing->next % 10000 == 0 && memory_kib("VmRSS:") > listing->peak_kib)
        listing->peak_kib = memory_kib("VmRSS:");
    listing->next++;
    return 0;
}

static long check_list(int gets)
{
    struct listing listing = { .gets = gets };
    long before_kib = memory_kib("VmRSS:");
    double begun = test_seconds();

    listing.is_peak_told = reset_peak();
    CHECK_RC(dss_list(&handle, NULL, walk, &listing), 0);
    if (listing.is_peak_told)
        listing.peak_kib = memory_kib("VmHWM:");
    CHECK(listing.next == keys);
    fprintf(stderr, "listed%s in %.2f s, %ld KiB more memory\n", gets ? " and got" : "", test_seconds() - begun,
            listing.peak_kib - before_kib);
    return listing.peak_kib - before_kib;
}

int main(int count, char **arguments)
{
    pthread_t writer;
    int written;

    watchdog(230);
    use_files_in_memory();
    keys = keys_to_make(count, arguments);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    make_all();
    CHECK(check_list(0) <= MEMORY_MAX_KIB);
    CHECK(check_list(1) <= MEMORY_MAX_KIB);
    writer = start_thread(write_on, NULL);
    while (writes == 0)
        sched_yield();
    written = writes;
    CHECK(check_list(0) <= MEMORY_MAX_KIB);
    CHECK(writes > written);
    may_stop = 1;
    join_thread(writer);
    dss_fini(&handle);
    return 0;
}
