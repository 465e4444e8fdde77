/*
 * Proves: threads that share one handle, each with keys of its own, and others that read these, get along: no reader ever sees
 * a torn value, which is one byte repeated 100,000 times, an old one after a newer one, or another key's.
 */
#include <stdatomic.h>

#include "locks/locks.h"
#include "state/state.h"

#define WRITERS 8
#define READERS 4
#define LEN 100000

static struct dss_handle handle;
static _Atomic int may_stop;
static _Atomic int reads;

struct writer {
    int number;
    _Atomic uint64_t version; /* of its last write that has returned */
};

static struct writer writers[WRITERS];

static void name(char *key, int number)
{
    snprintf(key, 16, "key %d", number);
}

/* A writer's number is in each byte. */
static char byte_of(int number, int round)
{
    return (char)(round * WRITERS + number);
}

static void *write_on(void *arg)
{
    struct writer *writer = arg;
    char key[16], *value = malloc(LEN);
    int rounds = test_repeat(test_calls(100, 40), 5);

    CHECK(value != NULL);
    name(key, writer->number);
    for (int round = 0; round < rounds || reads == 0; round++) {
        size_t len = round % 3 == 2 ? LEN / 2 : LEN;
        uint64_t before = writer->version, version;

        memset(value, byte_of(writer->number, round), len);
        version = set_value(&handle, key, value, len);
        CHECK(version > before);
        writer->version = version;
        check_value(&handle, key, value, len, version);
        if (round % 10 == 9)
            CHECK_RC(delete_key(&handle, key), 0);
    }
    free(value);
    return NULL;
}

static void read_once(int number, uint64_t *last)
{
    uint64_t returned = writers[number].version, version;
    char key[16];
    void *value;
    size_t len;
    int rc;

    name(key, number);
    rc = dss_get(&handle, key, &value, &len, &version);
    if (rc == -ENOENT)
        return;
    CHECK_RC(rc, 0);
    CHECK(len == LEN || len == LEN / 2);
    CHECK(is_all(value, *(unsigned char *)value, len));
    CHECK(*(unsigned char *)value % WRITERS == number);
    CHECK(version >= returned && version >= *last);
    *last = version;
    free(value);
    reads++;
}

static void *read_on(void *arg)
{
    uint64_t last[WRITERS] = { 0 };

    (void)arg;
    for (int i = 0; !may_stop; i++)
        read_once(i % WRITERS, &last[i % WRITERS]);
    return NULL;
}

int main(void)
{
    pthread_t writing[WRITERS], reading[READERS];

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int i = 0; i < READERS; i++)
        reading[i] = start_thread(read_on, NULL);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        writing[i] = start_thread(write_on, &writers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        join_thread(writing[i]);
    may_stop = 1;
    for (int i = 0; i < READERS; i++)
        join_thread(reading[i]);
    CHECK(reads > 0);
    dss_fini(&handle);
    return 0;
}
