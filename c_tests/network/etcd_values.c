/*
 * The server was told to take no more than 100 kB at once, its quota was used up by values, and its history was compacted while a
 * program read a list of keys.
 *
 * Proves: a value that etcd refuses is -EFBIG or -ENOSPC, in a text that names etcd's setting, and is not written; other threads'
 * calls that came with it are done; what the text says helps. A list whose revision is compacted away ends with -EINTR, and the
 * next one is whole.
 */
#include "bad_etcd.h"
#include "locks/locks.h"

#define TOO_MUCH 150000 /* and yet little enough to be sent with the calls of other threads */
#define AT_ONCE "100000"
#define MANY 1300 /* keys, more than are read at once */
#define TURNS 50

static struct etcd etcd;
static struct dss_handle handle;
static char value[1 << 20];

static uint64_t set(const char *key, size_t len)
{
    uint64_t version;

    CHECK_RC(dss_set(&handle, key, value, len, NULL, &version), 0);
    return version;
}

static uint64_t version_of(const char *key)
{
    uint64_t version;

    CHECK_RC(dss_get(&handle, key, NULL, NULL, &version), 0);
    return version;
}

/* ---- More than it takes at once ---- */

static void refused(size_t len)
{
    uint64_t version = 7, before = version_of("tape");

    CHECK_RC(dss_set(&handle, "tape", value, len, NULL, &version), -EFBIG);
    check_says("--max-request-bytes");
    check_says(made("127.0.0.1:%d", etcd.port));
    CHECK(version == 0 && version_of("tape") == before);
}

static void *set_too_much(void *arg)
{
    (void)arg;
    for (int i = 0; i < TURNS; i++)
        CHECK_RC(dss_set(&handle, "tape", value, TOO_MUCH, NULL, NULL), -EFBIG);
    return NULL;
}

static void *set_and_lock(void *arg)
{
    const char *own = arg;

    for (int i = 0; i < TURNS; i++) {
        CHECK_RC(dss_set(&handle, own, own, 1, NULL, NULL), 0);
        CHECK_RC(dss_lock(&handle, own, "ann"), 0);
        CHECK_RC(dss_unlock(&handle, own, "ann"), 0);
    }
    return NULL;
}

static void check_too_large(void)
{
    pthread_t threads[4];

    (void)set("tape", 50000);
    refused(TOO_MUCH);      /* by the server */
    refused(sizeof(value)); /* by its gateway */
    threads[0] = start_thread(set_too_much, NULL);
    threads[1] = start_thread(set_and_lock, "a");
    threads[2] = start_thread(set_too_much, NULL);
    threads[3] = start_thread(set_and_lock, "b");
    for (int i = 0; i < 4; i++)
        join_thread(threads[i]);
}

/* ---- A history that ends ---- */

static void compact(uint64_t revision)
{
    (void)etcd_do(&etcd, "/v3/kv/compaction", made("{\"revision\":\"%llu\",\"physical\":true}", (unsigned long long)revision));
}

static int compact_at_first(const struct dss_key_info *info, void *arg)
{
    int *shown = arg;

    CHECK(info->len == 1);
    if ((*shown)++ == 0)
        compact(set("other", 1));
    return 0;
}

static int count(const struct dss_key_info *info, void *arg)
{
    CHECK(info->len == 1);
    ++*(int *)arg;
    return 0;
}

static void check_compacted(void)
{
    int shown = 0;

    for (int i = 0; i < MANY; i++)
        (void)set(made("key/%04d", i), 1);
    CHECK_RC(dss_list(&handle, "key/", compact_at_first, &shown), -EINTR);
    check_says("run it again");
    CHECK(shown > 0 && shown < MANY);
    shown = 0;
    CHECK_RC(dss_list(&handle, "key/", count, &shown), 0);
    CHECK(shown == MANY);
}

/* ---- A quota that is used up ---- */

static const char *text_behind(const char *text, const char *mark)
{
    const char *found = strstr(text, mark);

    CHECK(found != NULL);
    return found + strlen(mark);
}

static void check_full(void)
{
    const char *alarms, *member;
    uint64_t before, version = 7;
    int rc = 0;

    for (int i = 0; i < 1000 && rc == 0; i++)
        rc = dss_set(&handle, "tape", value, 90000, NULL, NULL);
    CHECK_RC(rc, -ENOSPC);
    check_says("--quota-backend-bytes");
    check_says("alarm disarm");
    before = version_of("tape");
    CHECK_RC(dss_set(&handle, "tape", value, 1, NULL, &version), -ENOSPC);
    CHECK(version == 0 && version_of("tape") == before);
    compact(before);
    (void)etcd_do(&etcd, "/v3/maintenance/defragment", "{}");
    alarms = etcd_do(&etcd, "/v3/maintenance/alarm", "{\"action\":\"GET\"}");
    member = text_behind(alarms, "\"memberID\":\"");
    (void)etcd_do(&etcd, "/v3/maintenance/alarm", made("{\"action\":\"DEACTIVATE\",\"memberID\":\"%.*s\",\"alarm\":\"NOSPACE\"}",
                                                       (int)strcspn(member, "\""), member));
    CHECK(set("tape", 90000) > before);
}

int main(void)
{
    (void)test_uri();
    etcd_start(&etcd, "http", "--max-request-bytes " AT_ONCE " --quota-backend-bytes 4000000");
    CHECK_RC(dss_init_uri(&handle, made("etcd://127.0.0.1:%d", etcd.port)), 0);
    check_too_large();
    check_compacted();
    check_full();
    dss_fini(&handle);
    return 0;
}
