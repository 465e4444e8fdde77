/*
 * Somebody harms the files that SQLite and the library keep beside a store, while processes have it
 * open.
 */
#ifndef SIDE_FILES_H
#define SIDE_FILES_H

/* Removes, truncates or replaces one side file; then a newcomer takes a lock, and looks at it again
 * a little later. */
void harm_side_file(unsigned *seed);

/* Cuts the log short or writes over it, once: what was in it alone is lost, and nobody may go on
 * from an older state. */
int lose_log(unsigned *seed);

#endif
