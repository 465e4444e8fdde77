/*
 * What a program does at an etcd server without libdss, with the same HTTP client; benches/etcd_bare has the calls. Either a
 * lock is one key, put by a transaction if it is not there. Or it is what etcd's manual and its concurrency package
 * do: who wants it puts a key with a lease, and has it if no older one is there. There the lease is one for all locks of a
 * worker, or, as a program needs that comes, locks and goes, one for each.
 */
#include "contender.h"

void *etcd_bare_open(const char *uri);
void etcd_bare_close(void *self);
int etcd_bare_lock(void *self, const char *id, const char *owner);
int etcd_bare_unlock(void *self, const char *id, const char *owner);
int etcd_session_lock(void *self, const char *id, const char *owner);
int etcd_session_unlock(void *self, const char *id, const char *owner);
int etcd_lease_lock(void *self, const char *id, const char *owner);
int etcd_lease_unlock(void *self, const char *id, const char *owner);

const struct contender contender_etcd_bare = {
    .name = "bare",
    .title = "the bare transaction",
    .open = etcd_bare_open,
    .lock = etcd_bare_lock,
    .unlock = etcd_bare_unlock,
    .close = etcd_bare_close,
};

const struct contender contender_etcd_session = {
    .name = "session",
    .title = "the recipe, one lease for all",
    .open = etcd_bare_open,
    .lock = etcd_session_lock,
    .unlock = etcd_session_unlock,
    .close = etcd_bare_close,
};

const struct contender contender_etcd_lease = {
    .name = "lease",
    .title = "the recipe, a lease for each",
    .open = etcd_bare_open,
    .lock = etcd_lease_lock,
    .unlock = etcd_lease_unlock,
    .close = etcd_bare_close,
};
