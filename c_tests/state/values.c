/*
 * Proves: a value of any bytes, from none to 1 MiB, comes back as it was set, also from a store that was closed; a longer one
 * is refused; a key is told from every other key; an empty value is a value, and NULL deletes.
 */
#include "locks/locks.h"
#include "state/state.h"

static struct dss_handle handle;

/* ---- Sizes and bytes --------------------------------------------------------------------------------------------- */

/* Bytes of all values, in an order that differs from one number to the next. */
static char *bytes_of(size_t len, unsigned number)
{
    char *bytes = malloc(len + 1);

    CHECK(bytes != NULL);
    for (size_t i = 0; i <= len; i++)
        bytes[i] = (char)(i * 167 + i / 256 + number);
    return bytes;
}

static void check_size(size_t len)
{
    char *bytes = bytes_of(len, (unsigned)len);
    uint64_t version = set_value(&handle, "size", bytes, len);

    check_value(&handle, "size", bytes, len, version);
    free(bytes);
}

static void check_sizes(void)
{
    static const size_t sizes[] = { 0, 1, 255, 256, 257, 4095, 4096, 65535, 65536, 1000000, DSS_VALUE_MAX - 1, DSS_VALUE_MAX };

    for (size_t i = 0; i < COUNT(sizes); i++)
        check_size(sizes[i]);
    for (size_t i = COUNT(sizes); i-- > 0;) /* nothing of a longer one stays */
        check_size(sizes[i]);
    for (unsigned byte = 0; byte < 256; byte++) {
        char value[3] = { (char)byte, (char)byte, (char)byte };

        set_value(&handle, "byte", value, 1 + byte % 3);
        check_value(&handle, "byte", value, 1 + byte % 3, 0);
    }
}

static void check_too_large(void)
{
    char *bytes = bytes_of(DSS_VALUE_MAX + 1, 0);
    uint64_t version = set_text(&handle, "large", "small"), untouched = 7;

    CHECK_RC(dss_set(&handle, "large", bytes, DSS_VALUE_MAX + 1, NULL, &untouched), -EFBIG);
    CHECK_RC(dss_set(&handle, "large", bytes, SIZE_MAX, NULL, &untouched), -EFBIG);
    CHECK_RC(dss_set(&handle, "other", bytes, DSS_VALUE_MAX + 1, NULL, &untouched), -EFBIG);
    CHECK(untouched == 7);
    check_value(&handle, "large", "small", 5, version);
    check_text(&handle, "other", NULL);
    free(bytes);
}

/* The library has its own copy, and gives one. */
static void check_copies(void)
{
    char value[] = "first";
    void *one = NULL, *other = NULL;

    set_text(&handle, "copy", value);
    memset(value, 'x', 5);
    CHECK_RC(dss_get(&handle, "copy", &one, NULL, NULL), 0);
    CHECK_RC(dss_get(&handle, "copy", &other, NULL, NULL), 0);
    CHECK(one != other && strcmp(one, "first") == 0);
    memset(one, 'x', 5);
    set_text(&handle, "copy", "second");
    CHECK(strcmp(other, "first") == 0);
    free(one);
    free(other);
}

/* ---- Outputs ----------------------------------------------------------------------------------------------------- */

/* Each of the outputs may be NULL. */
static void check_outputs(void)
{
    uint64_t version = set_text(&handle, "output", "value"), newer = 0;

    for (int which = 0; which < 8; which++) {
        void *value = NULL;
        size_t len = 99;
        uint64_t found = 99;

        CHECK_RC(dss_get(&handle, "output", which & 1 ? &value : NULL, which & 2 ? &len : NULL, which & 4 ? &found : NULL), 0);
        CHECK(which & 1 ? value != NULL && strcmp(value, "value") == 0 : value == NULL);
        CHECK(len == (which & 2 ? 5 : 99));
        CHECK(found == (which & 4 ? version : 99));
        free(value);
    }
    CHECK_RC(dss_set(&handle, "output", "value", 5, NULL, NULL), 0);
    CHECK_RC(dss_set(&handle, "output", "value", 5, NULL, &newer), 0);
    CHECK(newer > version);
}

static void check_nothing_there(void)
{
    void *value = &handle;
    size_t len = 99;
    uint64_t version = 99;

    CHECK_RC(dss_get(&handle, "nothing", &value, &len, &version), -ENOENT);
    CHECK(value == NULL && len == 0 && version == 0);
    CHECK_RC(dss_get(&handle, "nothing", NULL, NULL, NULL), -ENOENT);
    CHECK(strstr(dss_last_error(), "nothing") != NULL);
    version = 99;
    CHECK_RC(dss_set(&handle, "nothing", NULL, 0, NULL, &version), -ENOENT);
    CHECK(version == 0);
}

