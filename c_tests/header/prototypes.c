/*
 * Proves: the calls have the types of the contract in C and in C++, and what else the header has to define is there.
 */
#include "dss.h"

int (*init)(struct dss_handle *) = dss_init;
int (*init_uri)(struct dss_handle *, const char *) = dss_init_uri;
void (*fini)(struct dss_handle *) = dss_fini;
const char *(*uri)(struct dss_handle *) = dss_uri;
int (*lock)(struct dss_handle *, const char *, const char *) = dss_lock;
int (*lock_refresh)(struct dss_handle *, const char *, const char *) = dss_lock_refresh;
int (*unlock)(struct dss_handle *, const char *, const char *) = dss_unlock;
int (*lock_status)(struct dss_handle *, const char *, char **, struct timeval *) = dss_lock_status;
int (*lockv)(struct dss_handle *, const char *const *, size_t, const char *, const struct dss_lock_opts *,
             struct dss_grant *) = dss_lockv;
int (*lock_refreshv)(struct dss_handle *, const char *const *, size_t, const char *, const uint64_t *,
                     struct dss_grant *) = dss_lock_refreshv;
int (*unlockv)(struct dss_handle *, const char *const *, size_t, const char *, const uint64_t *, int *) = dss_unlockv;
int (*lock_transfer)(struct dss_handle *, const char *, const char *, uint64_t, const char *,
                     struct dss_grant *) = dss_lock_transfer;
int (*callback)(const struct dss_lock_info *, void *);
dss_lock_cb *callback_type = &callback;
int (*lock_list)(struct dss_handle *, const struct dss_filter *, dss_lock_cb, void *) = dss_lock_list;
int (*lock_clean)(struct dss_handle *, const struct dss_filter *, dss_lock_cb, void *) = dss_lock_clean;
int (*get)(struct dss_handle *, const char *, void **, size_t *, uint64_t *) = dss_get;
int (*set)(struct dss_handle *, const char *, const void *, size_t, const struct dss_guard *, uint64_t *) = dss_set;
int (*key_callback)(const struct dss_key_info *, void *);
dss_key_cb *key_callback_type = &key_callback;
int (*list)(struct dss_handle *, const char *, dss_key_cb, void *) = dss_list;
int (*lock_left)(struct dss_handle *, const char *, uint64_t, int64_t *) = dss_lock_left;
int (*event_fd)(struct dss_handle *) = dss_event_fd;
int (*event_next)(struct dss_handle *, struct dss_event *) = dss_event_next;
const char *(*error_text)(int) = dss_strerror;
const char *(*last_error)(void) = dss_last_error;
const char *(*version)(void) = dss_version;

/* The handle is a complete type with one member, so that it may live on the stack and be zeroed. */
struct dss_handle handle;
void **connection = &handle.dh_conn;
char handle_is_one_pointer[sizeof(struct dss_handle) == sizeof(void *) ? 1 : -1];

/*
 * The structs have the fields of the first release, where they were then: a program that was compiled with it goes on
 * working. The library is for machines of 64 bits.
 */
struct dss_lock_opts lock_opts;
size_t *lock_opts_size = &lock_opts.size;
uint64_t *lock_opts_flags = &lock_opts.flags;
uint64_t *lock_opts_ttl_ms = &lock_opts.ttl_ms;
int64_t *lock_opts_wait_ms = &lock_opts.wait_ms;
const char **lock_opts_note = &lock_opts.note;
char lock_opts_begin_with_size[offsetof(struct dss_lock_opts, size) == 0 ? 1 : -1];
char lock_opts_flags_at_8[offsetof(struct dss_lock_opts, flags) == 8 ? 1 : -1];
char lock_opts_ttl_ms_at_16[offsetof(struct dss_lock_opts, ttl_ms) == 16 ? 1 : -1];
char lock_opts_wait_ms_at_24[offsetof(struct dss_lock_opts, wait_ms) == 24 ? 1 : -1];
char lock_opts_note_at_32[offsetof(struct dss_lock_opts, note) == 32 ? 1 : -1];
char lock_opts_have_40_bytes[sizeof(struct dss_lock_opts) == 40 ? 1 : -1];

