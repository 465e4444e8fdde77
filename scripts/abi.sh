#!/bin/sh
# Prints the binary interface that a header describes, for abidiff of libabigail: scripts/abi.sh [HEADER]
#
# What is dumped is a hollow library in C: each function of the header without its code, and each constant as an enum of
# its own, because programs have its number compiled in. The real library would not do: its debug information knows the
# lines and no types, and whatever Rust says of types changes from compiler to compiler. That it has the types of its header
# is what c_tests/header shows.
#
# Nothing in the dump depends on folders, lines, comments, names of parameters, or the machine.
set -eu
cd "$(dirname "$0")/.."

header=${1:-include/dss.h}
major=$(sed -n '/^version = "/{s/.*"\([0-9]*\)\..*/\1/p;q}' Cargo.toml)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

functions() {
    "${CC:-cc}" -std=c99 -E -P "$header" | tr '\n' ' ' | sed 's/\( \**dss_[a-z0-9_]*([^();]*)\);/\1 { __builtin_trap(); }\n/g'
}

# The version changes with each release, and no program depends on it.
constants() {
    "${CC:-cc}" -std=c99 -E -dM "$header" | LC_ALL=C sort |
        sed -n '/ DSS_VERSION/d;s/^#define \(DSS_[A-Z0-9_]*\) \(..*\)$/enum \1_is { value_of_\1 = \2 } \1_is;/p'
}

{ functions && constants; } >"$work/hollow.c"
"${CC:-cc}" -std=c99 -g -fPIC -shared -nostdlib -Wl,-soname,"libdss.so.$major" -x c -o "$work/hollow.so" - <"$work/hollow.c"
abidw --no-architecture --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --no-parameter-names \
    --type-id-style hash "$work/hollow.so"
