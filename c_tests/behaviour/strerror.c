/*
 * Proves: dss_strerror() has a fixed text of its own for success and for each errno that the contract names, and
 * something sensible for every other number.
 */
#include <limits.h>

#include "test.h"

static const int codes[] = {
    0, -EEXIST, -ENOLCK, -EACCES, -ESTALE, -ETIMEDOUT, -EINTR, -EAGAIN, -ENOENT, -EINVAL, -ENAMETOOLONG, -E2BIG,
    -EFBIG, -ERANGE, -EPERM, -EBADF, -ECHILD, -EBUSY, -ENOTCONN, -EMLINK, -EIDRM, -EINPROGRESS, -EIO, -ENOSPC, -EROFS,
    -EDQUOT, -EMFILE, -EUCLEAN, -EPROTONOSUPPORT, -EREMOTE, -ENOMEM, -ENOTRECOVERABLE,
};

#define CODES (sizeof(codes) / sizeof(codes[0]))

/* One line of printable ASCII, as a text for a log has to be. */
static void check_printable(const char *text)
{
    const char *c;

    CHECK(text != NULL && text[0] != '\0');
    for (c = text; *c != '\0'; c++)
        CHECK(*c >= 0x20 && *c < 0x7f);
}

static void check_known(void)
{
    const char *texts[CODES], *unknown = dss_strerror(-100000);
    size_t i, j;

    for (i = 0; i < CODES; i++) {
        texts[i] = dss_strerror(codes[i]);
        check_printable(texts[i]);
        CHECK(strcmp(texts[i], unknown) != 0);
        for (j = 0; j < i; j++) {
            if (strcmp(texts[i], texts[j]) == 0) {
                fprintf(stderr, "%d and %d have the same text: %s\n", codes[i], codes[j], texts[i]);
                exit(1);
            }
        }
    }
    /* The text stays where it is, so that a caller may keep the pointer. */
    for (i = 0; i < CODES; i++)
        CHECK(dss_strerror(codes[i]) == texts[i]);
}

static void check_others(void)
{
    static const int others[] = { INT_MIN, INT_MIN + 1, INT_MAX, -100000, -4096, -1, 1, 100000 };
    size_t i;
    int rc;

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        check_printable(dss_strerror(others[i]));
        CHECK(dss_strerror(others[i]) == dss_strerror(others[i]));
        CHECK(strcmp(dss_strerror(others[i]), dss_strerror(0)) != 0);
    }
    for (rc = -5000; rc <= 5000; rc++)
        check_printable(dss_strerror(rc));
}

int main(void)
{
    check_known();
    check_others();
    /* It says what an errno means and is not itself a failure. */
    CHECK(strcmp(dss_last_error(), "") == 0);
    return 0;
}
