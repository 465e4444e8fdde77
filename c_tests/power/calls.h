/*
 * The calls that processes made while the record ran, and what a store may hold after a crash between them.
 *
 * Each call takes the record's numbers before and after it: at a crash in between it may have been done or not, and so may,
 * at any later time, one whose process was killed. A lock's owner and a value's bytes name the call that made them.
 */
#ifndef CALLS_H
#define CALLS_H

#include <sys/mman.h>

#include "power/recorder.h"
#include "test.h"

#define CALLS 20000
#define LOCKS 6
#define KEYS 4
#define LONGEST_VALUE 6000

enum call_kind { CALL_NONE, CALL_LOCK, CALL_UNLOCK, CALL_SEEN, CALL_SET, CALL_GET };

struct call {
    _Atomic uint32_t kind;
    uint32_t name;   /* which lock or key */
    uint32_t worker; /* who calls */
    int32_t rc;
    uint64_t length;        /* of the value */
    uint64_t other;         /* whose grant is unlocked, whose grant or value was seen */
    uint64_t token;         /* or the value's version */
    uint64_t begin;
    _Atomic uint64_t end; /* 0: not answered */
};

struct calls {
    _Atomic uint64_t count;
    _Atomic uint64_t killed;
    struct call call[CALLS];
};

static inline struct call *call_begin(struct calls *calls, enum call_kind kind, uint32_t name, uint32_t worker)
{
    uint64_t place = atomic_fetch_add(&calls->count, 1);
    struct call *call = &calls->call[place];

    CHECK(place < CALLS);
    call->name = name;
    call->worker = worker;
    call->begin = recorder_tick();
    atomic_store(&call->kind, kind);
    return call;
}

static inline void call_end(struct call *call, int rc)
{
    call->rc = rc;
    call->end = recorder_tick();
}

static inline void lock_name(char *name, size_t size, uint32_t lock)
{
    snprintf(name, size, "drive %u", lock);
}

static inline void key_name(char *name, size_t size, uint32_t key)
{
    snprintf(name, size, "volume %u", key);
}

/* Bytes that no other call writes, and of which each says where it belongs. */
static inline void fill_value(unsigned char *value, uint64_t length, uint64_t call)
{
    for (uint64_t i = 0; i < length; i++)
        value[i] = i < sizeof(call) ? (unsigned char)(call >> (8 * i)) : (unsigned char)(call * 31 + i * 7 + i / 251);
}

/* Which call wrote the value; CALLS: none of ours. */
static inline uint64_t writer_of(const unsigned char *value, size_t length)
{
    uint64_t call = 0;

    for (size_t i = 0; i < sizeof(call) && i < length; i++)
        call |= (uint64_t)value[i] << (8 * i);
    return length >= sizeof(call) && call < CALLS ? call : CALLS;
}

/* ---- At a crash ---------------------------------------------------------------------------------------------------- */

static inline int was_begun(const struct call *call, uint64_t at)
{
    return call->kind != CALL_NONE && call->begin <= at;
}

static inline int was_answered(const struct call *call, uint64_t at)
{
    return was_begun(call, at) && call->end != 0 && call->end <= at;
}

/* What was acknowledged of one lock or key: the latest grant or value that
   somebody was told of, and whether it may, or must, be gone. */
struct known {
    uint64_t call; /* CALLS: none */
    uint64_t token;
    int may_be_gone, is_gone;
};

static inline struct known known_of(const struct calls *calls, int is_lock, uint32_t name, uint64_t at)
{
    struct known known = { .call = CALLS };
    uint64_t count = calls->count;

    for (uint64_t i = 0; i < count; i++) {
        const struct call *call = &calls->call[i];
        int seen = call->kind == (is_lock ? CALL_SEEN : CALL_GET), made = call->kind == (is_lock ? CALL_LOCK : CALL_SET);

        if ((seen || made) && call->name == name && was_answered(call, at) && call->rc == 0 && call->token >= known.token) {
            known.call = seen ? call->other : i;
            known.token = call->token;
        }
    }
    known.may_be_gone = known.is_gone = known.call == CALLS;
    for (uint64_t i = 0; i < count; i++) {
        const struct call *call = &calls->call[i];

        if (call->kind == CALL_UNLOCK && call->name == name && call->other == known.call && was_begun(call, at)) {
            known.may_be_gone = 1;
            known.is_gone |= was_answered(call, at);
        }
    }
    return known;
}

/*
 * Whether a call that was not answered before the crash may have made what was found. Its number need not be the one that the
 * call was told later: where a process is killed while it writes what another one asked for, a third one does it again, and
 * what was written first may be all that is on the disk. Nobody has been told of it.
 */
static inline int may_have_made(const struct calls *calls, uint64_t call, enum call_kind kind, uint32_t name, uint64_t at)
{
    const struct call *it = &calls->call[call];

    return it->kind == (uint32_t)kind && it->name == name && was_begun(it, at) && !was_answered(it, at);
}

/* Whether this may be found of a lock or key; CALLS: nothing. */
static inline int may_be_found(const struct calls *calls, const struct known *known, int is_lock, uint32_t name, uint64_t call,
                               uint64_t token, uint64_t at)
{
    if (call == CALLS)
        return known->may_be_gone;
    if (call == known->call)
        return token == known->token && !known->is_gone;
    /* A value is replaced by the next, a grant only after its unlock. */
    return token > known->token && (!is_lock || known->may_be_gone) &&
           may_have_made(calls, call, is_lock ? CALL_LOCK : CALL_SET, name, at);
}

#endif
