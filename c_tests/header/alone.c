/*
 * Proves: dss.h compiles when it is all that a file includes, and when it is included again.
 */
#include "dss.h"
#include "dss.h"
