#!/bin/sh
# Builds the library whose guards a test can switch off, into target/mutants/libdss.so.0: the tests of the hazards
# must fail with each of these defects, or they prove nothing.
#
# It is built where the tests' library is, which takes a third of the time, and that is put back at once.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
major=$(sed -n '/^version = "/{s/.*"\([0-9]*\)\..*/\1/p;q}' Cargo.toml)
mkdir -p "$target/mutants"
trap '"${CARGO:-cargo}" build --profile quick --locked' EXIT
"${CARGO:-cargo}" build --profile quick --locked --lib --features mutants
install -m 755 "$target/quick/libdss.so" "$target/mutants/libdss.so.$major"
ln -sfn "libdss.so.$major" "$target/mutants/libdss.so"
