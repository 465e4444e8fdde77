#!/bin/sh
# Runs failing_sync (see there) with flushes that fail at each of the first places where one can.
#
#   failing_sync.sh <strace> <failing_sync>
set -eu

strace=$1
program=$2
folder=$(mktemp -d "${DSS_TEST_TMP:-/tmp}/dss-test-XXXXXX")
trap 'rm -rf "$folder"' EXIT
flushes=fsync,fdatasync,sync_file_range,msync,syncfs,sync

# <when> <arguments of the program>: which flushes fail, as strace counts them.
with_faults() {
    when=$1
    shift
    rm -f "$folder"/*
    "$program" make "$folder"
    if ! "$strace" -f -qq -o "$folder/trace" -e trace=$flushes -e inject=$flushes:error=EIO:when="$when" \
        "$program" "$@"; then
        echo "failed with faults at $when: $*" >&2
        cat "$folder/trace" "$folder/answers" >&2
        exit 1
    fi
    if ! grep -q INJECTED "$folder/trace"; then
        echo "no flush failed at $when: the test proves nothing" >&2
        exit 1
    fi
    if ! "$program" verify "$folder"; then
        echo "wrong afterwards, with faults at $when: $*" >&2
        cat "$folder/trace" "$folder/answers" >&2
        exit 1
    fi
}

for first in 1 2 3 4 5 8 13; do
    with_faults "$first+" always "$folder" "$first"
done
for first in 1 2 3 4 5 6; do
    with_faults "$first" some "$folder"
    with_faults "$first..$((first + 4))" some "$folder"
done

# Who was killed may not have flushed what it wrote. Who comes next flushes it before it answers anything.
rm -f "$folder"/*
"$program" crash "$folder"
if ! "$strace" -f -qq -o "$folder/trace" -e trace=$flushes -e inject=$flushes:error=EIO:when=1+ \
    "$program" refused "$folder"; then
    echo "opened a store whose log could not be flushed" >&2
    exit 1
fi