struct dss_grant grant;
uint64_t *grant_token = &grant.token;
int64_t *grant_left_ms = &grant.left_ms;
uint32_t *grant_flags = &grant.flags;
int32_t *grant_rc = &grant.rc;
uint64_t (*grant_reserved)[2] = &grant.reserved;
char grant_token_at_0[offsetof(struct dss_grant, token) == 0 ? 1 : -1];
char grant_left_ms_at_8[offsetof(struct dss_grant, left_ms) == 8 ? 1 : -1];
char grant_flags_at_16[offsetof(struct dss_grant, flags) == 16 ? 1 : -1];
char grant_rc_at_20[offsetof(struct dss_grant, rc) == 20 ? 1 : -1];
char grant_reserved_at_24[offsetof(struct dss_grant, reserved) == 24 ? 1 : -1];
char grant_has_40_bytes[sizeof(struct dss_grant) == 40 ? 1 : -1];

struct dss_filter filter;
size_t *filter_size = &filter.size;
uint64_t *filter_flags = &filter.flags;
const char **filter_lock_id = &filter.lock_id;
const char **filter_lock_owner = &filter.lock_owner;
uint64_t *filter_min_age_ms = &filter.min_age_ms;
char filter_begins_with_size[offsetof(struct dss_filter, size) == 0 ? 1 : -1];
char filter_flags_at_8[offsetof(struct dss_filter, flags) == 8 ? 1 : -1];
char filter_lock_id_at_16[offsetof(struct dss_filter, lock_id) == 16 ? 1 : -1];
char filter_lock_owner_at_24[offsetof(struct dss_filter, lock_owner) == 24 ? 1 : -1];
char filter_min_age_ms_at_32[offsetof(struct dss_filter, min_age_ms) == 32 ? 1 : -1];
char filter_has_40_bytes[sizeof(struct dss_filter) == 40 ? 1 : -1];

struct dss_lock_info lock_info;
size_t *lock_info_size = &lock_info.size;
const char **lock_info_lock_id = &lock_info.lock_id;
const char **lock_info_lock_owner = &lock_info.lock_owner;
const char **lock_info_note = &lock_info.note;
const char **lock_info_client = &lock_info.client;
uint64_t *lock_info_token = &lock_info.token;
int64_t *lock_info_taken_us = &lock_info.taken_us;
int64_t *lock_info_refreshed_us = &lock_info.refreshed_us;
uint64_t *lock_info_ttl_ms = &lock_info.ttl_ms;
int64_t *lock_info_left_ms = &lock_info.left_ms;
char lock_info_begins_with_size[offsetof(struct dss_lock_info, size) == 0 ? 1 : -1];
char lock_info_lock_id_at_8[offsetof(struct dss_lock_info, lock_id) == 8 ? 1 : -1];
char lock_info_lock_owner_at_16[offsetof(struct dss_lock_info, lock_owner) == 16 ? 1 : -1];
char lock_info_note_at_24[offsetof(struct dss_lock_info, note) == 24 ? 1 : -1];
char lock_info_client_at_32[offsetof(struct dss_lock_info, client) == 32 ? 1 : -1];
char lock_info_token_at_40[offsetof(struct dss_lock_info, token) == 40 ? 1 : -1];
char lock_info_taken_us_at_48[offsetof(struct dss_lock_info, taken_us) == 48 ? 1 : -1];
char lock_info_refreshed_us_at_56[offsetof(struct dss_lock_info, refreshed_us) == 56 ? 1 : -1];
char lock_info_ttl_ms_at_64[offsetof(struct dss_lock_info, ttl_ms) == 64 ? 1 : -1];
char lock_info_left_ms_at_72[offsetof(struct dss_lock_info, left_ms) == 72 ? 1 : -1];
char lock_info_has_80_bytes[sizeof(struct dss_lock_info) == 80 ? 1 : -1];

struct dss_guard guard;
size_t *guard_size = &guard.size;
uint64_t *guard_flags = &guard.flags;
uint64_t *guard_version = &guard.version;
const char **guard_lock_id = &guard.lock_id;
uint64_t *guard_token = &guard.token;
char guard_begins_with_size[offsetof(struct dss_guard, size) == 0 ? 1 : -1];
char guard_flags_at_8[offsetof(struct dss_guard, flags) == 8 ? 1 : -1];
char guard_version_at_16[offsetof(struct dss_guard, version) == 16 ? 1 : -1];
char guard_lock_id_at_24[offsetof(struct dss_guard, lock_id) == 24 ? 1 : -1];
char guard_token_at_32[offsetof(struct dss_guard, token) == 32 ? 1 : -1];
char guard_has_40_bytes[sizeof(struct dss_guard) == 40 ? 1 : -1];

