/*
 * Proves: each of the four calls does and returns what the contract's table says, for a lock that does not exist, is
 * held by the same owner or is held by another one, whichever handle took it; and a call that fails changes nothing.
 */
#include "test.h"

#define ID "tape:A00001"
#define HOLDER "drive-1"
#define OTHER "drive-2"

enum call { LOCK, REFRESH, UNLOCK };
enum stamp { GONE, SAME, NEWER, FRESH };

/* One cell: whether HOLDER has the lock, who calls what, and what has to be there afterwards. */
struct cell {
    const char *name;
    enum call call;
    int held;
    const char *caller;
    int rc;
    const char *holder_after;
    enum stamp stamp_after;
};

static const struct cell cells[] = {
    { "lock a free one", LOCK, 0, OTHER, 0, OTHER, FRESH },
    { "lock one's own", LOCK, 1, HOLDER, -EEXIST, HOLDER, SAME },
    { "lock another's", LOCK, 1, OTHER, -EEXIST, HOLDER, SAME },
    { "lock a free one for nobody", LOCK, 0, NULL, -EINVAL, NULL, GONE },
    { "lock a held one for nobody", LOCK, 1, NULL, -EINVAL, HOLDER, SAME },

    { "refresh a free one", REFRESH, 0, HOLDER, -ENOLCK, NULL, GONE },
    { "refresh one's own", REFRESH, 1, HOLDER, 0, HOLDER, NEWER },
    { "refresh another's", REFRESH, 1, OTHER, -EACCES, HOLDER, SAME },
    { "refresh a free one for nobody", REFRESH, 0, NULL, -EINVAL, NULL, GONE },
    { "refresh a held one for nobody", REFRESH, 1, NULL, -EINVAL, HOLDER, SAME },

    { "unlock a free one", UNLOCK, 0, HOLDER, -ENOLCK, NULL, GONE },
    { "unlock one's own", UNLOCK, 1, HOLDER, 0, NULL, GONE },
    { "unlock another's", UNLOCK, 1, OTHER, -EACCES, HOLDER, SAME },
    { "unlock a free one by force", UNLOCK, 0, NULL, -ENOLCK, NULL, GONE },
    { "unlock a held one by force", UNLOCK, 1, NULL, 0, NULL, GONE },
};

static int make_call(struct dss_handle *handle, enum call call, const char *owner)
{
    switch (call) {
    case LOCK:
        return dss_lock(handle, ID, owner);
    case REFRESH:
        return dss_lock_refresh(handle, ID, owner);
    default:
        return dss_unlock(handle, ID, owner);
    }
}

static int64_t stamp_of(struct dss_handle *handle)
{
    struct timeval stamp;

    CHECK_RC(dss_lock_status(handle, ID, NULL, &stamp), 0);
    return test_microseconds(stamp);
}

/* Brings about the state of the cell through one handle, calls through another and looks through a third. */
static void check_cell(const struct cell *cell, struct dss_handle *taker, struct dss_handle *caller,
                       struct dss_handle *witness)
{
    int64_t before = 0;

    fprintf(stderr, "%s\n", cell->name);
    if (cell->held) {
        CHECK_RC(dss_lock(taker, ID, HOLDER), 0);
        before = stamp_of(witness);
    }

    CHECK_RC(make_call(caller, cell->call, cell->caller), cell->rc);

    test_check_owner(witness, ID, cell->holder_after);
    test_check_owner(caller, ID, cell->holder_after);
    if (cell->stamp_after == SAME)
        CHECK(stamp_of(witness) == before);
    if (cell->stamp_after == NEWER)
        CHECK(stamp_of(witness) > before);
    if (cell->stamp_after == FRESH)
        CHECK(stamp_of(witness) > 0);

    if (cell->holder_after != NULL)
        CHECK_RC(dss_unlock(taker, ID, cell->holder_after), 0);
    test_check_owner(witness, ID, NULL);
}

/* The row of dss_lock_status() itself: through the handle that took the lock and through one that did not. */
static void check_status(struct dss_handle *taker, struct dss_handle *witness)
{
    struct dss_handle *handles[] = { taker, witness };
    struct timeval stamp;
    char *owner;
    size_t i;

    for (i = 0; i < 2; i++) {
        owner = (char *)&stamp;
        CHECK_RC(dss_lock_status(handles[i], ID, &owner, &stamp), -ENOLCK);
        CHECK(owner == NULL);
    }
    CHECK_RC(dss_lock(taker, ID, HOLDER), 0);
    for (i = 0; i < 2; i++) {
        CHECK_RC(dss_lock_status(handles[i], ID, &owner, &stamp), 0);
        CHECK(strcmp(owner, HOLDER) == 0);
        CHECK(stamp.tv_sec > 0);
        free(owner);
    }
    CHECK_RC(dss_unlock(taker, ID, HOLDER), 0);
}

int main(void)
{
    struct dss_handle one, two, three;
    size_t i;

    CHECK_RC(dss_init_uri(&one, test_uri()), 0);
    CHECK_RC(dss_init_uri(&two, test_uri()), 0);
    CHECK_RC(dss_init_uri(&three, test_uri()), 0);
    for (i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        check_cell(&cells[i], &one, &one, &one);
        check_cell(&cells[i], &one, &two, &three);
    }
    check_status(&one, &two);
    dss_fini(&three);
    dss_fini(&two);
    dss_fini(&one);
    return 0;
}
