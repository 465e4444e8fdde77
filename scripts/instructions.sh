#!/bin/sh
# Counts the instructions of a lock with its unlock, a status, a set and a get, and fails if they are more than 10 % away from
# what benches/instructions/recorded says: times on a shared machine can't tell whether a call has become dearer.
#
# A count is the difference of two runs, so that neither the start of the program nor the opening of the store is in it.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
out=$target/instructions
few=600
many=1800

scripts/need.sh gcc valgrind
mkdir -p "$out"
if [ -w /dev/shm ]; then store=$(mktemp -d /dev/shm/dss-instructions-XXXXXX); else store=$(mktemp -d); fi
trap 'rm -rf "$store"' EXIT
trap 'exit 130' INT TERM
"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude -o "$out/calls" benches/instructions/calls.c \
    -L"$target/release" -Wl,-rpath,"$target/release" -ldss

# run KIND COUNT: the instructions of the whole program.
run() {
    rm -f "$store"/*
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$out/calls" "$1" "$2" "$store/x.db" 2>&1 |
        sed -n 's/.*Collected : *//p'
}

status=0
for kind in pair status set get; do
    recorded=$(sed -n "s/^$kind //p" benches/instructions/recorded)
    count=$((($(run $kind $many) - $(run $kind $few)) / (many - few)))
    echo "$kind: $count instructions, $recorded recorded"
    if [ $((count * 10)) -gt $((recorded * 11)) ] || [ $((count * 10)) -lt $((recorded * 9)) ]; then
        echo "  that is more than 10 % off: find out why, and record the new count if it is as it should be"
        status=1
    fi
done
exit $status
