/*
 * A process that uses the store beside the one whose calls fail, and to which nothing happens. It prepares the store, does what
 * others do meanwhile, and says what it sees.
 */
#ifndef WITNESS_H
#define WITNESS_H

#include "test.h"

struct witness {
    int ask[2], answer[2];
    pid_t process;
};

/* What it can be asked; `name` and `text` are of the one thing that is asked about. */
enum question {
    WITNESS_OPEN = 1, /* the store, which may be new */
    WITNESS_CLOSE,
    WITNESS_LOCK,   /* `name` for `text` */
    WITNESS_UNLOCK, /* `name`, whoever has it */
    WITNESS_OWNER,  /* of the lock `name`: text */
    WITNESS_SET,    /* `name` to `text` */
    WITNESS_VALUE,  /* of `name`: text */
};

#define WITNESS_TEXT 48

/* Starts it; its store has this string. It ends with this process. */
void witness_start(struct witness *witness, const char *uri);

/* Asks, and gives the answer's text, "-" where there is no such thing; valid until the next question. Whatever else fails ends
   this process. */
const char *witness_ask(struct witness *witness, enum question question, const char *name, const char *text);

#endif
