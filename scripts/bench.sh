#!/bin/sh
# Measures libdss beside hand-written C on the same SQLite, on a file in memory and on one on the disk. `make bench`
# builds the library first. BENCH_ROUNDS and BENCH_SECONDS make it shorter or longer.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
out=$target/bench
memory=
trap 'rm -rf "$out/disk" $memory' EXIT
trap 'exit 130' INT TERM

scripts/need.sh gcc

# The SQLite that cargo compiled for libdss: both contenders have the same code and options. Cargo keeps those of
# older builds, so the newest one counts. Its build script tells where the header is.
# shellcheck disable=SC2012 # Cargo's names of folders hold no odd characters.
sqlite=$(ls -t "$target"/release/build/libsqlite3-sys-*/out/libsqlite3.a | head -n 1)
header=$(sed -n 's/^cargo:\{1,2\}\(metadata=\)\{0,1\}include=//p' "${sqlite%/out/*}/output" | head -n 1)
[ -f "$header/sqlite3.h" ] || {
    echo "bench.sh: $target/release holds no SQLite that was compiled with libdss" >&2
    exit 1
}

mkdir -p "$out"
"${CC:-cc}" -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude -isystem "$header" -o "$out/pairs" \
    benches/*.c "$sqlite" -L"$target/release" -Wl,-rpath,"$target/release" -ldss -lpthread -ldl -lm

rm -rf "$out/disk"
mkdir "$out/disk"
if [ -w /dev/shm ]; then
    memory=$(mktemp -d /dev/shm/dss-bench-XXXXXX)
else
    echo "There is no /dev/shm, so only the disk is measured." >&2
fi
"$out/pairs" "${BENCH_ROUNDS:-9}" "${BENCH_SECONDS:-1}" ${memory:+"tmpfs=$memory"} "disk=$out/disk"
