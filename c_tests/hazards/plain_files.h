/*
 * Files that a program opens under the first free numbers, and a check that nobody else has written
 * to them.
 */
#ifndef PLAIN_FILES_H
#define PLAIN_FILES_H

#include "hazard.h"

#define PLAIN_FILES 40

static int plain_files[PLAIN_FILES];

/* All numbers from 3 on are free. */
static inline void open_plain_files(const char *folder)
{
    char path[700];

    for (int i = 0; i < PLAIN_FILES; i++) {
        snprintf(path, sizeof(path), "%s/own-%d", folder, i);
        plain_files[i] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(plain_files[i] == 3 + i && write(plain_files[i], "mine", 4) == 4);
    }
}

/* Closes them as well. */
static inline void check_plain_files(void)
{
    for (int i = 0; i < PLAIN_FILES; i++) {
        struct stat found;
        char text[8] = "";

        CHECK(fstat(plain_files[i], &found) == 0 && found.st_size == 4);
        CHECK(pread(plain_files[i], text, sizeof(text), 0) == 4 && strcmp(text, "mine") == 0);
        CHECK(close(plain_files[i]) == 0);
    }
}

#endif
