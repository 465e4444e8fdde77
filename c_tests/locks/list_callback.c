/*
 * Proves: the callback of a list may call all of the library, with the handle that lists and on the very lock that is
 * shown; it may begin another list, open and close handles, and close even its own.
 */
#include "locks.h"

static struct dss_handle handle;

/* Makes every call, most of them on the very lock that is shown and with the handle that lists. */
static int call_everything(const struct dss_lock_info *info, void *arg)
{
    struct dss_handle *other = arg, third;
    struct dss_filter filter = { .size = sizeof(filter), .lock_id = "of the callback" };
    struct dss_lock_opts opts = options(DSS_LOCK_RESUME, 60000);
    static const char *const id = "of the callback";
    struct dss_grant grant;
    uint64_t token = info->token;
    int64_t left_ms;
    char copy[64];
    size_t count = 0;

    snprintf(copy, sizeof(copy), "%s", info->lock_id);
    CHECK_RC(dss_lock(&handle, copy, "eve"), -EEXIST);
    CHECK_RC(dss_lock_refresh(&handle, copy, "ann"), 0);
    CHECK_RC(refresh(&handle, copy, "ann", token), 0);
    test_check_owner(&handle, copy, "ann");
    CHECK_RC(dss_lock_transfer(&handle, copy, "ann", token, "bob", &grant), 0);
    CHECK_RC(dss_lock_left(&handle, copy, grant.token, &left_ms), 0);
    CHECK_RC(release(&handle, copy, "bob", grant.token), 0);
    CHECK_RC(dss_lockv(&handle, &id, 1, "ann", &opts, NULL), 0);
    CHECK_RC(dss_lock_list(&handle, NULL, count_shown, &count), 0); /* a list within the list */
    CHECK(count >= 1);
    CHECK_RC(dss_lock_clean(&handle, &filter, count_shown, &count), 0);
    CHECK_RC(dss_event_next(&handle, NULL), 0);
    CHECK(dss_event_fd(&handle) >= 0);
    CHECK_RC(dss_lock(&handle, copy, "ann"), 0);
    CHECK_RC(dss_unlock(&handle, copy, NULL), 0);
    CHECK(strlen(dss_last_error()) > 0 && strlen(dss_version()) > 0 && strlen(dss_strerror(-EEXIST)) > 0);

    CHECK_RC(dss_init_uri(&third, test_uri()), 0);
    CHECK_RC(dss_lock_status(&third, copy, NULL, NULL), -ENOLCK);
    dss_fini(&third);
    dss_fini(other); /* is open at the first lock only, which is harmless */
    CHECK(strcmp(copy, info->lock_id) == 0 && strcmp(info->lock_owner, "ann") == 0 && info->token == token);
    return 0;
}

static void check_callback_may_call(void)
{
    static const char *const ids[] = { "a", "b", "c", "d" };
    struct dss_handle other;

    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    CHECK_RC(dss_lockv(&handle, ids, 4, "ann", NULL, NULL), 0);
    CHECK_RC(dss_lock_list(&handle, NULL, call_everything, &other), 0);
    CHECK(other.dh_conn == NULL);
    CHECK(locks_of(&handle) == 0);
}

/* The list goes on though its own handle is closed by the callback; later calls find it closed. */
static int close_own(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    dss_fini(arg);
    CHECK_RC(dss_lock(arg, "x", "x"), -EBADF);
    return 0;
}

static void check_callback_may_close(void)
{
    struct dss_handle own;

    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    CHECK_RC(dss_lockv(&handle, (const char *const[]){ "a", "b" }, 2, "ann", NULL, NULL), 0);
    CHECK_RC(dss_lock_list(&own, NULL, close_own, &own), 0);
    CHECK_RC(dss_lock_list(&own, NULL, close_own, &own), -EBADF);
    clear(&handle);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_callback_may_call();
    check_callback_may_close();
    dss_fini(&handle);
    return 0;
}
