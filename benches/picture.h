/* The picture of the benchmark. */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>

/* One SVG file: pairs over workers, how long calls take, what a pair costs over held locks. false, with errno. */
bool write_picture(const char *path, const char *machine);

#endif
