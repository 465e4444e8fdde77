#!/bin/sh
# Builds the library whose guards a test can switch off, into target/mutants/libdss.so.0: the tests of the hazards
# must fail with each of these defects, or they prove nothing.
#
# It is built in a folder of its own, so that target/release never holds, not even for a moment, a library with
# defects in it. SQLite's C code is not optimised there: that is most of the 30 s which the first time would take.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
major=$(sed -n '/^version = "/{s/.*"\([0-9]*\)\..*/\1/p;q}' Cargo.toml)
"${CARGO:-cargo}" build --release --locked --features mutants --target-dir "$target/mutants-build" \
    --config profile.release.package.libsqlite3-sys.opt-level=0
mkdir -p "$target/mutants"
install -m 755 "$target/mutants-build/release/libdss.so" "$target/mutants/libdss.so.$major"
ln -sfn "libdss.so.$major" "$target/mutants/libdss.so"
