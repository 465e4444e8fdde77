#!/bin/sh
# Makes histories on the release library and judges them (tests/histories.rs), with one seed after the other, until the time is up
# or one can't have been; docs/reliability.md says what that shows.
#
#   torture.sh [FIRST_SEED]
#
# DSS_TORTURE_MINUTES (30) says how long, DSS_HISTORY_SECONDS (10) how long each history of each store takes, DSS_TEST_STORES on
# which stores. A run that fails says how to judge its record again.
set -eu
cd "$(dirname "$0")/.."

DSS_TEST_STORES=${DSS_TEST_STORES:-sqlite,memory,postgres,etcd}
DSS_HISTORY_SECONDS=${DSS_HISTORY_SECONDS:-10}
export DSS_TEST_STORES DSS_HISTORY_SECONDS

# Starts itself again beside the servers that the stores need.
if [ -z "${DSS_TORTURE_INSIDE:-}" ]; then
    servers=$(echo "$DSS_TEST_STORES" | tr , '\n' | grep -xE 'postgres|etcd' || true)
    export DSS_TORTURE_INSIDE=1
    # shellcheck disable=SC2086 # The list is meant to be split into words.
    [ -z "$servers" ] || exec scripts/servers.sh run $servers -- "$PWD/scripts/torture.sh" "$@"
fi

seed=${1:-1}
minutes=${DSS_TORTURE_MINUTES:-30}
begun=$(date +%s)
end=$((begun + minutes * 60))
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${CARGO:-cargo}" test --profile tests --locked --no-run --test histories

count=0
while [ "$(date +%s)" -lt "$end" ]; do
    if ! DSS_HISTORY_SEED=$seed "${CARGO:-cargo}" test -q --profile tests --locked --test histories -- --ignored --nocapture \
        what_processes >"$log" 2>&1; then
        cat "$log"
        echo "failed with seed $seed after $(($(date +%s) - begun)) s"
        exit 1
    fi
    count=$((count + 1))
    echo "$(($(date +%s) - begun)) s of $((minutes * 60)):"
    grep 'judged in' "$log" | sed 's/^/    /'
    seed=$((seed + 1))
done
echo "$count seeds passed, each on $DSS_TEST_STORES"
