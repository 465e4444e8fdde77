/*
 * The system's calls and the allocator, as this program defines them in place of the C library's: they count who asks, and fail
 * when they are told to.
 */
#ifndef CALLS_H
#define CALLS_H

#include <stdatomic.h>

/* What can fail, one kind of call each, with the errnos that it plausibly has. PART is no errno: half of it is done. */
#define PART (-1)
#define KINDS(kind)                                                                                                           \
    kind(read, EIO, ENOMEM, PART)                                                                                             \
    kind(write, ENOSPC, EIO, EDQUOT, PART)                                                                                    \
    kind(sync, EIO, ENOSPC, EDQUOT)                                                                                           \
    kind(open, EMFILE, ENFILE, ENOMEM, EIO, EACCES)                                                                           \
    kind(make, ENOSPC, EDQUOT, EIO, EACCES)                                                                                   \
    kind(remove, EIO, EACCES, ENOMEM)                                                                                         \
    kind(stat, EIO, ENOMEM, EACCES)                                                                                           \
    kind(lock, ENOLCK, EIO, EDEADLK, EINTR)                                                                                   \
    kind(resize, ENOSPC, EIO, EDQUOT)                                                                                         \
    kind(mmap, ENOMEM, ENFILE, EIO)                                                                                           \
    kind(descriptor, EMFILE, ENFILE, ENOMEM)                                                                                  \
    kind(socket, ENOBUFS, ENOMEM, EACCES)                                                                                     \
    kind(watch, ENOSPC, ENOMEM, EACCES)                                                                                       \
    kind(poll, ENOMEM)                                                                                                        \
    kind(thread, EAGAIN)                                                                                                      \
    kind(malloc, ENOMEM)

#define CALLS_NAME(name, ...) CALL_##name,
enum call { KINDS(CALLS_NAME) CALL_KINDS };
#undef CALLS_NAME

#define MOST_ERRNOS 6
struct call_kind {
    const char *name;
    int errnos[MOST_ERRNOS]; /* up to the first 0 */
};
extern const struct call_kind call_kinds[CALL_KINDS];

/* Which call fails: the nth of its kind, counted from 1, and with for_ever all that come after it; nth 0: none. */
struct fault {
    enum call kind;
    int error, for_ever;
    unsigned nth;
};
extern struct fault fault;

/* Only what is called while this is set is counted, and fails. */
extern atomic_int calls_count;
extern atomic_uint calls_made[CALL_KINDS], calls_failed;

#endif
