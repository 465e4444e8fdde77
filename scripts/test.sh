#!/bin/sh
# Tests everything, and says so in its last line: "N passed, M failed". `make test` and CI run this.
#
# The tests of cargo and of ctest count one by one, every other step counts as one. A step that can not run has
# failed. DSS_TEST_STORES=sqlite,memory,postgres,etcd (the default) names the stores that the tests run on; servers are
# started for the tests and stopped at the end.
#
# shellcheck disable=SC2317 # The functions that suite and step call by name are no dead code.
set -u
cd "$(dirname "$0")/.." || exit
# What an outer make was told is not meant for the ones below, and no test may touch a store that is in use.
unset MAKEFLAGS MFLAGS MAKELEVEL DSS_URI
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGOPTIONS PGSERVICE

DSS_TEST_STORES=${DSS_TEST_STORES:-sqlite,memory,postgres,etcd}
CARGO=${CARGO:-cargo}
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export DSS_TEST_STORES CARGO CARGO_TARGET_DIR
export DSS_DEFECTS_TABLE="$CARGO_TARGET_DIR/test-logs/defects"
export TERM=dumb CARGO_TERM_COLOR=never # Logs have no colours.

logs=$CARGO_TARGET_DIR/test-logs
c_tests=$CARGO_TARGET_DIR/c_tests
jobs=$(nproc)
servers_folder=
passed=0
failed=0

# ---- Counting ----------------------------------------------------------------------------------------------------

# The last words of a run; the counts are also left in a file, for whoever wants to say them again.
finish() {
    [ -z "$servers_folder" ] || scripts/servers.sh clean "$servers_folder"
    if [ -s "$logs/failures" ]; then
        echo "What failed:"
        sed 's/^/    /' "$logs/failures"
    fi
    echo "Logs are in $logs; the whole took $(($(date +%s) - begun)) s."
    echo "$passed passed, $failed failed" | tee "$logs/counts"
    [ "$failed" -eq 0 ]
    exit
}

# Each of these reads a log and prints how many tests of it passed and how many failed.
count_cargo() {
    awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$1"
}

# A test that ctest skipped has not run, and so it counts as failed. Where those that failed were run again, that counts.
count_ctest() {
    awk '/\*\*\*Skipped/ { skipped++ }
         /tests passed, .* tests failed out of/ { failed = $4; if (!all) all = $NF }
         END { print all - failed - skipped, failed + skipped }' "$1"
}

# failures NAME LOG: which tests of a log failed and the words that they failed with, or the step's name if there are no tests in it.
failures() {
    grep -E '^test .* FAILED$|^[[:space:]]*[0-9]+ - .* \((Failed|Timeout|SEGFAULT|SIG[A-Z]*|Subprocess aborted|Not Run|Skipped)\)' "$2" |
        grep . || echo "$1"
    { grep -E -A 1 '^thread .* panicked at' "$2"; grep -E ': not so: |\) gave -?[0-9]+ |the watchdog: ' "$2"; } | grep -v '^--$' | cut -c1-400 | head -n 20
}

# Shows that a long step is alive: on a terminal the last line of its log, each second; else a dot each minute.
watch_log() {
    if [ -t 1 ]; then pause=1; else pause=60; fi
    # The output is kept from sleep, which would hold a pipe open when this has been killed.
    while sleep "$pause" >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        if [ -t 1 ]; then printf '\r%-42s %-36.36s' "$1 ..." "$(tail -n 1 "$2")"; else printf .; fi
    done
}

# suite COUNT NAME COMMAND...: runs a command that runs many tests, and adds what the function COUNT finds in its
# log. A command that fails without a failed test, or that runs no test at all, counts as one failure.
suite() {
    count=$1 name=$2
    shift 2
    log=$logs/$(echo "$name" | tr -cs '[:alnum:]\n' _).log
    start=$(date +%s)
    printf '%-42s ' "$name ..."
    : >"$log"
    watch_log "$name" "$log" &
    watcher=$!
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    kill "$watcher"
    wait "$watcher" 2>/dev/null
    if [ -t 1 ]; then printf '\r%80s\r%-42s ' "" "$name ..."; fi
    read -r good bad <<END
$("$count" "$log" "$status")
END
    if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$good" -eq 0 ]; }; then
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "$good passed, $bad failed ($(($(date +%s) - start)) s)"
    if [ "$bad" -ne 0 ]; then
        tail -n 60 "$log" | sed 's/^/    | /'
        echo "    The whole log: $log"
        failures "$name" "$log" >>"$logs/failures"
        return 1
    fi
}

count_step() {
    if [ "$2" -eq 0 ]; then echo 1 0; else echo 0 1; fi
}

# step NAME COMMAND...: runs a command that is one test.
step() {
    suite count_step "$@"
}

# ---- The steps ---------------------------------------------------------------------------------------------------

# The build writes include/dss.h and the manual pages of section 3 anew where the sources say something else, so the
# difference shows afterwards: to git, or without git to the copies made before the build.
made_files_are_up_to_date() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        # shellcheck disable=SC2046 # The list is meant to be split into words.
        git ls-files --error-unmatch $(made_files) && git diff --exit-code $(made_files)
    else
        for file in $(made_files); do diff -u "$logs/made_before/$(basename "$file")" "$file" || return; done
    fi && return
    echo "include/dss.h or pages in man/ were not what the sources say, and the build has mended them: look at the change,"
    echo "then 'git add' them."
    return 1
}

