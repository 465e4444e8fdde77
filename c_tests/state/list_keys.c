/*
 * Proves: dss_list() shows the keys that have values, those that begin with the prefix, in the order of their bytes, with the
 * version and length of each, as they were at one moment; its callback may end it, and may call all of the library.
 */
#include <stdatomic.h>

#include "locks/locks.h"
#include "state/state.h"

#define MANY 400

static struct dss_handle handle;

/* ---- What is shown ----------------------------------------------------------------------------------------------- */

/* In the order in which the list has to show them. */
static const char *const keys[] = { "\x01", " ", "%", "A", "B", "_", "a", "a\x01", "a/", "a/b", "a/c", "aa", "a\xff", "a\xff\xff", "b",
                                    "\x7f", "\x80", "\xc3\xa9", "\xff", "\xff\x01", "\xff\xff" };
static uint64_t versions[COUNT(keys)];

struct shown_keys {
    const char *prefix;
    size_t next; /* which of the keys may come */
    size_t count;
};

static int check_key(const struct dss_key_info *info, void *arg)
{
    struct shown_keys *shown = arg;

    CHECK(info->size == sizeof(*info));
    while (strcmp(info->key, keys[shown->next]) != 0) {
        CHECK(strncmp(keys[shown->next], shown->prefix, strlen(shown->prefix)) != 0); /* it was left out */
        CHECK(++shown->next < COUNT(keys));
    }
    CHECK(strncmp(info->key, shown->prefix, strlen(shown->prefix)) == 0);
    CHECK(info->version == versions[shown->next] && info->len == shown->next * 100);
    shown->next++;
    shown->count++;
    return 0;
}

static void check_prefix(const char *prefix)
{
    struct shown_keys shown = { .prefix = prefix };
    size_t expected = 0;

    for (size_t i = 0; i < COUNT(keys); i++)
        expected += strncmp(keys[i], prefix, strlen(prefix)) == 0;
    CHECK_RC(dss_list(&handle, prefix, check_key, &shown), 0);
    CHECK(shown.count == expected);
}

static void check_shown(void)
{
    static const char value[100 * COUNT(keys)];

    CHECK(keys_of(&handle, NULL) == 0);
    for (size_t i = COUNT(keys); i-- > 0;)
        versions[i] = set_value(&handle, keys[i], value, 100 * i);
    CHECK_RC(dss_lock(&handle, "a lock", "ann"), 0); /* is no key */
    set_text(&handle, "deleted", "value");
    CHECK_RC(delete_key(&handle, "deleted"), 0);
    CHECK(keys_of(&handle, NULL) == COUNT(keys));
    check_prefix("");
    for (size_t i = 0; i < COUNT(keys); i++)
        check_prefix(keys[i]);
    check_prefix("a/b/");
    check_prefix("\xfe");
    check_prefix("zz");
    for (size_t i = 0; i < COUNT(keys); i++)
        CHECK_RC(delete_key(&handle, keys[i]), 0);
    CHECK(keys_of(&handle, NULL) == 0);
    CHECK_RC(dss_unlock(&handle, "a lock", "ann"), 0);
}

static int end_it(const struct dss_key_info *info, void *arg)
{
    (void)info;
    return --*(int *)arg == 0 ? -12345 : 0;
}

static void check_ended_by_callback(void)
{
    char key[2] = "0";
    int left = 3;

    for (; key[0] <= '9'; key[0]++)
        set_text(&handle, key, "value");
    CHECK_RC(dss_list(&handle, NULL, end_it, &left), -12345);
    CHECK(left == 0);
    for (key[0] = '0'; key[0] <= '9'; key[0]++)
        CHECK_RC(delete_key(&handle, key), 0);
}

/* ---- A snapshot -------------------------------------------------------------------------------------------------- */

static void name(char *key, const char *kind, int number)
{
    snprintf(key, 32, "%s-%06d", kind, number);
}

struct walk {
    int next, count;
};

static void set_many(int count)
{
    char key[32];

    for (int i = 0; i < count; i++) {
        name(key, "key", i);
        set_text(&handle, key, "as it was");
    }
}

static int delete_it(const struct dss_key_info *info, void *arg)
{
    (void)arg;
    CHECK_RC(delete_key(&handle, info->key), 0);
    return 0;
}

static void delete_all(void)
{
    CHECK_RC(dss_list(&handle, NULL, delete_it, NULL), 0);
    CHECK(keys_of(&handle, NULL) == 0);
}

