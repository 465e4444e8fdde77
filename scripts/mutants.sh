#!/bin/sh
# Builds the library whose guards a test can switch off, into target/mutants/libdss.so.0: the tests of the hazards
# must fail with each of these defects, or they prove nothing.
#
# It is built by the profile of the tests, so target/release never holds, not even for a moment, a library with defects in it.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
major=$(sed -n '/^version = "/{s/.*"\([0-9]*\)\..*/\1/p;q}' Cargo.toml)
"${CARGO:-cargo}" build --profile tests --locked --lib --features mutants
mkdir -p "$target/mutants"
install -m 755 "$target/tests/libdss.so" "$target/mutants/libdss.so.$major"
ln -sfn "libdss.so.$major" "$target/mutants/libdss.so"
