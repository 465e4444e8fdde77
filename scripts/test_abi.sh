#!/bin/sh
# Tests that programs which are built already go on working with the library of this tree: its binary interface is the
# one that abi/ keeps. `make abi` writes that anew.
set -eu
cd "$(dirname "$0")/.."

library=${CARGO_TARGET_DIR:-target}/release/libdss.so
major=$(sed -n '/^version = "/{s/.*"\([0-9]*\)\..*/\1/p;q}' Cargo.toml)
kept=abi/libdss.so.$major.abi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "test_abi: $*" >&2
    exit 1
}

[ -e "$kept" ] || fail "there is no $kept: a new major version begins with \"make abi\""

# What became of the interface in a header: "same", "grown", or "broken"; abidiff's report is left in a file.
verdict() {
    scripts/abi.sh "$1" >"$work/new.abi" || fail "$1 can not be dumped"
    if abidiff "$kept" "$work/new.abi" >"$work/report"; then
        echo same
    elif abidiff --no-added-syms "$kept" "$work/new.abi" >"$work/broken"; then
        echo grown
    else
        echo broken
    fi
}

# A comparison that finds nothing is worth something if it finds what is there: defect VERDICT SED-SCRIPT
defect() {
    sed "$2" include/dss.h >"$work/dss.h"
    ! cmp -s include/dss.h "$work/dss.h" || fail "nothing in the header to try this on: $2"
    found=$(verdict "$work/dss.h")
    [ "$found" = "$1" ] || fail "the interface is told to be $found and not $1 after: $2"
}

found=$(verdict include/dss.h)
case $found in
same) ;;
grown)
    cat "$work/report" >&2
    fail "the interface has grown: write it down by \"make abi\", and commit abi/"
    ;;
*)
    cat "$work/report" >&2
    fail "programs that are built already may not work with this library any more. If they do (a struct that begins with its
size has grown at its end), \"make abi\" accepts it; if they do not, it takes a new major version"
    ;;
esac

# The library itself: the same functions, under the same name.
sed -n '/<elf-function-symbols>/,/<\/elf-function-symbols>/s/.*elf-symbol name=.\([a-z0-9_]*\).*/\1/p' "$kept" | LC_ALL=C sort >"$work/kept"
nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort >"$work/exported"
[ -s "$work/kept" ] || fail "$kept names no functions"
diff -u "$work/kept" "$work/exported" || fail "$library does not export what $kept says"
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
grep -q "^<abi-corpus .*soname='$soname'" "$kept" || fail "$library calls itself $soname, which is not what $kept says"

defect broken '/^struct dss_grant {/,/^};/{s/uint32_t flags;/int32_t rc;/;t;s/int32_t rc;/uint32_t flags;/;}'
defect broken '/^struct dss_lock_info {/,/^};/s/int64_t left_ms;/&\nint64_t more;/'
defect broken 's/uint64_t from_token/uint32_t from_token/'
defect broken 's/^int dss_lock_left(/int64_t dss_lock_left(/'
defect broken '/^const char \*dss_version(void);/d'
defect broken 's/^#define DSS_LOCK_RESUME 2$/#define DSS_LOCK_RESUME 8/'
defect broken '/^#define DSS_REASON_FORCED /d'
defect grown 's/^const char \*dss_version(void);/&\nint dss_lock_more(struct dss_handle *handle);/'
defect grown 's/^#define DSS_LOCK_RESUME 2$/&\n#define DSS_LOCK_MORE 8/'
defect same 's/lock_owner,/owner,/;s/^ \* Release several locks\.$/&\n */'
echo "the binary interface: as it was"
