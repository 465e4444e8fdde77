/*
 * A counter that gives the fence before the row is won gives the lower one to whoever wins later: under two dozen clients the
 * fence of a drive went back, eleven times in 3,630 grants.
 *
 * Proves: the tokens of two ids never go back and never repeat, over 10,000 grants to 24 processes which wait for them or try
 * them, and release them in every way; and each process gets its share.
 *
 *   many_clients [grants]
 */
#include "contention/contention.h"

#define WORKERS 24
#define IDS 2
#define GRANTS 10000

struct scene {
    int goal;
    _Atomic int grants;
    _Atomic int of[WORKERS];
    struct {
        _Atomic int holder;
        _Atomic uint64_t token;
    } ids[IDS];
};

static struct scene *scene;
static const char *const names[IDS] = {"drive 0", "drive 1"};

static int release(struct dss_handle *handle, const char *id, const char *owner, uint64_t token, unsigned way)
{
    switch (way % 3) {
    case 0:
        return dss_unlock(handle, id, owner);
    case 1:
        return dss_unlock(handle, id, NULL);
    default:
        return dss_unlockv(handle, &id, 1, owner, &token, NULL);
    }
}

/* The holder alone looks at the last token, and leaves its own there. */
static void be_inside(int place, int number, uint64_t token)
{
    CHECK(atomic_exchange(&scene->ids[place].holder, number) == 0);
    CHECK(atomic_exchange(&scene->ids[place].token, token) < token);
    CHECK(atomic_exchange(&scene->ids[place].holder, 0) == number);
}

static void work(void *arg)
{
    int number = 1 + (int)((_Atomic int *)arg - scene->of);
    unsigned seed = (unsigned)number;
    struct dss_handle handle;
    struct dss_grant grant;
    char owner[32];

    snprintf(owner, sizeof(owner), "client %d", number);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    while (atomic_load(&scene->grants) < scene->goal) {
        int place = rand_r(&seed) % IDS, wait_ms = rand_r(&seed) % 4 == 0 ? 0 : -1;
        int rc = lock_waiting(&handle, names[place], owner, wait_ms, &grant);

        if (rc != 0) {
            CHECK_RC(rc, wait_ms == 0 ? -EEXIST : 0);
            continue;
        }
        be_inside(place, number, grant.token);
        CHECK_RC(release(&handle, names[place], owner, grant.token, (unsigned)rand_r(&seed)), 0);
        atomic_fetch_add(&scene->grants, 1);
        atomic_fetch_add(&scene->of[number - 1], 1);
    }
    dss_fini(&handle);
}

int main(int count, char **arguments)
{
    pid_t children[WORKERS];
    int least = INT32_MAX, most = 0;
    double begin = test_seconds();

    watchdog(600);
    (void)test_uri();
    scene = shared_memory(sizeof(*scene));
    scene->goal = test_amount(count > 1 ? atoi(arguments[1]) : GRANTS);
    for (int i = 0; i < WORKERS; i++)
        children[i] = spawn(work, &scene->of[i]);
    test_join_all(children, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        least = scene->of[i] < least ? scene->of[i] : least;
        most = scene->of[i] > most ? scene->of[i] : most;
    }
    fprintf(stderr, "%d grants in %.1f s; of one process %d to %d\n", scene->grants, test_seconds() - begin, least, most);
    CHECK(scene->grants >= scene->goal);
    CHECK(least * WORKERS * 10 >= scene->goal);
    return 0;
}