/* Behind and ahead of where the list stands: deletes, sets anew, and puts new ones in between; and gets each key. */
static int change_while_listing(const struct dss_key_info *info, void *arg)
{
    struct walk *walk = arg;
    char key[32];

    name(key, "key", walk->next);
    CHECK(strcmp(info->key, key) == 0 && info->len == strlen("as it was"));
    if (walk->next <= walk->count / 2)
        check_value(&handle, info->key, "as it was", info->len, info->version);
    if (walk->next % 20 == 0 && walk->next < walk->count / 2) {
        name(key, "key", walk->count - 1 - walk->next);
        CHECK_RC(delete_key(&handle, key), 0);
        if (walk->next % 40 == 0)
            set_text(&handle, key, "longer than it was");
        name(key, "key-000000", walk->next); /* comes before most of them */
        set_text(&handle, key, "new");
        name(key, "new", walk->next); /* comes after all of them */
        set_text(&handle, key, "new");
    }
    walk->next++;
    return 0;
}

static void check_snapshot_from_callback(int count)
{
    struct walk walk = { 0, count };

    set_many(count);
    CHECK_RC(dss_list(&handle, NULL, change_while_listing, &walk), 0);
    CHECK(walk.next == count);
    delete_all();
}

static _Atomic int may_stop;
static _Atomic int changes;

/* Moves one value up and down among the others: at any moment there is one of two keys, or both. */
static void *keep_changing(void *arg)
{
    (void)arg;
    for (int i = 0; !may_stop; i++) {
        const char *from = i % 2 == 0 ? "a-first" : "z-last", *to = i % 2 == 0 ? "z-last" : "a-first";

        set_text(&handle, to, "moved");
        CHECK_RC(delete_key(&handle, from), 0);
        changes++;
    }
    return NULL;
}

static int note_moved(const struct dss_key_info *info, void *arg)
{
    *(int *)arg |= strcmp(info->key, "a-first") == 0 ? 1 : strcmp(info->key, "z-last") == 0 ? 2 : 0;
    return 0;
}

/* A list that read at two moments would at times miss both. */
static void check_snapshot_from_thread(int count)
{
    pthread_t thread;

    set_many(count);
    set_text(&handle, "a-first", "moved");
    thread = start_thread(keep_changing, NULL);
    for (int i = 0; i < test_repeat(30, 5); i++) {
        int seen = 0, begun = changes;

        CHECK_RC(dss_list(&handle, NULL, note_moved, &seen), 0);
        CHECK(seen != 0);
        while (changes < begun + 2)
            sched_yield();
    }
    may_stop = 1;
    join_thread(thread);
    delete_all();
}

/* ---- What the callback may do ------------------------------------------------------------------------------------ */

/* Makes every call, with the handle that lists and on the very key that is shown. */
static int call_everything(const struct dss_key_info *info, void *arg)
{
    struct dss_grant grant = take(&handle, info->key, "ann", 0, 60000);
    struct dss_guard guard = of_both(info->version, info->key, grant.token);
    struct dss_handle other;
    char copy[64];
    uint64_t version;

    snprintf(copy, sizeof(copy), "%s", info->key);
    CHECK_RC(dss_set(&handle, copy, "by the callback", 15, &guard, &version), 0);
    check_value(&handle, copy, "by the callback", 15, version);
    CHECK(keys_of(&handle, copy) == 1 && keys_of(&handle, NULL) >= 1); /* a list within the list */
    CHECK(locks_of(&handle) == 1);
    CHECK_RC(delete_key(&handle, copy), 0);
    CHECK_RC(dss_unlock(&handle, copy, "ann"), 0);
    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    check_text(&other, copy, NULL);
    dss_fini(&other);
    CHECK(strcmp(copy, info->key) == 0 && info->version == guard.version);
    ++*(int *)arg;
    return 0;
}

/* The list goes on though its own handle is closed; later calls find it closed. */
static int close_own(const struct dss_key_info *info, void *arg)
{
    (void)info;
    dss_fini(arg);
    CHECK_RC(dss_get(arg, "x", NULL, NULL, NULL), -EBADF);
    return 0;
}

static void check_callback_may_call(void)
{
    struct dss_handle own;
    int calls = 0;

    set_many(4);
    CHECK_RC(dss_list(&handle, NULL, call_everything, &calls), 0);
    CHECK(calls == 4 && keys_of(&handle, NULL) == 0);

    set_many(2);
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    CHECK_RC(dss_list(&own, NULL, close_own, &own), 0);
    CHECK_RC(dss_list(&own, NULL, close_own, &own), -EBADF);
    delete_all();
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_shown();
    check_ended_by_callback();
    check_snapshot_from_callback(test_repeat(MANY, 200));
    check_snapshot_from_thread(test_repeat(MANY, 200));
    check_callback_may_call();
    dss_fini(&handle);
    return 0;
}
