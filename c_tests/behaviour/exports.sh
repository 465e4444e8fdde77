#!/bin/sh
# Proves: the library shows a process nothing but its own calls, is called what a linker expects, stays loaded once it
# is loaded (a thread that ends later may still run code of it) and needs no library that a C program has not got.
#
# usage: exports.sh <nm> <readelf> <libdss.so> <dss.h>
set -eu
LC_ALL=C
export LC_ALL
nm=$1 readelf=$2 library=$3 header=$4

fail() {
    echo "$1" >&2
    exit 1
}

# The version that may follow a name, as in dss_lock@@DSS_0, is not part of it.
exported=$("$nm" -D --defined-only "$library" | awk 'NF >= 3 && $2 != "A" { sub(/@.*/, "", $NF); print $NF }' | sort -u)
[ -n "$exported" ] || fail "$library exports nothing"
foreign=$(echo "$exported" | grep -v '^dss_[a-z0-9_]*$' || true)
[ -z "$foreign" ] || fail "$library exports more than dss_*: $foreign"

# Whatever the header declares is there, and the header declares whatever is there.
declared=$(sed -n 's/^[a-z].*[ *]\(dss_[a-z0-9_]*\)(.*/\1/p' "$header" | sort -u)
[ "$declared" = "$exported" ] || fail "the header declares: $declared
but the library exports: $exported"

dynamic=$("$readelf" -dW "$library")
echo "$dynamic" | grep -q 'Library soname: \[libdss\.so\.0\]' || fail "the SONAME is not libdss.so.0: $dynamic"
echo "$dynamic" | grep -q 'FLAGS_1.*NODELETE' || fail "the library can be unloaded: $dynamic"
needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
[ -n "$needed" ] || fail "no NEEDED entry was found: $dynamic"
for one in $needed; do
    case $one in
    libc.so.6 | libgcc_s.so.1 | ld-linux*.so.*) ;;
    *) fail "the library needs $one" ;;
    esac
done
