/*
 * Proves: names are any bytes but NUL, compared byte by byte. What looks like SQL, a printf format, broken UTF-8 or
 * white space is an ordinary name, names that differ in anything are different locks, and the owner comes back as is.
 */
#include "test.h"

#define ID_MAX 2048
#define OWNER_MAX 256
#define NAMES_MAX 64

static char *names[NAMES_MAX];
static size_t names_count;

static void add(const char *name)
{
    CHECK(names_count < NAMES_MAX);
    names[names_count] = strdup(name);
    CHECK(names[names_count] != NULL);
    names_count++;
}

/* A name as long as allowed, all of one byte but for the last. */
static void add_longest(char last)
{
    char name[ID_MAX + 1];

    memset(name, 'x', ID_MAX);
    name[ID_MAX - 1] = last;
    name[ID_MAX] = '\0';
    add(name);
}

static void add_every_byte(void)
{
    char name[256];
    int byte;

    for (byte = 1; byte < 256; byte++)
        name[byte - 1] = (char)byte;
    name[255] = '\0';
    add(name);
}

static void make_names(void)
{
    static const char *const plain[] = {
        "'; DROP TABLE lock;--", "\"; DROP TABLE lock;--", "' OR '1'='1", "x'41'", "?1", ":id", "$1", "@id",
        "%s%n", "%s%s%s%s%s%s", "%", "%%", "_", "*", "[a-z]", "\\", "\\0", "\\x41", "/", "../../etc/passwd", "NULL",
        "\xff\xfe", "\xff", "\xc3", "\xc3\xa9", "e\xcc\x81", "\xc0\x80", "\xed\xa0\x80", "\xf0\x9f\x94\x92",
        "\xe2\x80\xae",
        "\n", "\r\n", "\t", " ", "  ", "\x01", "\x1b[31m", "\x7f",
        "name", "Name", "NAME", "name ", " name", "name\n", "nam", "names",
        "stra\xc3\x9f" "e", "strasse", "1", "1.0", "01", "1e0",
    };
    size_t i;

    for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        add(plain[i]);
    add_longest('x');
    add_longest('y');
    add_longest('X');
    add_longest('\xff');
    add_every_byte();
}

/* The owner of a name's lock: the name itself as far as an owner's limit allows. */
static const char *owner_of(size_t index)
{
    static char owner[OWNER_MAX + 1];

    snprintf(owner, sizeof(owner), "%s", names[index]);
    return owner;
}

int main(void)
{
    struct dss_handle handle;
    size_t i, j;

    make_names();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);

    /* Were two of the names one lock, the later one would be refused here. */
    for (i = 0; i < names_count; i++)
        CHECK_RC(dss_lock(&handle, names[i], owner_of(i)), 0);

    for (i = 0; i < names_count; i++) {
        test_check_owner(&handle, names[i], owner_of(i));
        CHECK_RC(dss_lock_refresh(&handle, names[i], owner_of(i)), 0);
        CHECK_RC(dss_lock(&handle, names[i], owner_of(i)), -EEXIST);
    }

    /* Owners are compared in the same way; those of the longest names alone are cut to the same string. */
    for (j = 1; j < names_count; j++) {
        if (strcmp(names[0], owner_of(j)) == 0)
            continue;
        CHECK_RC(dss_lock_refresh(&handle, names[0], owner_of(j)), -EACCES);
        CHECK_RC(dss_unlock(&handle, names[0], owner_of(j)), -EACCES);
    }
    for (i = 0; i < names_count; i++) {
        char other_case[OWNER_MAX + 1];

        snprintf(other_case, sizeof(other_case), "%s", owner_of(i));
        other_case[0] ^= 0x20;
        if (other_case[0] != '\0')
            CHECK_RC(dss_unlock(&handle, names[i], other_case), -EACCES);
    }

    /* Each unlock takes away its own lock and no other. */
    for (i = 0; i < names_count; i++) {
        CHECK_RC(dss_unlock(&handle, names[i], owner_of(i)), 0);
        test_check_owner(&handle, names[i], NULL);
        for (j = i + 1; j < names_count; j++)
            test_check_owner(&handle, names[j], owner_of(j));
    }

    dss_fini(&handle);
    for (i = 0; i < names_count; i++)
        free(names[i]);
    return 0;
}
