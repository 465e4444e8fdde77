/* The strokes of drawing.h, as SVG elements. */
#include "drawing.h"

#include <math.h>

#define INK "#222222"
#define GRID "#d9d9d9"

/* Where a number lies on its axis, 0 to 1; a 0 has no place on a logarithmic one, and goes to its end. */
static double share_of(const struct axis *axis, double value)
{
    if (axis->log)
        return value > 0 ? fmax(0, log(value / axis->from) / log(axis->to / axis->from)) : 0;
    return (value - axis->from) / (axis->to - axis->from);
}

static double x_of(const struct plot *plot, double value)
{
    return plot->left + plot->width * share_of(&plot->x, value);
}

static double y_of(const struct plot *plot, double value)
{
    return plot->top + plot->height * (1 - share_of(&plot->y, value));
}

void draw_text(FILE *file, double x, double y, int size, const char *anchor, const char *text)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" fill=\"" INK "\">%s</text>\n", x, y,
            size, anchor, text);
}

static void draw_stroke(FILE *file, double x1, double y1, double x2, double y2, const char *colour, double width)
{
    fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%g\"/>\n", x1, y1,
            x2, y2, colour, width);
}

void draw_x_tick(const struct plot *plot, double value, const char *text)
{
    double x = x_of(plot, value), bottom = plot->top + plot->height;

    draw_stroke(plot->file, x, plot->top, x, bottom, GRID, 1);
    draw_text(plot->file, x, bottom + 18, 13, "middle", text);
}

void draw_y_tick(const struct plot *plot, double value, const char *text)
{
    double y = y_of(plot, value);

    draw_stroke(plot->file, plot->left, y, plot->left + plot->width, y, GRID, 1);
    draw_text(plot->file, plot->left - 8, y + 4.5, 13, "end", text);
}

void draw_frame(const struct plot *plot, const char *title, const char *x_label, const char *y_label)
{
    double bottom = plot->top + plot->height, middle = plot->top + plot->height / 2, x = plot->left - 60;

    draw_stroke(plot->file, plot->left, plot->top, plot->left, bottom, INK, 1);
    draw_stroke(plot->file, plot->left, bottom, plot->left + plot->width, bottom, INK, 1);
    fprintf(plot->file,
            "<text x=\"%.1f\" y=\"%.1f\" font-size=\"15\" font-weight=\"bold\" fill=\"" INK "\">%s</text>\n",
            plot->left - 60, plot->top - 16, title);
    draw_text(plot->file, plot->left + plot->width / 2, bottom + 38, 13, "middle", x_label);
    fprintf(plot->file,
            "<text x=\"%.1f\" y=\"%.1f\" font-size=\"13\" text-anchor=\"middle\" fill=\"" INK
            "\" transform=\"rotate(-90 %.1f %.1f)\">%s</text>\n",
            x, middle, x, middle, y_label);
}

static void write_points(const struct plot *plot, const struct point *points, int first, int step, int count)
{
    for (int i = 0; i < count; i++) {
        const struct point *point = &points[first + step * i];

        fprintf(plot->file, "%.1f,%.1f ", x_of(plot, point->x), y_of(plot, point->y));
    }
}

void draw_line(const struct plot *plot, const struct point *points, int count, const struct look *look)
{
    fputs("<polyline points=\"", plot->file);
    write_points(plot, points, 0, 1, count);
    fprintf(plot->file, "\" fill=\"none\" stroke=\"%s\" stroke-width=\"2.2\" stroke-linejoin=\"round\"/>\n",
            look->colour);
}

void draw_band(const struct plot *plot, const struct point *low, const struct point *high, int count,
               const struct look *look)
{
    fputs("<polygon points=\"", plot->file);
    write_points(plot, low, 0, 1, count);
    write_points(plot, high, count - 1, -1, count);
    fprintf(plot->file, "\" fill=\"%s\" fill-opacity=\"0.18\" stroke=\"none\"/>\n", look->colour);
}

/* A circle, a square, a triangle, or a diamond. */
static void draw_mark_at(FILE *file, double x, double y, const struct look *look)
{
    switch (look->mark % 4) {
    case 0: fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.2\"", x, y); break;
    case 1: fprintf(file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"7.6\" height=\"7.6\"", x - 3.8, y - 3.8); break;
    case 2: fprintf(file, "<path d=\"M%.1f %.1fl5 8.6h-10z\"", x, y - 5.4); break;
    default: fprintf(file, "<path d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\"", x, y - 5); break;
    }
    fprintf(file, " fill=\"%s\" stroke=\"#ffffff\" stroke-width=\"0.8\"/>\n", look->colour);
}

void draw_mark(const struct plot *plot, struct point point, const struct look *look)
{
    draw_mark_at(plot->file, x_of(plot, point.x), y_of(plot, point.y), look);
}

void draw_key(FILE *file, double x, double y, const struct look *look, const char *text)
{
    draw_stroke(file, x, y, x + 30, y, look->colour, 2.2);
    draw_mark_at(file, x + 15, y, look);
    draw_text(file, x + 38, y + 4.5, 14, "start", text);
}
