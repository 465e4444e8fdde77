/* Plots in an SVG file: axes, lines, bands, marks. Points are given in the plot's own numbers. */
#ifndef DRAWING_H
#define DRAWING_H

#include <stdbool.h>
#include <stdio.h>

/* Where a number lies between the ends of an axis. */
struct axis {
    double from, to;
    bool log;
};

struct plot {
    FILE *file;
    double left, top, width, height; /* of the area within the axes, in pixels */
    struct axis x, y;
};

struct point {
    double x, y;
};

/* The look of a contender: a colour that people with any sight of colours tell from the others, and a mark. */
struct look {
    const char *colour;
    int mark;
};

void draw_text(FILE *file, double x, double y, int size, const char *anchor, const char *text);

/* A line of the grid with its number. */
void draw_x_tick(const struct plot *plot, double value, const char *text);
void draw_y_tick(const struct plot *plot, double value, const char *text);
void draw_frame(const struct plot *plot, const char *title, const char *x_label, const char *y_label);

void draw_line(const struct plot *plot, const struct point *points, int count, const struct look *look);
void draw_mark(const struct plot *plot, struct point point, const struct look *look);

/* The area between a line forth and a line back. */
void draw_band(const struct plot *plot, const struct point *low, const struct point *high, int count,
               const struct look *look);

/* A look with its name, for people; in pixels. */
void draw_key(FILE *file, double x, double y, const struct look *look, const char *text);

#endif
