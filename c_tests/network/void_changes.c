/*
 * Behind a pooler a store's changes reached another schema, where its session is not known. The
 * server made them void, the store asked what had become of them, and sent them again without a
 * pause: 18,000 times in a call of ten seconds.
 *
 * Proves, where the server makes every change void: a call asks a limited number of times, ends in
 * time with -EBUSY, changes nothing, and its text names the cause and the cure. When changes are
 * done again, the same handle works.
 */
#include "locks/locks.h"
#include "network/bad.h"

#define TIMEOUT_MS 2000
/* The pause between tries grows to 50 ms. */
#define MOST_TRIES (TIMEOUT_MS / 50 + 20)

static void void_all(void)
{
    const char *schema = own_name();

    do_sql(made("CREATE FUNCTION %s.forget() RETURNS trigger LANGUAGE plpgsql AS '"
                "BEGIN IF NEW.batch <> OLD.batch THEN RETURN NULL; END IF; RETURN NEW; END'; "
                "CREATE TRIGGER forget BEFORE UPDATE ON %s.session FOR EACH ROW EXECUTE FUNCTION %s.forget()",
                schema, schema, schema));
}

/* The session begins an epoch each time that it asks what became of a change. */
static int epochs(void)
{
    return atoi(sql(made("SELECT max(epoch) FROM %s.session", own_name())));
}

static void check_void(struct dss_handle *handle, int (*call)(struct dss_handle *))
{
    int before = epochs(), tries;
    double begun = test_seconds(), took;

    CHECK_RC(call(handle), -EBUSY);
    took = test_seconds() - begun;
    tries = epochs() - before;
    fprintf(stderr, "%d tries in %.2f s: %s\n", tries, took, dss_last_error());
    CHECK(tries > 1 && tries <= MOST_TRIES);
    CHECK(took > TIMEOUT_MS / 2e3 && took < TIMEOUT_MS / 1e3 + 1);
    check_says("pooler");
}

static int lock_it(struct dss_handle *handle)
{
    return dss_lock(handle, "new", "ann");
}

static int unlock_it(struct dss_handle *handle)
{
    return dss_unlock(handle, "held", "ann");
}

static int set_it(struct dss_handle *handle)
{
    return dss_set(handle, "key", "value", 5, NULL, NULL);
}

int main(void)
{
    char *uri = test_uri_with(made("timeout_ms=%d", TIMEOUT_MS));
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "held", "ann"), 0);
    void_all();
    check_void(&handle, lock_it);
    check_void(&handle, unlock_it);
    check_void(&handle, set_it);
    test_check_owner(&handle, "new", NULL);
    test_check_owner(&handle, "held", "ann");
    CHECK_RC(dss_get(&handle, "key", NULL, NULL, NULL), -ENOENT);
    do_sql(made("DROP TRIGGER forget ON %s.session", own_name()));
    use(&handle);
    CHECK_RC(unlock_it(&handle), 0);
    CHECK_RC(set_it(&handle), 0);
    dss_fini(&handle);
    free(uri);
    return 0;
}
