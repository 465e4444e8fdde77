#!/bin/sh
# Asks for long what `make test` asks for a moment, with one seed after the other, until the time is up or something has failed;
# docs/reliability.md says what each stage shows.
#
#   torture.sh [FIRST_SEED]
#
# DSS_TORTURE_MINUTES (30) says how long, DSS_TEST_STORES on which stores, DSS_TORTURE_STAGES which stages (all), and
# DSS_HISTORY_SECONDS (10) how long each history of each store takes. A run that fails says how it can be looked at again.
set -eu
cd "$(dirname "$0")/.."

DSS_TEST_STORES=${DSS_TEST_STORES:-sqlite,memory,postgres,etcd}
DSS_HISTORY_SECONDS=${DSS_HISTORY_SECONDS:-10}
DSS_TORTURE_STAGES=${DSS_TORTURE_STAGES:-histories power_cuts failing_calls closed_descriptors fuzzing harness}
export DSS_TEST_STORES DSS_HISTORY_SECONDS

# Starts itself again beside the servers that the stores need.
if [ -z "${DSS_TORTURE_INSIDE:-}" ]; then
    servers=$(echo "$DSS_TEST_STORES" | tr , '\n' | grep -xE 'postgres|etcd' || true)
    export DSS_TORTURE_INSIDE=1
    # shellcheck disable=SC2086 # The list is meant to be split into words.
    [ -z "$servers" ] || exec scripts/servers.sh run $servers -- "$PWD/scripts/torture.sh" "$@"
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
c_tests=$target/torture
log=$(mktemp)
said=$(mktemp)
trap 'rm -f "$log" "$said"' EXIT

build() {
    "${CARGO:-cargo}" test --profile quick --locked --no-run --test histories
    cmake -S c_tests -B "$c_tests" -DDSS_LIB_DIR="$target/release" -DDSS_INCLUDE_DIR="$PWD/include" -DDSS_PROVE=ON \
        >/dev/null
    cmake --build "$c_tests" -j "$(nproc)" >/dev/null
}

# ---- The stages: each does one round with a seed, and prints a line or some ---------------------------------------------

histories() {
    DSS_HISTORY_SEED=$1 "${CARGO:-cargo}" test -q --profile quick --locked --test histories -- --ignored --nocapture \
        what_processes >"$log" 2>&1 || { cat "$log" && return 1; }
    grep 'judged in' "$log"
}

power_cuts() {
    "$c_tests/power/power_cut" 10000 "$1"
}

# All of them take ten minutes, so each round takes some by chance.
failing_calls() {
    "$c_tests/failing/sweep" sample "$1" 2000
}

closed_descriptors() {
    for store in $(echo "$DSS_TEST_STORES" | tr , ' '); do
        DSS_TEST_STORE=$store "$c_tests/hazards/closed_descriptors" "$1" 100 || return 1
        echo "$store: 100 moments"
    done
}

# A minute for each target and round; what was found in one round is where the next one begins.
fuzzing() {
    scripts/fuzz.sh 60 "$1"
}

# Each test of the harness thirty times, beside two processes that burn the processors: one that fails now and then is a bad
# test. It takes some hours, so only the first round does it.
harness() {
    [ "$1" -eq "$first_seed" ] || return 0
    sh -c 'while :; do :; done' &
    first=$!
    sh -c 'while :; do :; done' &
    second=$!
    status=0
    ctest --test-dir "$c_tests" -j "$(($(nproc) * 2))" --output-on-failure -LE 'valgrind|asan|full|mutant' \
        --repeat until-fail:30 >"$log" 2>&1 || status=$?
    kill "$first" "$second"
    [ "$status" -eq 0 ] || cat "$log"
    tail -n 3 "$log"
    return "$status"
}

# ---- All of it -------------------------------------------------------------------------------------------------------

first_seed=${1:-1}
seed=$first_seed
begun=$(date +%s)
end=$((begun + ${DSS_TORTURE_MINUTES:-30} * 60))
build
rounds=0
while [ "$(date +%s)" -lt "$end" ]; do
    for stage in $DSS_TORTURE_STAGES; do
        if ! "$stage" "$seed" >"$said" 2>&1; then
            cat "$said"
            echo "failed: $stage with seed $seed, after $(($(date +%s) - begun)) s"
            exit 1
        fi
        sed "s/^/    $stage: /" "$said"
    done
    rounds=$((rounds + 1))
    echo "$(($(date +%s) - begun)) s of $((end - begun)): seed $seed passed"
    seed=$((seed + 1))
done
echo "$rounds seeds passed, each on $DSS_TEST_STORES: $DSS_TORTURE_STAGES"
