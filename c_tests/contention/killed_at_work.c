/*
 * Processes do each other's requests: whoever has the write lock does those of the others in its own transaction. So it can
 * be killed with their requests in its hands, before the commit, or after it and before it gave the answers.
 *
 * Proves: those who go on never notice. Each of their calls gives 0, also the release of a lock, which can't be told from
 * one that was done before but by what the store keeps of it. And a process that is dead takes no lock any more.
 *
 *   killed_at_work SECONDS
 */
#include "crew.h"

static void take_and_release(void *arg)
{
    struct crew *crew = arg;
    struct member *own = &crew->members[own_number(crew)];
    struct dss_handle handle;
    char id[32];

    snprintf(id, sizeof(id), "of member %d", (int)(own - crew->members));
    CHECK_RC(dss_init_uri(&handle, crew->uri), 0);
    /* The one before was killed with it, perhaps. */
    CHECK_RC_OR(dss_unlock(&handle, id, NULL), 0, -ENOLCK);
    while (!atomic_load(&crew->stop)) {
        CHECK_RC(dss_lock(&handle, id, "member"), 0);
        CHECK_RC(dss_lock_refresh(&handle, id, "member"), 0);
        CHECK_RC(dss_unlock(&handle, id, "member"), 0);
        CHECK_RC(dss_unlock(&handle, id, "member"), -ENOLCK);
        CHECK_RC(dss_lock_status(&handle, id, NULL, NULL), -ENOLCK);
        atomic_fetch_add(&own->rounds, 1);
    }
    dss_fini(&handle);
}

static long rounds_of_all(struct crew *crew)
{
    long rounds = 0;

    for (int i = 0; i < CREW; i++)
        rounds += atomic_load(&crew->members[i].rounds);
    return rounds;
}

/* The crew goes on for a while. (Where one kills itself now and then, that can take a child that is not restarted yet.) */
static void let_others_work(struct crew *crew)
{
    long before = rounds_of_all(crew);
    struct timespec moment = {0, 200000};
    double end = test_seconds() + 0.05;

    while (rounds_of_all(crew) < before + CREW && test_seconds() < end)
        nanosleep(&moment, NULL);
}

/* What a dead process has, it has; and what it has not, it does not get. */
static void nothing_comes_after_death(struct crew *crew, struct dss_handle *observer, int number)
{
    char id[32];
    int rc;

    snprintf(id, sizeof(id), "of member %d", number);
    /* Who was doing its request when it died may end that. */
    let_others_work(crew);
    rc = dss_lock_status(observer, id, NULL, NULL);
    CHECK(rc == 0 || rc == -ENOLCK);
    let_others_work(crew);
    CHECK_RC(dss_lock_status(observer, id, NULL, NULL), rc);
}

/* The end of a child that was killed, or that killed itself. */
static int bury(struct crew *crew, pid_t process, int status)
{
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (int i = 0; i < CREW; i++)
        if (crew->members[i].process == process)
            return i;
    CHECK(!"a child of this process");
    return -1;
}

int main(int argc, char **argv)
{
    double end = test_seconds() + (argc > 1 ? atof(argv[1]) : 5);
    unsigned seed = (unsigned)time(NULL);
    struct dss_handle observer;
    struct crew *crew;
    int status, killed = 0;

    use_files_in_memory();
    watchdog(100);
    crew = crew_of(test_uri());
    for (int i = 0; i < CREW; i++)
        start_member(crew, i, take_and_release);
    CHECK_RC(dss_init_uri(&observer, test_uri()), 0);
    printf("seed %u\n", seed);
    while (test_seconds() < end) {
        pid_t process;
        int number;

        pause_at_random(&seed, 6000);
        kill(crew->members[rand_r(&seed) % CREW].process, SIGKILL);
        while ((process = waitpid(-1, &status, killed == 0 ? 0 : WNOHANG)) > 0) {
            number = bury(crew, process, status);
            killed++;
            if (killed % 4 == 0)
                nothing_comes_after_death(crew, &observer, number);
            start_member(crew, number, take_and_release);
            if (killed == 1)
                break;
        }
    }
    atomic_store(&crew->stop, 1);
    while (wait(&status) > 0)
        CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    dss_fini(&observer);
    printf("%d killed, %ld rounds\n", killed, rounds_of_all(crew));
    CHECK(killed > 50);
    CHECK(rounds_of_all(crew) > 100);
    return 0;
}
