/*
 * Proves: where a program has already defined ENOLOCK and EACCESS in its own way, the header leaves them alone.
 */
#define ENOLOCK 12345
#define EACCESS 54321
#include "dss.h"

#if ENOLOCK != 12345 || EACCESS != 54321
#error "the header has changed a macro of the program"
#endif
