#!/bin/sh
# What takes long, beside scripts/test.sh: `make prove`. The tests once more under valgrind, with
# AddressSanitizer and in full length, on the library that is installed; defects that they must
# notice; histories, failing calls, fuzzing, packages. scripts/steps.sh says what is counted.
#
# shellcheck disable=SC2317 # The functions that suite and step call by name are no dead code.
set -u
cd "$(dirname "$0")/.." || exit
set -- prove
# shellcheck source=scripts/steps.sh
. scripts/steps.sh
export DSS_DEFECTS_TABLE="$logs/defects"

checked_tests() {
    own_share ctest --test-dir "$c_tests" -j "$((jobs * 2))" --output-on-failure -L 'valgrind|asan|full|mutant'
}

histories() {
    DSS_HISTORY_SECONDS=${DSS_HISTORY_SECONDS:-2} DSS_HISTORY_LIBRARY=$CARGO_TARGET_DIR/release/libdss.so \
        "$CARGO" test --profile quick --locked --test histories -- --ignored --nocapture
}

# Which defects the tests have noticed that must: one line for each defect and test, in
# $DSS_DEFECTS_TABLE.
show_defects() {
    echo "Defects, and the tests that noticed them:"
    sort "$DSS_DEFECTS_TABLE" | awk '
        { tests[$1] = tests[$1] " " $2 }
        END { for (defect in tests) printf "    %-20s%s\n", defect, tests[defect] }' | sort
}

# Each switch in the sources has been on in a test that noticed it. Those of a store that is not
# tested can not be.
all_defects_are_noticed() {
    show_defects
    [ "$DSS_TEST_STORES" = sqlite,memory,postgres,etcd ] || return 0
    grep -rhoE 'mutant::on\("[a-z_]+"\)' src | cut -d'"' -f2 | sort -u >"$logs/defects.all"
    cut -d' ' -f1 "$DSS_DEFECTS_TABLE" | sort -u | comm -23 "$logs/defects.all" - >"$logs/defects.missed"
    [ ! -s "$logs/defects.missed" ] || { echo "Not noticed:" && cat "$logs/defects.missed" && return 1; }
}

echo "Proving libdss on the stores: $DSS_TEST_STORES"
# Nothing else can run without these, so a failure ends the run.
# shellcheck disable=SC2046 # The list is meant to be split into words.
step "tools" scripts/need.sh cargo cargo-clippy gcc g++ libasan make cmake setpriv valgrind strace libfaketime sqlite3.h pkg-config nm \
    readelf strip unshare abidiff abidw dh dpkg-buildpackage lintian groff spin $(server_tools) || finish
step "build" make build quick || finish
! servers >/dev/null || step "servers that crash, and that are left alone" scripts/test_servers.sh
use_servers || finish
step "library with switchable defects" make mutants
step "build of the C tests" build_c_tests -DDSS_PROVE=ON
suite count_ctest "C tests: checkers, full length, defects" checked_tests
suite count_cargo "histories" histories
step "all defects are noticed" all_defects_are_noticed && show_defects
step "instructions of a call" scripts/instructions.sh
step "library with some of the stores" scripts/test_slim.sh
step "model of the combiner" scripts/check_model.sh
step "binary interface" scripts/test_abi.sh
step "Debian packages" scripts/test_deb.sh
step "fuzzing" scripts/fuzz.sh "${DSS_FUZZ_SECONDS:-60}"
finish
