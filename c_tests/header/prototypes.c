/*
 * Proves: the calls have the types of the contract in C and in C++, and what else the header has to define is there.
 */
#include "dss.h"

int (*init)(struct dss_handle *) = dss_init;
int (*init_uri)(struct dss_handle *, const char *) = dss_init_uri;
void (*fini)(struct dss_handle *) = dss_fini;
int (*lock)(struct dss_handle *, const char *, const char *) = dss_lock;
int (*lock_refresh)(struct dss_handle *, const char *, const char *) = dss_lock_refresh;
int (*unlock)(struct dss_handle *, const char *, const char *) = dss_unlock;
int (*lock_status)(struct dss_handle *, const char *, char **, struct timeval *) = dss_lock_status;
const char *(*error_text)(int) = dss_strerror;
const char *(*last_error)(void) = dss_last_error;
const char *(*version)(void) = dss_version;

/* The handle is a complete type with one member, so that it may live on the stack and be zeroed. */
struct dss_handle handle;
void **connection = &handle.dh_conn;
char handle_is_one_pointer[sizeof(struct dss_handle) == sizeof(void *) ? 1 : -1];

/* The numbers can be used by the preprocessor. */
#if DSS_VERSION_MAJOR < 0 || DSS_VERSION_MINOR < 0 || DSS_VERSION_PATCH < 0
#error "the version has to be three numbers"
#endif
#if DSS_LOCK_ID_MAX != 2048 || DSS_LOCK_OWNER_MAX != 256
#error "the limits are not those of the contract"
#endif
#if !defined(ENOLOCK) || !defined(EACCESS)
#error "the errors are not defined as the written specification spells them"
#endif
char enolock_is_enolck[ENOLOCK == ENOLCK ? 1 : -1];
char eaccess_is_eacces[EACCESS == EACCES ? 1 : -1];
const char version_text[] = DSS_VERSION;
