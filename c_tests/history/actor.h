/*
 * What one thread does for a history.
 */
#ifndef ACTOR_H
#define ACTOR_H

#include "contention/contention.h"
#include "record.h"

/* The most processes, and the most threads of each. */
#define MOST 16

/* How long the handles try: some give up while the store is out of reach, others outlast that. */
#define HASTY "timeout_ms=300"
#define PATIENT "timeout_ms=4000"

/* The shortest lease that there is. */
#define TTL_MS 1000

struct actor {
    struct dss_handle own, *handle;
    unsigned seed;
    uint64_t owner;
    uint64_t holds[LOCKS]; /* as whom; 0 if not that we knew */
    int expires[LOCKS];    /* these do by themselves */
    uint64_t tokens[LOCKS]; /* the last that it was told */
    uint64_t versions[KEYS]; /* the last that it saw */
    uint32_t writes;
    int is_moved; /* a call failed so that the store is to be opened anew */
};

extern struct records *records;
extern const char *store_uri;

/* Whether the record is full, or the time up. */
int is_over(void);

/* Opens the store as soon as that is possible. False if it was refused until the time was up. */
int open_store(struct dss_handle *handle, unsigned seed);

/* A thread: makes calls until it is over; its handle is open. */
void *act(void *actor);

/* Takes any lock, and looks at it when `others` has returned. */
void take_and_look(struct actor *actor, void (*others)(unsigned *seed));

/* Looks at everything once. */
void look_at_all(struct actor *actor);

#endif
