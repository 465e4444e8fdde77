/*
 * flock(2) on a file for each lock: what is cheaper can't be had between processes, and it promises the least. The
 * kernel forgets the lock with the process, nobody sees the owner, nothing is written, and no other host takes part.
 *
 * The file of the last lock stays open, as it would in a program that takes the same lock again and again.
 */
#define _DEFAULT_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "contender.h"

struct store {
    const char *folder;
    char id[64];
    int fd;
};

static void *open_store(const char *folder)
{
    struct store *store = calloc(1, sizeof(*store));

    if (store == NULL)
        return NULL;
    store->folder = folder;
    store->fd = -1;
    return store;
}

static void forget_file(struct store *store)
{
    if (store->fd >= 0)
        close(store->fd);
    store->fd = -1;
    store->id[0] = '\0';
}

static int open_file(struct store *store, const char *id)
{
    char path[4096];
    size_t folder_length = strlen(store->folder);

    forget_file(store);
    snprintf(path, sizeof(path), "%s/flock-%s", store->folder, id);
    for (char *slash = path + folder_length + 1; (slash = strchr(slash, '/')) != NULL;)
        *slash = '-';
    store->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->fd < 0)
        return -errno;
    snprintf(store->id, sizeof(store->id), "%s", id);
    return 0;
}

static int lock(void *self, const char *id, const char *owner)
{
    struct store *store = self;
    int rc = strcmp(store->id, id) == 0 ? 0 : open_file(store, id);

    (void)owner;
    if (rc != 0)
        return rc;
    if (flock(store->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? -EEXIST : -errno;
}

static int unlock(void *self, const char *id, const char *owner)
{
    struct store *store = self;

    (void)owner;
    if (strcmp(store->id, id) != 0)
        return -ENOLCK;
    return flock(store->fd, LOCK_UN) == 0 ? 0 : -errno;
}

static void close_store(void *self)
{
    forget_file(self);
    free(self);
}

const struct contender contender_flock = {
    .name = "flock",
    .title = "flock(2), not durable",
    .open = open_store,
    .lock = lock,
    .unlock = unlock,
    .close = close_store,
};
