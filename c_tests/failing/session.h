/*
 * A session of the library's calls, each of which is judged by its answer, by the time it took, and by what another process sees
 * after it.
 */
#ifndef SESSION_H
#define SESSION_H

/* How long a call of the session may take, waiting aside. */
#define SESSION_TIMEOUT_MS 60

/*
 * Runs the session on this new store, with the faults that calls.h is told. Says what is wrong on the descriptor, and how many
 * things that are.
 */
int session_run(const char *uri, int complaints);

#endif
