#!/bin/sh
# Fuzzes what reads bytes from outside, and sequences of calls against `memory:`, guided by coverage (libFuzzer), two targets at a time.
#
#   fuzz.sh [SECONDS [SEED [TARGET...]]]
#
# 60 seconds for each target (calls, files, replies, uris) unless told; the seed of 0 is a random one. What is found is kept in
# target/fuzz/found/TARGET, and what made it grow in fuzz/corpus/TARGET with DSS_FUZZ_KEEP=1. An input that fails is named, and can be
# tried again: target/fuzz/bin/TARGET INPUT. Before anything else a planted defect must be found, or nothing would be proved.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
seed=${2:-0}
if [ $# -gt 2 ]; then shift 2; else set -- calls files replies uris; fi
out=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
mkdir -p "$out/bin" "$out/logs"

# What cargo-fuzz passes, too: https://github.com/rust-fuzz/cargo-fuzz; --target keeps it away from build scripts.
host=$("${CARGO:-cargo}" -vV | sed -n 's/^host: //p')
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
(cd fuzz && RUSTFLAGS=$flags "${CARGO:-cargo}" build --release --locked --target "$host" --target-dir "$out")
cp "$out/$host/release/calls" "$out/$host/release/files" "$out/$host/release/replies" "$out/$host/release/uris" "$out/bin/"

# fuzz TARGET SECONDS: with its corpus, and what earlier runs have found.
fuzz() {
    mkdir -p "$out/found/$1" "fuzz/corpus/$1"
    "$out/bin/$1" -max_total_time="$2" -seed="$seed" -max_len=1024 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$out/$1-" "$out/found/$1" "fuzz/corpus/$1" >"$out/logs/$1" 2>&1
}

# say TARGET STATUS
say() {
    if [ "$2" -ne 0 ]; then
        tail -n 40 "$out/logs/$1"
        echo "$1: failed; try it again by $out/bin/$1 INPUT, with the input that is named above"
        return 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/logs/$1")
    coverage=$(grep -o 'cov: [0-9]*' "$out/logs/$1" | tail -n 1)
    echo "$1: $runs inputs, $coverage, corpus of $(find "fuzz/corpus/$1" -type f | wc -l)"
    [ -z "${DSS_FUZZ_KEEP:-}" ] || keep "$1"
}

# The inputs that together reach all that was reached, of these the 300 shortest.
keep() {
    rm -rf "$out/kept"
    mkdir -p "$out/kept"
    "$out/bin/$1" -set_cover_merge=1 "$out/kept" "fuzz/corpus/$1" "$out/found/$1" >/dev/null 2>&1
    rm -rf "fuzz/corpus/$1"
    mkdir "fuzz/corpus/$1"
    # shellcheck disable=SC2012 # The names are numbers.
    ls -Sr "$out/kept" | head -n 300 | while read -r name; do
        cp "$out/kept/$name" "fuzz/corpus/$1/"
    done
}

mkdir -p "$out/found/planted"
if DSS_FUZZ_PLANTED=1 "$out/bin/uris" -max_total_time=20 -artifact_prefix="$out/planted-" "$out/found/planted" \
    >"$out/logs/planted" 2>&1 || ! grep -q 'the planted defect' "$out/logs/planted"; then
    echo "the planted defect was not found: there is no coverage"
    exit 1
fi

failed=0
while [ $# -gt 0 ]; do
    fuzz "$1" "$seconds" &
    first=$!
    second=
    if [ $# -gt 1 ]; then
        fuzz "$2" "$seconds" &
        second=$!
    fi
    status=0
    wait "$first" || status=$?
    say "$1" "$status" || failed=1
    shift
    [ -n "$second" ] || continue
    status=0
    wait "$second" || status=$?
    say "$1" "$status" || failed=1
    shift
done
exit "$failed"
