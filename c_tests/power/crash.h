/*
 * What a disk may hold after the power went, built from a record (recorder.h).
 *
 * What was flushed is there. Of the writes after that a kernel may have sent any to the disk: it keeps one newest version
 * of each page and sends pages when it likes, in any order; a sector of 512 bytes is written whole or not at all. So each
 * sector has one of the versions from its last flush on. The same holds for a file's length, which need not fit the
 * bytes. Names come and go in their order, which every journaling file system keeps, and are certain when the folder was flushed.
 */
#ifndef CRASH_H
#define CRASH_H

#include <fcntl.h>

#include "power/recorder.h"
#include "test.h"

#define SECTOR 512
#define LENGTH_OF_FILE UINT64_MAX /* where a sector's number is asked for */

/* What has become of the writes to a file that were not flushed. */
enum loss { LOSS_NONE, LOSS_ALL, LOSS_TAIL, LOSS_SOME, LOSS_TORN, LOSS_REORDERED, LOSSES };

static const char *const loss_name[LOSSES] = { "none", "all", "the last", "some", "torn", "reordered" };

/* The disk at one moment, and the choice of what it lost. */
struct crash {
    const struct recording *record;
    uint64_t at;
    uint64_t seed;
    int lose_nothing;
};

/* The operations on one file, or on the folder's names, before the crash, of which the first `flushed` are certain. */
struct story {
    const struct op **op;
    size_t count, flushed;
    enum loss loss;
    uint64_t seed;
};

struct image {
    unsigned char *bytes;
    uint64_t size;
};