made_files() {
    echo include/dss.h man/*.3
}

build_c_tests() {
    cmake -S c_tests -B "$c_tests" -DDSS_TEST_STORES="$DSS_TEST_STORES" -DDSS_INCLUDE_DIR="$PWD/include" \
        -DDSS_LIB_DIR="$CARGO_TARGET_DIR/release" -DDSS_MUTANTS_DIR="$CARGO_TARGET_DIR/mutants" &&
        cmake --build "$c_tests" -j "$jobs"
}

# The servers among the stores, and what they need. The test of the script that runs them needs both.
server_tools() {
    ! servers >/dev/null || echo postgres etcd setpriv curl openssl pgbouncer
}

servers() {
    echo "$DSS_TEST_STORES" | tr , '\n' | grep -E '^(postgres|etcd)$'
}

# They run until finish(), or until this process ends in another way; what says where they are becomes part of our environment.
start_servers() {
    servers_folder=$(mktemp -d "${TMPDIR:-/tmp}/dss-servers.XXXXXX")
    # shellcheck disable=SC2046 # The list is meant to be split into words.
    DSS_SERVERS_OWNER=$$ scripts/servers.sh start "$servers_folder" $(servers) >"$servers_folder.environment"
    status=$?
    while read -r line; do
        export "${line?}"
    done <"$servers_folder.environment"
    cat "$servers_folder.environment"
    rm -f "$servers_folder.environment"
    return "$status"
}

# They measure time, and a machine that stands still for a second or two (others share it) says nothing about us: one that
# has failed is asked once more, with the machine to itself. A defect shows again; what was repeated is told.
c_tests_that_wait() {
    ctest --test-dir "$c_tests" -j "$((jobs * 2))" --output-on-failure -L waits && return
    echo "Once more, one at a time:"
    ctest --test-dir "$c_tests" --output-on-failure --rerun-failed
}

# repeated LOG: which tests were run once more.
repeated() {
    sed -n '1,/^Once more/s/^[[:space:]]*[0-9]* - \([^ ]*\) (.*/    once more, alone: \1/p' "$1"
}

# Which defects the tests have noticed that must: one line for each defect and test, in $DSS_DEFECTS_TABLE.
show_defects() {
    echo "Defects, and the tests that noticed them:"
    sort "$DSS_DEFECTS_TABLE" | awk '
        { tests[$1] = tests[$1] " " $2 }
        END { for (defect in tests) printf "    %-20s%s\n", defect, tests[defect] }' | sort
}

# Each switch in the sources has been on in a test that noticed it. Those of a store that is not tested can not be.
all_defects_are_noticed() {
    show_defects
    [ "$DSS_TEST_STORES" = sqlite,memory,postgres,etcd ] || return 0
    grep -rhoE 'mutant::on\("[a-z_]+"\)' src | cut -d'"' -f2 | sort -u >"$logs/defects.all"
    cut -d' ' -f1 "$DSS_DEFECTS_TABLE" | sort -u | comm -23 "$logs/defects.all" - >"$logs/defects.missed"
    [ ! -s "$logs/defects.missed" ] || { echo "Not noticed:" && cat "$logs/defects.missed" && return 1; }
}

begun=$(date +%s)
rm -rf "$logs"
mkdir -p "$logs/made_before"
# shellcheck disable=SC2046 # The list is meant to be split into words.
cp $(made_files) "$logs/made_before/"
echo "Testing libdss on the stores: $DSS_TEST_STORES"

# Nothing else can run without these, so a failure ends the run.
# shellcheck disable=SC2046 # The list is meant to be split into words.
step "tools" scripts/need.sh cargo cargo-fmt cargo-clippy gcc g++ libasan make cmake valgrind strace libfaketime \
    sqlite3.h pkg-config nm readelf strip unshare shellcheck abidiff abidw dh \
    dpkg-buildpackage lintian groff $(server_tools) || finish
step "build" make build || finish
if servers >/dev/null; then
    step "servers that crash, and that are left alone" scripts/test_servers.sh
    step "servers" start_servers || finish
fi

step "header and pages are up to date" made_files_are_up_to_date
step "format of the Rust code" make lint-fmt
step "clippy" make lint-clippy
step "warnings in the examples" make lint-c
step "shellcheck" make lint-sh
suite count_cargo "Rust tests" "$CARGO" test --profile tests --locked --no-fail-fast
step "library with switchable defects" make mutants
suite count_cargo "histories" env DSS_HISTORY_SECONDS="${DSS_HISTORY_SECONDS:-2}" "$CARGO" test --profile tests --locked \
    --test histories -- --ignored --nocapture
step "build of the C tests" build_c_tests
# Most of them wait for something half of their time, and those with the label for next to all of it.
suite count_ctest "C tests" ctest --test-dir "$c_tests" -j "$((jobs + 1))" --output-on-failure -LE waits
suite count_ctest "C tests that wait" c_tests_that_wait
grep -q '^Once more' "$logs/C_tests_that_wait.log" && repeated "$logs/C_tests_that_wait.log"
step "all defects are noticed" all_defects_are_noticed && show_defects
step "instructions of a call" scripts/instructions.sh
step "library with some of the stores" scripts/test_slim.sh
step "programs of the manual pages" scripts/test_examples.sh
step "install and uninstall" scripts/test_install.sh
step "Debian packages" scripts/test_deb.sh
step "binary interface" scripts/test_abi.sh
step "fuzzing" scripts/fuzz.sh "${DSS_FUZZ_SECONDS:-60}"
step "demo" make demo
finish
