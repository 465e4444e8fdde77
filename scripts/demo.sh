#!/bin/sh
# Shows libdss as its user meets it: installed into a prefix, found by pkg-config, used by C programs on a real SQLite
# file. `make demo` builds the library first.
set -eu
cd "$(dirname "$0")/.."
# What an outer make was told is not meant for the ones below.
unset MAKEFLAGS MFLAGS MAKELEVEL PREFIX LIBDIR INCLUDEDIR DESTDIR

demo=${CARGO_TARGET_DIR:-$PWD/target}/demo
prefix=$demo/prefix
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
trap 'exit 130' INT TERM

title() {
    printf '\n== %s\n' "$*"
}

run() {
    printf '$ %s\n' "$*"
    "$@"
}

# Builds the examples by pkg-config, or by hand where that is missing and may not be installed.
build_examples() {
    if scripts/need.sh pkg-config; then
        run env PKG_CONFIG_PATH="$prefix/lib/pkgconfig" make --no-print-directory -C examples OUT="$demo"
    else
        echo "There is no pkg-config, so the same flags are given by hand."
        run make --no-print-directory -C examples OUT="$demo" DSS_CFLAGS="-I$prefix/include" DSS_LIBS="-L$prefix/lib -ldss"
    fi
}

title "Install into a private prefix"
rm -rf "$demo"
mkdir -p "$demo"
run make --no-print-directory install QUICK=yes PREFIX="$prefix"

title "Build the examples as your own program would be built"
build_examples

# A prefix that the system's loader does not know has to be named.
export LD_LIBRARY_PATH="$prefix/lib"
export DSS_URI="sqlite:$store/dss.db"

title "Run them on a SQLite file: DSS_URI=$DSS_URI"
run "$demo/quickstart"
for example in two_processes lease_and_fence fenced_state drive_pool event_loop; do
    echo
    run "$demo/$example"
done

title "That was all on one ordinary file"
run ls -l "$store"
