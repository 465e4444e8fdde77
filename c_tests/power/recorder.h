/*
 * A record of what processes do to the files of a store, from which the disk after a power cut can be built.
 *
 * recorder.c takes the place of the C library's functions in the program it is linked with, and so in libdss. What they do
 * in one folder is noted in memory that the program and its children share. All of them draw numbers from one clock of
 * whole ticks, one before and one after each operation, so that it is known which came before which: a flush covers what
 * had ended when it began, and nothing that came later.
 *
 * Two files are left out. The index of the log (-shm) is memory that SQLite makes anew from the log after a crash; the file of
 * those who wait (-wait) holds nothing that a process may rely on. A power cut is taken for the end of both.
 */
#ifndef RECORDER_H
#define RECORDER_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_OPS 200000
#define RECORD_BYTES ((size_t)256 << 20)

enum operation { OP_NONE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_LINK, OP_UNLINK };

/* The files of a store that outlive a crash, by what is added to its name. */
enum { NAME_DB, NAME_LOG, NAME_JOURNAL, NAMES };
extern const char *const recorder_suffix[NAMES];

struct op {
    _Atomic uint32_t kind; /* written last: an operation that was not begun is OP_NONE */
    uint32_t name;         /* of a link */
    uint64_t inode;
    uint64_t begin;
    uint64_t end; /* 0 until it has ended */
    uint64_t offset, length; /* a truncated file has the length `offset` */
    uint64_t bytes;          /* where they stand in the record */
};

struct recording {
    _Atomic uint64_t clock;
    _Atomic uint64_t ops, used;
    dev_t device;
    ino_t folder_inode;
    char folder[256];
    struct op op[RECORD_OPS];
    unsigned char bytes[RECORD_BYTES];
};

/* A new record of what this process and its later children do in the folder. */
struct recording *recorder_begin(const char *folder);

/* This process notes nothing any more. The record goes with munmap(2). */
void recorder_stop(void);

/* The next number of the clock. */
uint64_t recorder_tick(void);

/*
 * Kills this process before or after one of its next operations, as kill -9 would. (What kill -9 from outside leaves of an
 * operation that has begun could not be told from the record.)
 */
void recorder_die_after(int moments);

/* The same, right after the n-th operation of this kind: after a write, before what it has written is flushed. */
void recorder_die_after_operation(enum operation kind, int n);

#endif
