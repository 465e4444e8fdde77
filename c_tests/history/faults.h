/*
 * What happens to those who make a history, and to their store.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include "actor.h"
#include "side_files.h"

/* Chooses among the faults that are named, as in "kill,stop"; those of servers begin here, and may change store_uri. */
void faults_begin(const char *names);

/* Does something to one of the processes or to the store; start begins another one in place of one that was killed. */
void disturb(pid_t *processes, int count, unsigned *seed, pid_t (*start)(unsigned seed));

/* All is well again. */
void faults_end(void);

/* How often each was done. */
void show_faults(void);

#endif
