#!/bin/sh
# Tests the programs of the manual pages: each is built with the warnings of a careful user and runs on a store of its own.
set -eu
cd "$(dirname "$0")/.."

out=${CARGO_TARGET_DIR:-target}/quick
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

count=0
for source in man/examples/*.c; do
    name=$(basename "$source" .c)
    "${CC:-cc}" -std=c99 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -o "$work/$name" \
        "$source" -L"$out" -ldss
    DSS_URI="sqlite:$work/$name.db" LD_LIBRARY_PATH=$out timeout 60 "$work/$name" >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        echo "test_examples: $source fails" >&2
        exit 1
    }
    count=$((count + 1))
done
echo "$count programs of manual pages: as they should be"
