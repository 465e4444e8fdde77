/* What the benchmark prints. */
#ifndef TABLES_H
#define TABLES_H

#include <stddef.h>

/* What the numbers depend on: versions, cores, kernel, file system, rounds. */
void describe_machine(char *ret_text, size_t room);

/* The lines that were wished for, with what was reached. */
void print_wishes(void);

/* Pairs per second over the number of workers, by all contenders. */
void print_curves(void);

/* How long single calls took, with 8 processes. */
void print_latency(void);

/* What a pair costs, over the number of held locks. */
void print_held(void);

#endif
