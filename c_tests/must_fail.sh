#!/bin/sh
# Runs a test against a library whose guard is off: the test must notice. A test that passes with and without
# the guard proves nothing about it.
#
#   must_fail.sh <seconds> <folder of the library with the switch> <the guard's name> <the test's name> <program> [<argument>...]
set -u

seconds=$1
folder=$2
DSS_MUTANT=$3
name=$4
shift 4
LD_LIBRARY_PATH=$folder
DSS_TEST_LIBRARY=$folder/libdss.so.0
if [ ! -e "$DSS_TEST_LIBRARY" ]; then
    echo "there is no $DSS_TEST_LIBRARY" >&2
    exit 1
fi
export DSS_MUTANT LD_LIBRARY_PATH DSS_TEST_LIBRARY

# noticed HOW: says so, and in the table of defects if one is kept.
noticed() {
    echo "as it should, it $1 without the guard $DSS_MUTANT"
    [ -z "${DSS_DEFECTS_TABLE:-}" ] || echo "$DSS_MUTANT $name" >>"$DSS_DEFECTS_TABLE"
}

# A race may spare one run.
for _ in 1 2 3; do
    timeout --kill-after=5 "$seconds" "$@"
    status=$?
    case $status in
        0) continue ;;
        125 | 126 | 127)
            echo "could not be run: $*" >&2
            exit 1 ;;
        124 | 137)
            noticed "hung" ;;
        *)
            noticed "failed (status $status)" ;;
    esac
    exit
done
echo "passed three times without the guard $DSS_MUTANT: $*" >&2
exit 1