static inline uint64_t mixed(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u + b;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The beginning of the last flush that had ended before the crash. */
static inline uint64_t flushed_until(const struct crash *crash, uint64_t inode)
{
    uint64_t last = 0, count = crash->record->ops;

    for (uint64_t i = 0; i < count; i++) {
        const struct op *op = &crash->record->op[i];

        if (op->kind == OP_SYNC && op->inode == inode && op->end != 0 && op->end <= crash->at && op->begin > last)
            last = op->begin;
    }
    return last;
}

/* The story of a file, or that of the names with inode 0. The caller frees `op`. */
static inline struct story story_of(const struct crash *crash, uint64_t inode)
{
    uint64_t seed = mixed(crash->seed, inode), count = crash->record->ops;
    uint64_t until = flushed_until(crash, inode != 0 ? inode : crash->record->folder_inode);
    struct story story = { .loss = crash->lose_nothing ? LOSS_NONE : (enum loss)(seed % LOSSES), .seed = seed };

    story.op = malloc((count + 1) * sizeof(*story.op));
    CHECK(story.op != NULL);
    for (uint64_t i = 0; i < count; i++) {
        const struct op *op = &crash->record->op[i];
        int of_names = op->kind == OP_LINK || op->kind == OP_UNLINK, of_file = op->kind == OP_WRITE || op->kind == OP_TRUNCATE;

        if (op->begin > crash->at || (inode == 0 ? !of_names : !of_file || op->inode != inode))
            continue;
        if (story.flushed == story.count && op->end != 0 && op->end < until)
            story.flushed++;
        story.op[story.count++] = op;
    }
    return story;
}

/* Whether the i-th operation has reached the disk, as far as one sector shows it, or the file's length. */
static inline int has_arrived(const struct story *story, size_t i, uint64_t sector)
{
    uint64_t unsure = story->count - story->flushed;

    if (i < story->flushed)
        return 1;
    switch (story->loss) {
    case LOSS_NONE:
        return 1;
    case LOSS_TAIL:
        return i < story->flushed + mixed(story->seed, 0) % (unsure + 1);
    case LOSS_SOME:
        return mixed(story->seed, i) % 2 == 0;
    case LOSS_TORN:
        return mixed(story->seed, sector) % 2 == 0;
    case LOSS_REORDERED:
        return i < story->flushed + mixed(story->seed, sector) % (unsure + 1);
    default:
        return 0;
    }
}

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Does one operation on those sectors that show it. */
static inline void happen(struct image *image, const struct crash *crash, const struct story *story, size_t i, uint64_t room)
{
    const struct op *op = story->op[i];
    uint64_t to = op->kind == OP_TRUNCATE ? room : op->offset + op->length;

    for (uint64_t from = op->offset, next; from < to; from = next) {
        next = i < story->flushed ? to : least(to, (from / SECTOR + 1) * SECTOR);
        if (!has_arrived(story, i, from / SECTOR))
            continue;
        if (op->kind == OP_TRUNCATE)
            memset(image->bytes + from, 0, next - from);
        else
            memcpy(image->bytes + from, crash->record->bytes + op->bytes + (from - op->offset), next - from);
    }
    if (!has_arrived(story, i, LENGTH_OF_FILE))
        return;
    if (op->kind == OP_TRUNCATE)
        image->size = op->offset;
    else if (image->size < to)
        image->size = to;
}

/* The bytes of a file after the crash, which the caller frees. */
static inline struct image image_of(const struct crash *crash, uint64_t inode)
{
    struct story story = story_of(crash, inode);
    struct image image = { NULL, 0 };
    uint64_t room = 1;

    for (size_t i = 0; i < story.count; i++) {
        uint64_t to = story.op[i]->offset + story.op[i]->length;

        room = to > room ? to : room;
    }
    image.bytes = calloc(1, room);
    CHECK(image.bytes != NULL);
    for (size_t i = 0; i < story.count; i++)
        happen(&image, crash, &story, i, room);
    free(story.op);
    return image;
}

/* Which file each name names after the crash; 0: none. */
static inline void names_after(const struct crash *crash, uint64_t inode[NAMES])
{
    struct story story = story_of(crash, 0);

    /* A name that comes or goes is not torn, and not reordered. */
    if (story.loss > LOSS_TAIL)
        story.loss = LOSS_TAIL;
    memset(inode, 0, NAMES * sizeof(*inode));
    for (size_t i = 0; i < story.count; i++) {
        const struct op *op = story.op[i];

        if (has_arrived(&story, i, 0))
            inode[op->name] = op->kind == OP_LINK ? op->inode : 0;
    }
    free(story.op);
}

static inline void file_path(char *path, size_t size, const char *folder, int name)
{
    CHECK((size_t)snprintf(path, size, "%s/dss.db%s", folder, recorder_suffix[name]) < size);
}

/* Makes the files that the crash leaves, in a folder that is there. */
static inline void crash_into(const struct crash *crash, const char *folder)
{
    uint64_t inode[NAMES];

    names_after(crash, inode);
    for (int name = 0; name < NAMES; name++) {
        struct image image;
        char path[512];
        int fd;

        if (inode[name] == 0)
            continue;
        image = image_of(crash, inode[name]);
        file_path(path, sizeof(path), folder, name);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK(fd >= 0 && pwrite(fd, image.bytes, image.size, 0) == (ssize_t)image.size);
        close(fd);
        free(image.bytes);
    }
}

/* A record that lost nothing must give the very files that are there: else it missed something, and proves nothing. */
static inline void check_record(const struct recording *record)
{
    struct crash crash = { .record = record, .at = UINT64_MAX, .lose_nothing = 1 };
    uint64_t inode[NAMES];

    names_after(&crash, inode);
    for (int name = 0; name < NAMES; name++) {
        struct image image;
        struct stat found;
        char path[512];
        unsigned char *bytes;
        int fd;

        file_path(path, sizeof(path), record->folder, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK((fd >= 0) == (inode[name] != 0));
        if (fd < 0)
            continue;
        CHECK(fstat(fd, &found) == 0 && found.st_ino == inode[name]);
        image = image_of(&crash, inode[name]);
        CHECK(image.size == (uint64_t)found.st_size);
        bytes = malloc(image.size + 1);
        CHECK(bytes != NULL && pread(fd, bytes, image.size, 0) == (ssize_t)image.size);
        CHECK(memcmp(bytes, image.bytes, image.size) == 0);
        free(bytes);
        free(image.bytes);
        close(fd);
    }
}

#endif
