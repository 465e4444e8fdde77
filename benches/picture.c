/* The six plots of the picture, made from what was recorded. What was not measured has an empty plot that says so. */
#include "picture.h"

#include <math.h>
#include <string.h>

#include "contender.h"
#include "crew.h"
#include "drawing.h"
#include "records.h"
#include "workloads.h"

enum { WIDTH = 1100, HEIGHT = 1245, PLOT_WIDTH = 440, PLOT_HEIGHT = 270, MAX_POINTS = BUCKETS + 1 };

/* By Okabe and Ito, so that no two are alike to anybody; one for each contender of a contest. */
static const struct look looks[MAX_CONTENDERS] = {
    { "#0072b2", 0 }, { "#d55e00", 1 }, { "#009e73", 2 }, { "#cc79a7", 3 },
    { "#e69f00", 0 }, { "#56b4e9", 1 }, { "#000000", 2 }, { "#999999", 3 },
};

/* Medians of a contender's rounds over something, with the least and the greatest. */
struct curve {
    struct point middle[MAX_POINTS], low[MAX_POINTS], high[MAX_POINTS];
    int count;
};

static struct plot plot_at(FILE *file, int column, int row)
{
    return (struct plot){
        .file = file,
        .left = 85 + column * 550,
        .top = 145 + row * 375,
        .width = PLOT_WIDTH,
        .height = PLOT_HEIGHT,
    };
}

/* 0.1, 25, 10 k, 1 M. */
static void draw_y_number(const struct plot *plot, double value)
{
    char text[32];

    if (value >= 1e6)
        snprintf(text, sizeof(text), "%g M", value / 1e6);
    else if (value >= 1e3)
        snprintf(text, sizeof(text), "%g k", value / 1e3);
    else
        snprintf(text, sizeof(text), "%g", value);
    draw_y_tick(plot, value, text);
}

static void draw_empty(struct plot plot, const char *title)
{
    plot.x = plot.y = (struct axis){ 0, 1, false };
    draw_frame(&plot, title, "", "");
    draw_text(plot.file, plot.left + PLOT_WIDTH / 2.0, plot.top + PLOT_HEIGHT / 2.0, 14, "middle", "not measured");
}

static void add_point(struct curve *curve, double x, struct summary y)
{
    if (isnan(y.median) || y.median <= 0)
        return;
    curve->middle[curve->count] = (struct point){ x, y.median };
    curve->low[curve->count] = (struct point){ x, y.min };
    curve->high[curve->count] = (struct point){ x, y.max };
    curve->count++;
}

static void draw_curve(const struct plot *plot, const struct curve *curve, const struct look *look)
{
    if (curve->count == 0)
        return;
    draw_band(plot, curve->low, curve->high, curve->count, look);
    draw_line(plot, curve->middle, curve->count, look);
    for (int i = 0; i < curve->count; i++)
        draw_mark(plot, curve->middle[i], look);
}

/* The least and greatest y of all curves. */
static struct axis range_of(const struct curve *curves)
{
    struct axis range = { INFINITY, 0, true };

    for (int i = 0; i < MAX_CONTENDERS; i++) {
        for (int point = 0; point < curves[i].count; point++) {
            double low = curves[i].low[point].y;

            range.from = fmin(range.from, low > 0 ? low : curves[i].middle[point].y);
            range.to = fmax(range.to, curves[i].high[point].y);
        }
    }
    return range;
}

/* One worker is the same as a process and as a thread. */
static void collect_rates(const char *store, bool threads, struct curve *ret_curves)
{
    const struct contest *contest = contest_of(store);

    for (int i = 0; i < workload_count; i++) {
        const struct workload *workload = &workloads[i];

        if (workload->run != run_pairs || strcmp(workload->store, store) != 0 ||
            (workload->workers > 1 && workload->threads != threads))
            continue;
        for (int who = 0; who < contest->count; who++)
            add_point(&ret_curves[who], workload->workers,
                      summarize(workload->name, contest->contenders[who]->name, "pairs_per_s"));
    }
}

