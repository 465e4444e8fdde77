#!/bin/sh
# Tests all that a change can break, once, on all four stores: `make test`. What takes long is in
# scripts/prove.sh; scripts/steps.sh says what is counted.
#
# shellcheck disable=SC2317 # The functions that suite and step call by name are no dead code.
set -u
cd "$(dirname "$0")/.." || exit
set -- test
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

rust_tests() {
    own_share "$CARGO" test --profile quick --locked --no-fail-fast
}

c_tests() {
    own_share ctest --test-dir "$c_tests" -j "$((jobs * 3))" --output-on-failure
}

echo "Testing libdss on the stores: $DSS_TEST_STORES"
# Nothing else can run without these, so a failure ends the run.
# shellcheck disable=SC2046 # The list is meant to be split into words.
step "tools" scripts/need.sh cargo cargo-fmt cargo-clippy gcc g++ make cmake setpriv strace libfaketime sqlite3.h pkg-config nm \
    readelf strip unshare shellcheck groff $(server_tools) || finish
step "build" make quick || finish
use_servers || finish

step "build of the C tests" build_c_tests -DDSS_PROVE=OFF || finish

# The C tests wait for something for half of their time, and the rest is done meanwhile, one after
# the other.
begin count_ctest "C tests" c_tests
step "demo" make demo
step "install and uninstall" scripts/test_install.sh
step "programs of the manual pages" scripts/test_examples.sh
suite count_cargo "Rust tests" rust_tests
step "clippy" make lint-clippy
step "header and pages are up to date" make check-header
step "format of the Rust code" make lint-fmt
step "warnings in the examples" make lint-c
step "shellcheck" make lint-sh
join
finish
