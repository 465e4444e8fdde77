/*
 * Locks are listed while the same process, and others, take and release locks.
 *
 * A list is a second connection of the process to the file. Whoever unlocks a byte of the file's locks for one of the
 * two connections must not unlock the other's: then another process believes that nobody reads the snapshot any more,
 * writes over it, and the list shows what never was; or two of them write at once, and a lock is granted twice.
 */
#include "contend.h"
#include "host_sqlite.h"

#define DRIVES 2000
#define AT_ONCE 50
/* The lock in whose callback the list stands still. */
#define STANDS_AT 10
#define STANDS_S 1.5
#define PROCESSES 2
#define THREADS 2
#define LISTS 4
#define LISTS_S 2.5
#define MARKS 64

static struct arena *arena;
static struct dss_handle handle;
static uint64_t tokens[DRIVES];

/* Takes the locks of one owner, those that he has too, all in one transaction. */
static int retake(struct dss_handle *of, const char *const *ids, size_t count, const char *owner, const char *note,
                  struct dss_grant *grants)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_RESUME, .note = note};

    return dss_lockv(of, ids, count, owner, &opts, grants);
}

static void retake_drives(struct dss_handle *of, const char *note, int first, uint64_t *ret_tokens)
{
    struct dss_grant grants[AT_ONCE];
    char names[AT_ONCE][16];
    const char *ids[AT_ONCE];

    for (int i = 0; i < AT_ONCE; i++) {
        snprintf(names[i], sizeof(names[i]), "drive %04d", first + i);
        ids[i] = names[i];
    }
    CHECK_RC(retake(of, ids, AT_ONCE, "ann", note, grants), 0);
    for (int i = 0; i < AT_ONCE && ret_tokens != NULL; i++)
        ret_tokens[first + i] = grants[i].token;
}

/* ---- A list stands still, and all that it has still to show is changed. ---- */

/* The list stands still; its locks shall be changed; they are; the list may go on. */
enum word { STANDS = 1, CHANGE, CHANGED, GO_ON };

struct list {
    struct line stands, go_on;
    int seen;
};

static struct line change, changed;

static int show_as_it_was(const struct dss_lock_info *info, void *arg)
{
    struct list *list = arg;
    char name[16];

    snprintf(name, sizeof(name), "drive %04d", list->seen);
    CHECK(strcmp(info->lock_id, name) == 0 && strcmp(info->lock_owner, "ann") == 0);
    CHECK(strcmp(info->note, "before") == 0 && info->token == tokens[list->seen]);
    if (list->seen == STANDS_AT) {
        tell(&list->stands, STANDS);
        CHECK(hear(&list->go_on) == GO_ON);
    }
    list->seen++;
    return 0;
}

static void *list_as_it_was(void *arg)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "drive "};
    struct list *list = arg;

    CHECK_RC(dss_lock_list(&handle, &filter, show_as_it_was, list), 0);
    CHECK(list->seen == DRIVES);
    return NULL;
}

static double seconds_to_contend;

/* A lock that ann has is granted to nobody, whoever may be confused. */
static void contend_and_try(struct dss_handle *of)
{
    double end = test_seconds() + seconds_to_contend;

    while (test_seconds() < end && !atomic_load(&arena->stop)) {
        contend(linked_api(), of, arena, "contended", 0.05);
        CHECK_RC(dss_lock(of, "held", "bob"), -EEXIST);
    }
}

static void *contend_here(void *arg)
{
    (void)arg;
    contend_and_try(&handle);
    return NULL;
}

static void contend_elsewhere(void *arg)
{
    struct dss_handle own;

    (void)arg;
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    contend_and_try(&own);
    dss_fini(&own);
}

/* From the end, so that the list has all of it before it. */
static void change_all(void *arg)
{
    struct dss_filter filter = {.size = sizeof(filter), .flags = DSS_FILTER_ID_PREFIX, .lock_id = "drive 1"};
    struct dss_handle own;

    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    CHECK(hear(&change) == CHANGE);
    for (int first = DRIVES - AT_ONCE; first >= 0; first -= AT_ONCE)
        retake_drives(&own, "after", first, NULL);
    CHECK_RC(dss_lock_clean(&own, &filter, NULL, NULL), 0);
    tell(&changed, CHANGED);
    contend_elsewhere(arg);
    dss_fini(&own);
}

