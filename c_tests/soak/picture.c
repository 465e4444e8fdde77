/*
 * Draws what soak.c has written: for each store a line in each plot.
 *
 *   picture FILE.svg STORE FILE.csv [STORE FILE.csv]...
 */
#include "drawing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STORES 4
#define MOST_SAMPLES 1000
#define FIGURES 9 /* in a line of a file */
#define PLOTS 4

static const struct look looks[MOST_STORES] = {{"#0072b2", 0}, {"#d55e00", 1}, {"#009e73", 2}, {"#7a3e9d", 3}};

static const struct kind {
    const char *title, *label;
    int column;
    double unit;
    int log;
} kinds[PLOTS] = {
    {"Memory of the process that is looked at", "MiB", 1, 1024, 0},
    {"Its descriptors", "number", 2, 1, 0},
    {"The log of the SQLite file", "KiB", 4, 1, 0},
    {"A lock and unlock of its own, median", "ms", 5, 1000, 1},
};

struct run {
    const char *store;
    int count;
    double figures[MOST_SAMPLES][FIGURES];
};

static struct run runs[MOST_STORES];
static int run_count;

static void read_run(const char *store, const char *path)
{
    struct run *run = &runs[run_count++];
    FILE *file = fopen(path, "r");
    char line[512];

    run->store = store;
    if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
        perror(path);
        exit(1);
    }
    while (run->count < MOST_SAMPLES && fgets(line, sizeof(line), file) != NULL) {
        char *rest = line;

        for (int i = 0; i < FIGURES; i++, rest += *rest == ',')
            run->figures[run->count][i] = strtod(rest, &rest);
        run->count++;
    }
    fclose(file);
}

static double value_of(const struct kind *kind, const struct run *run, int sample)
{
    return run->figures[sample][kind->column] / kind->unit;
}

static double greatest(const struct kind *kind)
{
    double most = 0;

    for (int i = 0; i < run_count; i++) {
        for (int j = 0; j < runs[i].count; j++)
            most = fmax(most, value_of(kind, &runs[i], j));
    }
    return most;
}

static void draw_ticks(const struct plot *plot, double minutes)
{
    char text[32];

    for (int i = 0; i <= 6; i++) {
        snprintf(text, sizeof(text), "%g", minutes * i / 6);
        draw_x_tick(plot, minutes * i / 6, text);
    }
    if (plot->y.log) {
        for (double value = plot->y.from; value <= plot->y.to * 1.01; value *= 10) {
            snprintf(text, sizeof(text), "%g", value);
            draw_y_tick(plot, value, text);
        }
        return;
    }
    for (int i = 0; i <= 4; i++) {
        snprintf(text, sizeof(text), "%.3g", plot->y.to * i / 4);
        draw_y_tick(plot, plot->y.to * i / 4, text);
    }
}

static void draw_plot(FILE *file, int number, double minutes)
{
    const struct kind *kind = &kinds[number];
    struct plot plot = {.file = file, .left = 90 + 500 * (number % 2), .top = 90 + 330 * (number / 2), .width = 380,
                        .height = 220, .x = {0, minutes, false}, .y = {0, 1, false}};
    double most = greatest(kind);

    plot.y.to = most > 0 ? most * 1.25 : 1;
    if (kind->log)
        plot.y = (struct axis){0.01, 100, true};
    draw_ticks(&plot, minutes);
    draw_frame(&plot, kind->title, "minutes", kind->label);
    for (int i = 0; i < run_count; i++) {
        struct point points[MOST_SAMPLES];

        if (kind->column == 4 && strcmp(runs[i].store, "sqlite") != 0)
            continue;
        for (int j = 0; j < runs[i].count; j++)
            points[j] = (struct point){runs[i].figures[j][0] / 60, value_of(kind, &runs[i], j)};
        draw_line(&plot, points, runs[i].count, &looks[i]);
    }
}

int main(int argc, char **argv)
{
    double minutes = 0;
    FILE *file;

    if (argc < 4 || argc > 2 + 2 * MOST_STORES || argc % 2 != 0) {
        fprintf(stderr, "usage: picture FILE.svg STORE FILE.csv ...\n");
        return 2;
    }
    for (int i = 2; i < argc; i += 2)
        read_run(argv[i], argv[i + 1]);
    for (int i = 0; i < run_count; i++)
        minutes = fmax(minutes, runs[i].figures[runs[i].count - 1][0] / 60);
    file = fopen(argv[1], "w");
    if (file == NULL) {
        perror(argv[1]);
        return 1;
    }
    fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1020 740\" font-family=\"sans-serif\">\n"
          "<rect width=\"1020\" height=\"740\" fill=\"#ffffff\"/>\n", file);
    for (int i = 0; i < run_count; i++)
        draw_key(file, 90 + 160 * i, 30, &looks[i], runs[i].store);
    for (int i = 0; i < PLOTS; i++)
        draw_plot(file, i, minutes);
    fputs("</svg>\n", file);
    return fclose(file) == 0 ? 0 : 1;
}
