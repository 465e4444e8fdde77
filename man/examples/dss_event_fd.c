/* An event loop that hears when a lock which the library renews is at risk or lost. */
#include <dss.h>
#include <poll.h>
#include <stdio.h>

int main(void)
{
    const char *drive = "drive3";
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = 3000};
    struct dss_handle dss, other;
    struct dss_event event;
    struct pollfd fd = {.events = POLLIN};
    int rc = dss_init(&dss), lost = 0;

    if (rc == 0 && (rc = dss_lockv(&dss, &drive, 1, "mover-7", &opts, NULL)) == 0) {
        fd.fd = dss_event_fd(&dss);
        if ((rc = dss_init(&other)) == 0) { /* somebody else, who takes the lock away by force meanwhile */
            dss_unlock(&other, drive, NULL);
            dss_fini(&other);
        }
        while (!lost && poll(&fd, 1, 10000) > 0) /* and the descriptors of your own work */
            while (dss_event_next(&dss, &event) == 1)
                lost |= event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_FORCED;
        puts(lost ? "somebody took the lock away: stop using the drive" : "no news");
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0 || !lost;
}
