/* What to do about each event of a lock that the library renews. */
#include <dss.h>
#include <inttypes.h>
#include <stdio.h>

static void take_events(struct dss_handle *dss)
{
    struct dss_event event;

    while (dss_event_next(dss, &event) == 1) {
        switch (event.type) {
        case DSS_EVENT_AT_RISK: /* the store does not answer: begin nothing that must not be half done */
            printf("%s: %" PRId64 " ms left\n", event.lock_id, event.left_ms);
            break;
        case DSS_EVENT_SAFE:
            printf("%s: renewed again\n", event.lock_id);
            break;
        case DSS_EVENT_LOST: /* stop at once; the reason is one of DSS_REASON_... */
            printf("%s: lost, token %" PRIu64 ", reason %u\n", event.lock_id, event.token, (unsigned)event.reason);
            break;
        }
    }
}

int main(void)
{
    const char *drive = "drive3";
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = 30000};
    struct dss_handle dss;
    int rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lockv(&dss, &drive, 1, "mover-7", &opts, NULL)) == 0) {
        take_events(&dss); /* whenever dss_event_fd() is readable, or between the steps of the work */
        rc = dss_unlock(&dss, drive, "mover-7");
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
