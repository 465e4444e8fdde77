/*
 * Proves: of processes that do nothing but lock and unlock, each gets its share. Those whose requests others can't do for
 * them, since they are about several locks or too long, get turns of their own and are not left behind.
 */
#include "crew.h"

#include <limits.h>

#define SECONDS 4
#define WITH_SETS 6 /* from this member on they want sets */
#define LONG_ID 7

static void take_one(struct dss_handle *handle, const char *id)
{
    const char *ids[] = {id};
    struct ask ask = {.ids = ids, .count = 1, .owner = "member"};

    CHECK_RC(lock_set(handle, &ask, NULL), 0);
    CHECK_RC(dss_unlockv(handle, ids, 1, "member", NULL, NULL), 0);
}

static void take_several(struct dss_handle *handle)
{
    const char *ids[] = {"a of the sets", "b of the sets", "c of the sets"};
    struct ask ask = {.ids = ids, .count = 3, .owner = "member"};

    CHECK_RC(lock_set(handle, &ask, NULL), 0);
    CHECK_RC(dss_unlockv(handle, ids, 3, "member", NULL, NULL), 0);
}

static void take_and_release(void *arg)
{
    struct crew *crew = arg;
    int number = own_number(crew);
    struct dss_handle handle;
    char id[2049];

    memset(id, 'i', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    if (number != LONG_ID)
        snprintf(id, sizeof(id), "of member %d", number);
    CHECK_RC(dss_init_uri(&handle, crew->uri), 0);
    while (!atomic_load(&crew->stop)) {
        if (number == WITH_SETS)
            take_several(&handle);
        else
            take_one(&handle, id);
        atomic_fetch_add(&crew->members[number].rounds, 1);
    }
    dss_fini(&handle);
}

int main(void)
{
    struct timespec length = {SECONDS, 0};
    long least = LONG_MAX, most = 0;
    struct crew *crew;

    watchdog(HANGS_AFTER_S);
    crew = crew_of(test_uri());
    for (int i = 0; i < CREW; i++)
        start_member(crew, i, take_and_release);
    CHECK(nanosleep(&length, NULL) == 0);
    dismiss(crew);
    for (int i = 0; i < CREW; i++) {
        long rounds = atomic_load(&crew->members[i].rounds);

        printf("member %d: %ld\n", i, rounds);
        if (i < WITH_SETS) {
            least = rounds < least ? rounds : least;
            most = rounds > most ? rounds : most;
        }
    }
    /*
     * The slowest of equals. On SQLite the library gives the turns; on a server each process has a connection of its own,
     * and on a busy machine the kernel gives one server process or the other three times as much processor time.
     */
    CHECK(least * (test_store_is("sqlite") ? 2 : 10) > most);
    CHECK(atomic_load(&crew->members[WITH_SETS].rounds) * 10 > most);
    CHECK(atomic_load(&crew->members[LONG_ID].rounds) * 10 > most);
    return 0;
}
