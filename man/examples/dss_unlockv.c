/* Releases what is left of two locks, and looks at what became of each. */
#include <dss.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
    const char *const ids[] = {"drive3", "tape/B00042"};
    struct dss_grant grants[2];
    struct dss_handle dss;
    int rcs[2], rc = dss_init(&dss);

    if (rc == 0 && (rc = dss_lockv(&dss, ids, 2, "mover-7", NULL, grants)) == 0) {
        uint64_t tokens[2] = {grants[0].token, grants[1].token};

        rc = dss_unlock(&dss, "drive3", "mover-7");
        if (rc == 0 && dss_unlockv(&dss, ids, 2, "mover-7", tokens, rcs) == -ENOLCK) /* the first that failed */
            for (int i = 0; i < 2; i++)
                printf("%s: %s\n", ids[i], rcs[i] == 0 ? "released" : dss_strerror(rcs[i]));
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", dss_last_error());
    dss_fini(&dss);
    return rc != 0;
}
