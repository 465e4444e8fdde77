/*
 * Proves: dss_last_error() tells the calling thread about its own last failure, and about nothing else: which lock,
 * who holds it, since when and what to do, in text that can go to a log as it is.
 */
#include <pthread.h>

#include "test.h"

#define ID "tape:LTO-0042"
#define HOLDER "robot-arm-3"

static void check_contains(const char *part)
{
    if (strstr(dss_last_error(), part) == NULL) {
        fprintf(stderr, "there is no '%s' in: %s\n", part, dss_last_error());
        exit(1);
    }
}

/* Length of the well-formed UTF-8 character at the start of the text, 0 if it is not one. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 :
                    text[0] < 0xf5 ? 4 : 0;
    size_t i;

    for (i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

/* Valid UTF-8 without control characters: ASCII's, DEL and those from U+0080 to U+009F. */
static void check_clean(const char *message)
{
    const unsigned char *text = (const unsigned char *)message;
    size_t length;

    for (; *text != '\0'; text += length) {
        length = utf8_length(text);
        if (length == 0 || *text < 0x20 || *text == 0x7f || (text[0] == 0xc2 && text[1] < 0xa0)) {
            fprintf(stderr, "byte 0x%02x in: %s\n", (unsigned int)*text, message);
            exit(1);
        }
    }
}

static void *check_silent_thread(void *arg)
{
    struct dss_handle *handle = arg;

    CHECK(strcmp(dss_last_error(), "") == 0);
    CHECK_RC(dss_lock_status(handle, ID, NULL, NULL), 0);
    CHECK(strcmp(dss_last_error(), "") == 0);
    CHECK_RC(dss_unlock(handle, "of-the-other-thread", NULL), -ENOLCK);
    check_contains("of-the-other-thread");
    return NULL;
}

static void check_content(struct dss_handle *handle)
{
    struct timeval stamp;
    struct tm utc;
    char day[32];

    CHECK_RC(dss_lock_status(handle, ID, NULL, &stamp), 0);
    CHECK(gmtime_r(&stamp.tv_sec, &utc) != NULL);
    CHECK(strftime(day, sizeof(day), "%Y-%m-%d", &utc) > 0);

    CHECK_RC(dss_lock(handle, ID, "somebody-else"), -EEXIST);
    check_contains(ID);
    check_contains(HOLDER);
    check_contains(day);
    check_contains("unlock");

    CHECK_RC(dss_unlock(handle, ID, "somebody-else"), -EACCES);
    check_contains(ID);
    check_contains(HOLDER);
    CHECK_RC(dss_lock_refresh(handle, ID, "somebody-else"), -EACCES);
    check_contains(ID);
    check_contains(HOLDER);
    CHECK_RC(dss_lock_status(handle, "nowhere-to-be-found", NULL, NULL), -ENOLCK);
    check_contains("nowhere-to-be-found");
    CHECK_RC(dss_lock(handle, NULL, "owner"), -EINVAL);
    check_contains("lock_id");
    CHECK_RC(dss_lock(handle, "id", ""), -EINVAL);
    check_contains("lock_owner");
    CHECK_RC(dss_lock(NULL, "id", "owner"), -EBADF);
    CHECK(strlen(dss_last_error()) > 0);
}

/* The text of a failure stays as it is, pointer and all, until the same thread fails again. */
static void check_kept(struct dss_handle *handle)
{
    const char *text;
    char *copy, *owner;
    pthread_t thread;

    CHECK_RC(dss_unlock(handle, "the-failure-to-remember", NULL), -ENOLCK);
    text = dss_last_error();
    copy = strdup(text);
    CHECK(copy != NULL);

    CHECK_RC(dss_lock(handle, "another", "owner"), 0);
    CHECK_RC(dss_lock_refresh(handle, "another", "owner"), 0);
    CHECK_RC(dss_lock_status(handle, "another", &owner, NULL), 0);
    free(owner);
    CHECK_RC(dss_unlock(handle, "another", "owner"), 0);
    (void)dss_strerror(-EEXIST);
    (void)dss_version();
    CHECK(pthread_create(&thread, NULL, check_silent_thread, handle) == 0);
    CHECK(pthread_join(thread, NULL) == 0);

    CHECK(dss_last_error() == text);
    CHECK(strcmp(text, copy) == 0);
    free(copy);
}

static void check_escaped(struct dss_handle *handle)
{
    char every_byte[256], long_id[2049];
    const char *const names[] = {
        "\x1b[31mred", "line one\nline two", "tab\tbell\a", "\xff\xfe", "\xc3", "\xed\xa0\x80", "\xc0\x80",
        "\xc2\x9b" "31m", "del\x7f", "%s%n%s%n", every_byte, long_id,
    };
    size_t i;
    int byte;

    for (byte = 1; byte < 256; byte++)
        every_byte[byte - 1] = (char)byte;
    every_byte[255] = '\0';
    memset(long_id, '\x9b', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char owner[257];

        snprintf(owner, sizeof(owner), "%s", names[i]);
        CHECK_RC(dss_lock(handle, names[i], owner), 0);
        CHECK_RC(dss_lock(handle, names[i], "other"), -EEXIST);
        check_clean(dss_last_error());
        CHECK(strlen(dss_last_error()) > 0);
        CHECK_RC(dss_unlock(handle, names[i], "other"), -EACCES);
        check_clean(dss_last_error());
        CHECK_RC(dss_unlock(handle, names[i], owner), 0);
        CHECK_RC(dss_unlock(handle, names[i], owner), -ENOLCK);
        check_clean(dss_last_error());
    }
    /* Printable text in other scripts is not disfigured. */
    CHECK_RC(dss_unlock(handle, "b\xc3\xa4nder/\xe7\xa3\x81\xe5\xb8\xa6", NULL), -ENOLCK);
    check_contains("b\xc3\xa4nder/\xe7\xa3\x81\xe5\xb8\xa6");

    CHECK(dss_init_uri(&(struct dss_handle){ NULL }, "no\x1bsuch\xff://thing") < 0);
    check_clean(dss_last_error());
}

int main(void)
{
    struct dss_handle handle;

    CHECK(dss_last_error() != NULL && strcmp(dss_last_error(), "") == 0);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, ID, HOLDER), 0);
    CHECK(strcmp(dss_last_error(), "") == 0);

    check_content(&handle);
    check_kept(&handle);
    check_escaped(&handle);
    dss_fini(&handle);
    CHECK(dss_last_error() != NULL);
    return 0;
}
