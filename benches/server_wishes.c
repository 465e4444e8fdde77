/* What was wished for of the server stores, beside what one writes by hand for the same server. */
#include <math.h>

#include "contender.h"
#include "records.h"
#include "wish.h"

/* limit 0: none. */
static void wish_pairs(const char *text, const char *workload, const char *rival, double limit)
{
    struct wish wish;

    if (!was_recorded(workload, rival, "pairs_per_s"))
        return;
    wish = compare(text, workload, rival, "pairs_per_s", false);
    wish.limit = limit;
    if (limit <= 0)
        wish.judged = NAN;
    print_wish(&wish);
}

void print_server_wishes(void)
{
    wish_pairs("PostgreSQL, 1 thread: pairs/s, C with text", "postgres-single", "text", 1.3);
    wish_pairs("  C with prepared statements", "postgres-single", "prepared", 0.9);
    wish_pairs("  text, no tokens or leases", "postgres-single", "text-bare", 1.3);
    wish_pairs("  prepared, no tokens or leases", "postgres-single", "prepared-bare", 0.9);
    wish_pairs("  8 threads; 8 connections, prepared", "postgres-threads8", "prepared", 1.0);
    wish_pairs("  8; prepared, no tokens or leases", "postgres-threads8", "prepared-bare", 1.0);
    wish_sets("  64 ids: sets/s by dss_lockv", "postgres-sets", 0);
    wish_pairs("etcd, 1 thread: pairs/s, bare transaction", "etcd-single", "bare", 0.9);
    wish_pairs("  recipe: put, look, delete; one lease for all", "etcd-single", "session", 2.0);
    wish_pairs("  recipe with a lease for each lock", "etcd-single", "lease", 2.0);
    wish_pairs("  8 threads; 8 connections, bare", "etcd-threads8", "bare", 0);
    wish_sets("  64 ids: sets/s by dss_lockv", "etcd-sets", 0);
}
