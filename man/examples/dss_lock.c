/* One of several daemons moves a tape; the others leave it alone. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

static int move_tape(struct dss_handle *dss, const char *owner)
{
    int rc = dss_lock(dss, "tape/B00042", owner);

    switch (rc) {
    case 0:
        puts("the tape is ours");
        return dss_unlock(dss, "tape/B00042", owner);
    case -EEXIST: /* says who holds it, and since when */
        printf("left alone: %s\n", dss_last_error());
        return 0;
    case -EINPROGRESS: /* unknown, but we do not hold it: what was taken is released by itself */
    case -EBUSY:
    case -ENOTCONN: /* nothing was done: try again later */
        printf("later: %s\n", dss_last_error());
        return 0;
    default:
        fprintf(stderr, "tape/B00042: %s\n", dss_last_error());
        return rc;
    }
}

int main(void)
{
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0) {
        rc = move_tape(&dss, "mover@host7");
        dss_fini(&dss);
    }
    return rc != 0;
}