static void draw_rates(struct plot plot, const char *title, const char *x_label, const char *store, bool threads)
{
    static struct curve curves[MAX_CONTENDERS];
    char text[16];

    memset(curves, 0, sizeof(curves));
    collect_rates(store, threads, curves);
    plot.y = range_of(curves);
    if (plot.y.to <= 0) {
        draw_empty(plot, title);
        return;
    }
    plot.y.from = pow(10, floor(log10(plot.y.from)));
    plot.y.to = pow(10, ceil(log10(plot.y.to)));
    plot.x = (struct axis){ 0.9, MAX_WORKERS * 1.1, true };
    for (double value = plot.y.from; value <= plot.y.to * 1.01; value *= 10)
        draw_y_number(&plot, value);
    for (int workers = 1; workers <= MAX_WORKERS; workers *= 2) {
        snprintf(text, sizeof(text), "%d", workers);
        draw_x_tick(&plot, workers, text);
    }
    draw_frame(&plot, title, x_label, "lock+unlock pairs a second");
    for (int who = MAX_CONTENDERS - 1; who >= 0; who--)
        draw_curve(&plot, &curves[who], &looks[who]);
}

/* The same with the names of who is there, since those at a server are others than the heading has. */
static void draw_server_rates(struct plot plot, const char *title, const char *store)
{
    const struct contest *contest = contest_of(store);

    draw_rates(plot, title, "threads", store, true);
    for (int who = 0; who < contest->count && contest->count > 1; who++)
        draw_key(plot.file, plot.left + 12, plot.top + 16 + 20 * who, &looks[who], contest->contenders[who]->title);
}

/* Steps down from all calls at the shortest duration to one call at the longest. */
static int collect_latency(const struct histogram *latency, struct point *ret_points)
{
    const double total = (double)histogram_total(latency);
    double slower = total;
    int count = 0;

    for (int i = 0; i < BUCKETS; i++) {
        if (latency->counts[i] == 0)
            continue;
        ret_points[count++] = (struct point){ histogram_bound_us(i), slower / total };
        slower -= (double)latency->counts[i];
    }
    return count;
}

static void draw_latency_axes(const struct plot *plot)
{
    static const char *const durations[] = { "0.1 µs", "1 µs",   "10 µs", "100 µs", "1 ms",
                                             "10 ms",  "100 ms", "1 s",   "10 s" };
    static const char *const shares[] = { "100 %",  "10 %",   "1 %",    "0.1 %",  "0.01 %",
                                          "10⁻³ %", "10⁻⁴ %", "10⁻⁵ %", "10⁻⁶ %", "10⁻⁷ %" };

    for (int i = 0; i < (int)(sizeof(durations) / sizeof(durations[0])); i++) {
        double value = pow(10, i - 1);

        if (value >= plot->x.from * 0.99 && value <= plot->x.to * 1.01)
            draw_x_tick(plot, value, durations[i]);
    }
    for (int i = 0; i < (int)(sizeof(shares) / sizeof(shares[0])); i++) {
        if (pow(10, -i) >= plot->y.from * 0.99)
            draw_y_tick(plot, pow(10, -i), shares[i]);
    }
}