static void list_stands_still(void)
{
    pid_t processes[PROCESSES + 1];
    pthread_t lister, threads[THREADS];
    struct list list = {.seen = 0};

    line_make(&list.stands);
    line_make(&list.go_on);
    line_make(&change);
    line_make(&changed);
    arena = arena_make();
    seconds_to_contend = STANDS_S;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int first = 0; first < DRIVES; first += AT_ONCE)
        retake_drives(&handle, "before", first, tokens);
    CHECK_RC(dss_lock(&handle, "held", "ann"), 0);
    /* The others are made first: a fork would cut the list short. */
    for (int i = 0; i < PROCESSES; i++)
        processes[i] = spawn(contend_elsewhere, NULL);
    processes[PROCESSES] = spawn(change_all, NULL);
    lister = start_thread(list_as_it_was, &list);
    CHECK(hear(&list.stands) == STANDS);
    tell(&change, CHANGE);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start_thread(contend_here, NULL);
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    arena_close(arena, processes, PROCESSES + 1);
    CHECK(hear(&changed) == CHANGED);
    tell(&list.go_on, GO_ON);
    join_thread(lister);
    dss_fini(&handle);
}

/* ---- Several lists at once, each of one moment. ---- */

static char mark_names[MARKS][16];
static const char *mark_ids[MARKS];

/* The marks lie all over the list and are changed together, over and over: each list has to show one turn of them. */
static void turn_marks(void *arg)
{
    double end = test_seconds() + LISTS_S;
    struct dss_handle own;

    (void)arg;
    CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    for (int turn = 0; test_seconds() < end; turn++) {
        char note[32];

        snprintf(note, sizeof(note), "turn %d", turn);
        CHECK_RC(retake(&own, mark_ids, MARKS, "turner", note, NULL), 0);
    }
    dss_fini(&own);
}

struct view {
    char last_id[16], note[32];
    int marks, held;
};

static int look(const struct dss_lock_info *info, void *arg)
{
    struct view *view = arg;

    CHECK(strcmp(info->lock_id, view->last_id) > 0);
    snprintf(view->last_id, sizeof(view->last_id), "%s", info->lock_id);
    view->held += strcmp(info->lock_id, "held") == 0 && strcmp(info->lock_owner, "ann") == 0;
    if (strcmp(info->lock_owner, "turner") != 0)
        return 0;
    if (view->marks == 0)
        snprintf(view->note, sizeof(view->note), "%s", info->note);
    if (strcmp(info->note, view->note) != 0)
        fprintf(stderr, "the list shows %s beside %s\n", info->note, view->note);
    CHECK(strcmp(info->note, view->note) == 0);
    view->marks++;
    return 0;
}

static void *list_over_and_over(void *arg)
{
    double end = test_seconds() + LISTS_S;

    (void)arg;
    while (test_seconds() < end) {
        struct view view = {.marks = 0};

        CHECK_RC(dss_lock_list(&handle, NULL, look, &view), 0);
        CHECK(view.marks == MARKS && view.held == 1);
    }
    return NULL;
}

static void name_marks(void)
{
    for (int i = 0; i < MARKS; i++) {
        snprintf(mark_names[i], sizeof(mark_names[i]), "drive %04d+", i * (DRIVES / 2 / MARKS));
        mark_ids[i] = mark_names[i];
    }
}

static void many_lists(void)
{
    pid_t processes[PROCESSES + 1];
    pthread_t threads[LISTS + 1];

    name_marks();
    arena = arena_make();
    seconds_to_contend = LISTS_S;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(retake(&handle, mark_ids, MARKS, "turner", "turn -1", NULL), 0);
    for (int i = 0; i < PROCESSES; i++)
        processes[i] = spawn(contend_elsewhere, NULL);
    processes[PROCESSES] = spawn(turn_marks, NULL);
    for (int i = 0; i < LISTS; i++)
        threads[i] = start_thread(list_over_and_over, NULL);
    threads[LISTS] = start_thread(contend_here, NULL);
    for (int i = 0; i <= LISTS; i++)
        join_thread(threads[i]);
    arena_close(arena, processes, PROCESSES + 1);
    dss_fini(&handle);
}

static void check_file(void)
{
    char *path = test_path("dss.db");
    sqlite3 *db = host_open(path);

    host_integrity(db);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    free(path);
}

int main(void)
{
    (void)test_uri();
    list_stands_still();
    many_lists();
    if (test_store_is("sqlite"))
        check_file();
    return 0;
}
