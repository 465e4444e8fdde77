/*
 * How many lock+unlock pairs a second one thread makes: libdss beside hand-written C on the same SQLite.
 *
 *   pairs ROUNDS SECONDS NAME=FOLDER...
 *
 * In each round every contender works for so many seconds, one after the other, and each round begins with another
 * one, so that whatever else the machine does meets all of them alike. A ratio is taken within a round; the table
 * shows the median of the rounds.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "contender.h"

#define CONTENDERS 2
#define MAX_ROUNDS 99
#define WARM_UP_S 0.3

static const struct contender *const contenders[CONTENDERS] = { &libdss, &handwritten };

/* The pairs per second of every contender in every round on one folder. */
struct result {
    double rates[CONTENDERS][MAX_ROUNDS];
};

static void die(const char *who, const char *what)
{
    fprintf(stderr, "pairs: %s: %s\n", who, what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Locks and unlocks for a while; the pairs per second. */
static double work(const struct contender *contender, void *store, double seconds)
{
    const double begun = now_s();
    double spent;
    long pairs = 0;

    do {
        if (contender->lock(store, "drive/LTO-3", "bench") != 0)
            die(contender->name, "lock failed");
        if (contender->unlock(store, "drive/LTO-3", "bench") != 0)
            die(contender->name, "unlock failed");
        pairs++;
        spent = now_s() - begun;
    } while (spent < seconds);
    return (double)pairs / spent;
}

/* On a terminal alone: a log has no use for it. */
static void show_progress(const char *name, int round, int rounds)
{
    if (!isatty(STDERR_FILENO))
        return;
    if (round < rounds)
        fprintf(stderr, "\r%s: round %d of %d", name, round + 1, rounds);
    else
        fprintf(stderr, "\r%40s\r", "");
}

static void *open_in(const struct contender *contender, const char *folder)
{
    char path[4096];
    void *store;

    snprintf(path, sizeof(path), "%s/%s.db", folder, contender->name);
    store = contender->open(path);
    if (store == NULL)
        die(contender->name, "can not open its store");
    work(contender, store, WARM_UP_S);
    return store;
}

static void measure(const char *name, const char *folder, int rounds, double seconds, struct result *ret_result)
{
    void *stores[CONTENDERS];

    for (int i = 0; i < CONTENDERS; i++)
        stores[i] = open_in(contenders[i], folder);
    for (int round = 0; round < rounds; round++) {
        show_progress(name, round, rounds);
        for (int turn = 0; turn < CONTENDERS; turn++) {
            int i = (round + turn) % CONTENDERS;

            ret_result->rates[i][round] = work(contenders[i], stores[i], seconds);
        }
    }
    show_progress(name, rounds, rounds);
    for (int i = 0; i < CONTENDERS; i++)
        contenders[i]->close(stores[i]);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static double median(const double *sorted, int count)
{
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void print_row(const char *name, const char *what, int decimals, double *numbers, int count)
{
    qsort(numbers, (size_t)count, sizeof(*numbers), by_size);
    printf("%-10s %-22s%12.*f%12.*f%12.*f\n", name, what, decimals, median(numbers, count), decimals, numbers[0],
           decimals, numbers[count - 1]);
}

static void print_result(const char *name, int rounds, struct result *result)
{
    double ratios[MAX_ROUNDS];

    for (int round = 0; round < rounds; round++)
        ratios[round] = result->rates[0][round] / result->rates[1][round];
    for (int i = 0; i < CONTENDERS; i++)
        print_row(name, contenders[i]->name, 0, result->rates[i], rounds);
    print_row(name, "libdss / handwritten", 2, ratios, rounds);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    double seconds = argc > 2 ? atof(argv[2]) : 0;
    static struct result result;

    if (argc < 4 || rounds < 1 || rounds > MAX_ROUNDS || seconds <= 0)
        die("usage", "pairs ROUNDS SECONDS NAME=FOLDER...");
    printf("lock+unlock pairs per second, 1 thread, 1 id, durable; %d rounds of %g s each\n\n", rounds, seconds);
    printf("%-10s %-22s%12s%12s%12s\n", "store on", "contender", "median", "min", "max");
    for (int i = 3; i < argc; i++) {
        char *folder = strchr(argv[i], '=');

        if (folder == NULL)
            die(argv[i], "not of the form NAME=FOLDER");
        *folder++ = '\0';
        measure(argv[i], folder, rounds, seconds, &result);
        print_result(argv[i], rounds, &result);
        fflush(stdout);
    }
    return 0;
}
