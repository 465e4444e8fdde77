/*
 * Redis as its manual says to lock: SET key owner NX, and a script that deletes the key if it is still the owner's.
 * The server writes and flushes each change before it answers (appendfsync always), and is reached by a Unix socket,
 * which scripts/bench.sh has it make in the folder.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contender.h"

static const char unlock_script[] =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

struct store {
    redisContext *connection;
    char script[64]; /* its name at the server */
};

static redisContext *connect_to(const char *folder)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/redis.sock", folder);
    return redisConnectUnix(path);
}

static bool is_there(const char *folder)
{
    redisContext *connection = connect_to(folder);
    bool connected = connection != NULL && connection->err == 0;

    if (connection != NULL)
        redisFree(connection);
    return connected;
}

static void close_store(void *self)
{
    struct store *store = self;

    if (store->connection != NULL)
        redisFree(store->connection);
    free(store);
}

static bool load_script(struct store *store)
{
    redisReply *reply = redisCommand(store->connection, "SCRIPT LOAD %s", unlock_script);
    bool loaded = reply != NULL && reply->type == REDIS_REPLY_STRING;

    if (loaded)
        snprintf(store->script, sizeof(store->script), "%s", reply->str);
    freeReplyObject(reply);
    return loaded;
}

static void *open_store(const char *folder)
{
    struct store *store = calloc(1, sizeof(*store));

    if (store == NULL)
        return NULL;
    store->connection = connect_to(folder);
    if (store->connection == NULL || store->connection->err != 0 || !load_script(store)) {
        fprintf(stderr, "redis: %s\n", store->connection != NULL ? store->connection->errstr : "no memory");
        close_store(store);
        return NULL;
    }
    return store;
}

static int lock(void *self, const char *id, const char *owner)
{
    struct store *store = self;
    redisReply *reply = redisCommand(store->connection, "SET %s %s NX", id, owner);
    int rc = -EIO;

    if (reply != NULL && reply->type == REDIS_REPLY_STATUS)
        rc = 0;
    else if (reply != NULL && reply->type == REDIS_REPLY_NIL)
        rc = -EEXIST;
    freeReplyObject(reply);
    return rc;
}

static int unlock(void *self, const char *id, const char *owner)
{
    struct store *store = self;
    redisReply *reply = redisCommand(store->connection, "EVALSHA %s 1 %s %s", store->script, id, owner);
    int rc = -EIO;

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        rc = reply->integer == 1 ? 0 : -ENOLCK;
    freeReplyObject(reply);
    return rc;
}

const struct contender contender_redis = {
    .name = "redis",
    .title = "Redis, appendfsync always",
    .is_there = is_there,
    .open = open_store,
    .lock = lock,
    .unlock = unlock,
    .close = close_store,
};
