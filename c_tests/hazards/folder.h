/*
 * What a folder holds, names and bytes, so that a test can tell that nothing in it has changed.
 */
#ifndef FOLDER_H
#define FOLDER_H

#include "hazard.h"

/* Everything in the folder, as one piece of memory. */
struct snapshot {
    char *bytes;
    size_t size;
};

static inline void snapshot_file(FILE *into, const char *path)
{
    char buffer[65536];
    struct stat found;
    size_t size;
    FILE *file;

    CHECK(lstat(path, &found) == 0);
    fprintf(into, "%s mode %o links %lu\n", path, (unsigned)found.st_mode, (unsigned long)found.st_nlink);
    if (!S_ISREG(found.st_mode))
        return;
    file = fopen(path, "rb");
    CHECK(file != NULL);
    while ((size = fread(buffer, 1, sizeof(buffer), file)) > 0)
        CHECK(fwrite(buffer, 1, size, into) == size);
    fclose(file);
}

static inline struct snapshot take_snapshot(const char *folder)
{
    struct snapshot snapshot = {NULL, 0};
    struct dirent **entries = NULL;
    FILE *into = open_memstream(&snapshot.bytes, &snapshot.size);
    int count = scandir(folder, &entries, NULL, alphasort);

    CHECK(into != NULL && count >= 0);
    for (int i = 0; i < count; i++) {
        char path[1024];

        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        snapshot_file(into, path);
        free(entries[i]);
    }
    free(entries);
    CHECK(fclose(into) == 0);
    return snapshot;
}

/* Ends the test unless the folder is what it was, and frees the snapshot. */
static inline void check_unchanged(const char *folder, struct snapshot before)
{
    struct snapshot now = take_snapshot(folder);

    CHECK(now.size == before.size);
    CHECK(memcmp(now.bytes, before.bytes, before.size) == 0);
    free(now.bytes);
    free(before.bytes);
}

static inline char *read_file(const char *path, size_t *size)
{
    struct stat found;
    FILE *file = fopen(path, "rb");
    char *bytes;

    CHECK(file != NULL && fstat(fileno(file), &found) == 0);
    *size = (size_t)found.st_size;
    bytes = malloc(*size + 1);
    CHECK(bytes != NULL && fread(bytes, 1, *size, file) == *size);
    fclose(file);
    return bytes;
}

static inline void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");

    CHECK(file != NULL && fwrite(bytes, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

#endif