static void check_delete(void)
{
    uint64_t first = set_text(&handle, "gone", "value"), second, none = 99;

    CHECK_RC(dss_set(&handle, "gone", NULL, 0, NULL, &none), 0);
    CHECK(none == 0);
    check_text(&handle, "gone", NULL);
    CHECK_RC(delete_key(&handle, "gone"), -ENOENT);
    second = set_value(&handle, "gone", "", 0); /* an empty value is there */
    CHECK(second > first);
    check_value(&handle, "gone", "", 0, second);
    CHECK(keys_of(&handle, "gone") == 1);
    CHECK_RC(delete_key(&handle, "gone"), 0);
    CHECK(keys_of(&handle, "gone") == 0);
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

#define LONG 4

/* What a store could mix up: cases, prefixes, wildcards, separators, quotes, numbers, and its own names. */
static const char *const odd[] = { "a", "A", "aa", "a ", " a", "a/", "a/b", "a/b/", "/", "//", "%", "_", "a%", "a_", "*", "?", "\\",
                                   "\\\\", "'", "''", "\"", "`", "a\nb", "\n", "\t", "\r\n", "\x01", "\x7f", "\x80", "\xff", "\xff\xff",
                                   "a\xff", "a\x01", "\xc3\xa9", "e\xcc\x81", "NULL", "null", "0", "00", "1", "1.0", "\\x61",
                                   "lock", "lock/a", "value", "value/a", "v/a", "l/a", "dss", "$1", ":a", "@a" };
static char longest[LONG][DSS_KEY_MAX + 1];

static const char *key_of(size_t number)
{
    return number < COUNT(odd) ? odd[number] : longest[number - COUNT(odd)];
}

/* As long as a key may be: they differ in the last byte, in the first, and in length. */
static void make_long_keys(void)
{
    for (int i = 0; i < LONG; i++)
        memset(longest[i], 'k', DSS_KEY_MAX);
    longest[1][DSS_KEY_MAX - 1] = 'K';
    longest[2][0] = '\xff';
    longest[3][DSS_KEY_MAX - 1] = '\0';
}

static void check_keys(void)
{
    const size_t count = COUNT(odd) + LONG;
    size_t others = keys_of(&handle, NULL);
    char text[16];

    make_long_keys();
    for (size_t i = 0; i < count; i++) {
        check_text(&handle, key_of(i), NULL);
        snprintf(text, sizeof(text), "value %zu", i);
        set_text(&handle, key_of(i), text);
    }
    CHECK(keys_of(&handle, NULL) == others + count);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "value %zu", i);
        check_text(&handle, key_of(i), text);
    }
    for (size_t i = 0; i < count; i++) {
        CHECK_RC(delete_key(&handle, key_of(i)), 0);
        CHECK_RC(delete_key(&handle, key_of(i)), -ENOENT);
        CHECK(keys_of(&handle, NULL) == others + count - 1 - i);
    }
}

/* A value may have the name of its lock; neither knows of the other. */
static void check_lock_of_that_name(void)
{
    struct dss_grant grant = take(&handle, "both", "ann", 0, 0);
    uint64_t version;

    check_text(&handle, "both", NULL);
    version = set_text(&handle, "both", "value");
    CHECK(token_of(&handle, "both") == grant.token);
    CHECK_RC(dss_lock_refresh(&handle, "both", "ann"), 0);
    check_value(&handle, "both", "value", 5, version);
    CHECK_RC(delete_key(&handle, "both"), 0);
    test_check_owner(&handle, "both", "ann");
    set_text(&handle, "both", "again");
    CHECK_RC(dss_unlock(&handle, "both", "ann"), 0);
    check_text(&handle, "both", "again");
    clear(&handle);
    check_text(&handle, "both", "again");
    CHECK_RC(delete_key(&handle, "both"), 0);
}

/* ---- A store that was closed ------------------------------------------------------------------------------------- */

static void check_stays(void)
{
    char *bytes = bytes_of(DSS_VALUE_MAX, 3);
    uint64_t version = set_value(&handle, "stays", bytes, DSS_VALUE_MAX), empty = set_value(&handle, "empty", "", 0);
    struct dss_handle other;

    if (test_store_is("memory"))
        CHECK_RC(dss_init_uri(&other, test_uri()), 0); /* gone with the last of its handles */
    dss_fini(&handle);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_value(&handle, "stays", bytes, DSS_VALUE_MAX, version);
    check_value(&handle, "empty", "", 0, empty);
    if (test_store_is("memory"))
        dss_fini(&other);
    free(bytes);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_sizes();
    check_too_large();
    check_copies();
    check_outputs();
    check_nothing_there();
    check_delete();
    check_keys();
    check_lock_of_that_name();
    check_stays();
    dss_fini(&handle);
    return 0;
}