struct dss_key_info key_info;
size_t *key_info_size = &key_info.size;
const char **key_info_key = &key_info.key;
uint64_t *key_info_version = &key_info.version;
size_t *key_info_len = &key_info.len;
char key_info_begins_with_size[offsetof(struct dss_key_info, size) == 0 ? 1 : -1];
char key_info_key_at_8[offsetof(struct dss_key_info, key) == 8 ? 1 : -1];
char key_info_version_at_16[offsetof(struct dss_key_info, version) == 16 ? 1 : -1];
char key_info_len_at_24[offsetof(struct dss_key_info, len) == 24 ? 1 : -1];
char key_info_has_32_bytes[sizeof(struct dss_key_info) == 32 ? 1 : -1];

struct dss_event event;
uint32_t *event_type = &event.type;
uint32_t *event_reason = &event.reason;
uint64_t *event_token = &event.token;
int64_t *event_left_ms = &event.left_ms;
uint64_t (*event_reserved)[4] = &event.reserved;
char (*event_lock_id)[2056] = &event.lock_id;
char event_type_at_0[offsetof(struct dss_event, type) == 0 ? 1 : -1];
char event_reason_at_4[offsetof(struct dss_event, reason) == 4 ? 1 : -1];
char event_token_at_8[offsetof(struct dss_event, token) == 8 ? 1 : -1];
char event_left_ms_at_16[offsetof(struct dss_event, left_ms) == 16 ? 1 : -1];
char event_reserved_at_24[offsetof(struct dss_event, reserved) == 24 ? 1 : -1];
char event_lock_id_at_56[offsetof(struct dss_event, lock_id) == 56 ? 1 : -1];
char event_has_2112_bytes[sizeof(struct dss_event) == 2112 ? 1 : -1];
char event_holds_every_lock_id[sizeof(event.lock_id) > DSS_LOCK_ID_MAX ? 1 : -1];

/* The numbers can be used by the preprocessor. */
#if DSS_VERSION_MAJOR < 0 || DSS_VERSION_MINOR < 0 || DSS_VERSION_PATCH < 0
#error "the version has to be three numbers"
#endif
#if DSS_LOCK_ID_MAX != 2048 || DSS_LOCK_OWNER_MAX != 256
#error "the limits are not those of the contract"
#endif
#if DSS_LOCK_IDS_MAX != 64 || DSS_NOTE_MAX != 1024 || DSS_TTL_MIN_MS != 1000
#error "the limits of the calls for many locks are not those of the contract"
#endif
#if DSS_KEY_MAX != 2048 || DSS_VALUE_MAX != 1024 * 1024
#error "the limits of keys and values are not those of the contract"
#endif
#if DSS_TTL_MAX_MS / 86400000 != 366 || DSS_TTL_MAX_MS % 86400000 != 0
#error "the longest lease is not 366 days"
#endif
/* Fixed for ever: programs are compiled with them. */
#if DSS_LOCK_ANY != 1 || DSS_LOCK_RESUME != 2 || DSS_LOCK_KEEPALIVE != 4
#error "the flags of dss_lock_opts have changed"
#endif
#if DSS_GRANT_RESUMED != 1 || DSS_GRANT_OWNERDEAD != 2
#error "the flags of dss_grant have changed"
#endif
#if DSS_FILTER_ID_PREFIX != 1 || DSS_FILTER_OWNER_PREFIX != 2 || DSS_FILTER_EVERYTHING != 4
#error "the flags of dss_filter have changed"
#endif
#if DSS_GUARD_VERSION != 1 || DSS_GUARD_LOCK != 2
#error "the flags of dss_guard have changed"
#endif
#if DSS_EVENT_AT_RISK != 1 || DSS_EVENT_SAFE != 2 || DSS_EVENT_LOST != 3
#error "the types of events have changed"
#endif
#if DSS_REASON_EXPIRED != 1 || DSS_REASON_FORCED != 2 || DSS_REASON_TRANSFERRED != 3 || DSS_REASON_RESUMED != 4 || \
    DSS_REASON_UNLOCKED != 5 || DSS_REASON_FORKED != 6
#error "the reasons of events have changed"
#endif
#if !defined(ENOLOCK) || !defined(EACCESS)
#error "the errors are not defined as the written specification spells them"
#endif
char enolock_is_enolck[ENOLOCK == ENOLCK ? 1 : -1];
char eaccess_is_eacces[EACCESS == EACCES ? 1 : -1];
const char version_text[] = DSS_VERSION;
