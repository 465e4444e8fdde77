/*
 * What the benchmark measures: something that can lock and unlock by name in a file.
 *
 * Each contender is one C file that defines one of these. The calls give 0 or a negative errno, as those of libdss.
 */
#ifndef CONTENDER_H
#define CONTENDER_H

struct contender {
    const char *name;
    /* Opens the file at the path, made where there is none; NULL after a failure, which has been told on stderr. */
    void *(*open)(const char *path);
    int (*lock)(void *self, const char *id, const char *owner);
    int (*unlock)(void *self, const char *id, const char *owner);
    void (*close)(void *self);
};

extern const struct contender libdss;
extern const struct contender handwritten;

#endif
