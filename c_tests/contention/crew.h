/*
 * A crew of processes that each take, refresh and release a lock of their own, over and over, in one store: so they meet
 * in its transactions and nowhere else. Each call has one right answer.
 */
#ifndef CREW_H
#define CREW_H

#include "contention.h"

#define CREW 8

/* What the crew shows to the parent. */
struct crew {
    const char *uri;
    _Atomic int stop;
    struct member {
        pid_t process;
        _Atomic long rounds;
        _Atomic long stops; /* how often the parent has stopped it */
    } members[CREW];
    _Atomic int starting; /* which member a new child is */
};

static inline struct crew *crew_of(const char *uri)
{
    struct crew *crew = shared_memory(sizeof(*crew));

    crew->uri = uri;
    return crew;
}

static inline void start_member(struct crew *crew, int number, void (*work)(void *))
{
    atomic_store(&crew->starting, number);
    crew->members[number].process = spawn(work, crew);
    /* The child has read its number. */
    while (atomic_load(&crew->starting) == number)
        sched_yield();
}

static inline int own_number(struct crew *crew)
{
    int number = atomic_load(&crew->starting);

    atomic_store(&crew->starting, -1);
    return number;
}

static inline void dismiss(struct crew *crew)
{
    atomic_store(&crew->stop, 1);
    for (int i = 0; i < CREW; i++)
        test_join(crew->members[i].process);
}

#endif