static void draw_latency(struct plot plot, const char *title)
{
    static struct point points[MAX_CONTENDERS][MAX_POINTS];
    int counts[MAX_CONTENDERS] = { 0 };

    plot.x = (struct axis){ INFINITY, 0, true };
    plot.y = (struct axis){ 1, 1, true };
    for (int who = 0; who < contender_count; who++) {
        const struct histogram *latency = recorded_latency("procs8", contenders[who]->name);

        counts[who] = latency != NULL ? collect_latency(latency, points[who]) : 0;
        for (int i = 0; i < counts[who]; i++) {
            plot.x.from = fmin(plot.x.from, points[who][i].x);
            plot.x.to = fmax(plot.x.to, points[who][i].x);
            plot.y.from = fmin(plot.y.from, points[who][i].y);
        }
    }
    if (plot.x.to <= 0) {
        draw_empty(plot, title);
        return;
    }
    plot.x.from = pow(10, floor(log10(plot.x.from)));
    plot.x.to = pow(10, ceil(log10(plot.x.to)));
    plot.y.from = pow(10, floor(log10(plot.y.from)));
    draw_latency_axes(&plot);
    draw_frame(&plot, title, "duration of a call", "share of the calls that take longer");
    for (int who = contender_count - 1; who >= 0; who--) {
        if (counts[who] > 0) {
            draw_line(&plot, points[who], counts[who], &looks[who]);
            draw_mark(&plot, points[who][counts[who] - 1], &looks[who]);
        }
    }
}

static void draw_held(struct plot plot, const char *title)
{
    static const char *const ticks[HELD_SIZES] = { "1 k", "10 k", "100 k", "1 M" };
    static struct curve curves[MAX_CONTENDERS];
    double step;

    for (int who = 0; who < contender_count; who++) {
        for (int size = 0; size < HELD_SIZES; size++)
            add_point(&curves[who], (double)held_sizes[size],
                      summarize("held", contenders[who]->name, held_metrics[size]));
    }
    plot.y = range_of(curves);
    if (plot.y.to <= 0) {
        draw_empty(plot, title);
        return;
    }
    step = pow(10, floor(log10(plot.y.to)));
    if (plot.y.to / step < 5)
        step /= plot.y.to / step < 2 ? 5 : 2;
    plot.y = (struct axis){ 0, step * ceil(plot.y.to / step), false };
    plot.x = (struct axis){ 800, 1250000, true };
    for (double value = 0; value <= plot.y.to * 1.01; value += step)
        draw_y_number(&plot, value);
    for (int size = 0; size < HELD_SIZES; size++)
        draw_x_tick(&plot, (double)held_sizes[size], ticks[size]);
    draw_frame(&plot, title, "locks held", "a lock+unlock pair, µs");
    for (int who = contender_count - 1; who >= 0; who--)
        draw_curve(&plot, &curves[who], &looks[who]);
}

static void draw_heading(FILE *file, const char *machine)
{
    double x = 25;

    fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                  "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    fprintf(file, "<title>libdss beside other ways to lock</title>\n");
    fprintf(file, "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#ffffff\"/>\n", WIDTH, HEIGHT);
    draw_text(file, x, 34, 20, "start", "libdss beside other ways to lock");
    draw_text(file, x, 58, 13, "start", machine);
    for (int who = 0; who < contender_count; who++) {
        draw_key(file, x, 88, &looks[who], contenders[who]->title);
        x += 68 + 7.6 * (double)strlen(contenders[who]->title);
    }
}

bool write_picture(const char *path, const char *machine)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return false;
    draw_heading(file, machine);
    draw_rates(plot_at(file, 0, 0), "Processes, each its own lock, on the disk", "processes", "disk", false);
    draw_rates(plot_at(file, 1, 0), "Threads of one process, each its own lock, on the disk", "threads", "disk", true);
    draw_latency(plot_at(file, 0, 1), "Single calls of 8 processes, on the disk");
    draw_held(plot_at(file, 1, 1), "One process, many locks held, on the disk");
    draw_server_rates(plot_at(file, 0, 2), "PostgreSQL: one libdss handle, or a connection for each thread", "postgres");
    draw_server_rates(plot_at(file, 1, 2), "etcd: one libdss handle, or a connection for each thread", "etcd");
    draw_text(file, WIDTH - 25, HEIGHT - 14, 12, "end",
              "lines: medians of the rounds; shaded: from the lowest round to the highest");
    fprintf(file, "</svg>\n");
    return fclose(file) == 0;
}
