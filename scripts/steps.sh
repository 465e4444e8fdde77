#!/bin/sh
# What scripts/test.sh and scripts/prove.sh share: steps, what they count, and the servers.
#
# The tests of cargo and of ctest count one by one, every other step counts as one. A step that can
# not run has failed. The last line is "N passed, M failed".
# DSS_TEST_STORES=sqlite,memory,postgres,etcd (the default) names the stores that the tests run on;
# servers are started for the tests and stopped at the end.
#
# shellcheck disable=SC2317 # The functions that suite and step call by name are no dead code.

# What an outer make was told is not meant for the ones below, and no test may touch a store that is
# in use.
unset MAKEFLAGS MFLAGS MAKELEVEL DSS_URI
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGOPTIONS PGSERVICE

DSS_TEST_STORES=${DSS_TEST_STORES:-sqlite,memory,postgres,etcd}
CARGO=${CARGO:-cargo}
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export DSS_TEST_STORES CARGO CARGO_TARGET_DIR
export TERM=dumb CARGO_TERM_COLOR=never # Logs have no colours.

logs=$CARGO_TARGET_DIR/logs/$1
c_tests=$CARGO_TARGET_DIR/c_tests
jobs=$(nproc)
servers_folder=
passed=0
failed=0
begun=$(date +%s)
rm -rf "$logs"
mkdir -p "$logs"
running=

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

# A test that ctest skipped has not run, and so it counts as failed.
count_ctest() {
    awk '/\*\*\*Skipped/ { skipped++ }
         /tests passed, .* tests failed out of/ { failed = $4; all = $NF }
         END { print all - failed - skipped, failed + skipped }' "$1"
}

# failures NAME LOG: which tests of a log failed and the words that they failed with, or the step's
# name if there are no tests in it.
failures() {
    grep -E '^test .* FAILED$|^[[:space:]]*[0-9]+ - .* \((Failed|Timeout|SEGFAULT|SIG[A-Z]*|Subprocess aborted|Not Run|Skipped)\)' "$2" |
        grep . || echo "$1"
    { grep -E -A 1 '^thread .* panicked at' "$2"; grep -E ': not so: |\) gave -?[0-9]+ |the watchdog: ' "$2"; } | grep -v '^--$' | cut -c1-400 | head -n 20
}

# Shows that a long step is alive: on a terminal the last line of its log, each second; else a line
# each minute.
watch_log() {
    if [ -t 1 ]; then pause=1; else pause=60; fi
    # The output is kept from sleep, which would hold a pipe open when this has been killed.
    while sleep "$pause" >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r%-42s %-36.36s' "$1 ..." "$(tail -n 1 "$2")"
        else
            printf '    %s: %.70s\n' "$1" "$(tail -n 1 "$2")"
        fi
    done
}

# own_share COMMAND...: runs it as a session of its own, to which the kernel gives processor time as a
# whole (sched(7), "The autogroup feature"): beside whatever else runs in this one, tests that wait
# for a server would not come to hear its answers in time. It ends with this process.
own_share() {
    setsid setpriv --pdeathsig TERM -- "$@"
}

# begin COUNT NAME COMMAND...: starts a command that runs many tests, beside what follows, until
# join.
begin() {
    count=$1 name=$2
    shift 2
    log=$logs/$(echo "$name" | tr -cs '[:alnum:]\n' _).log
    : >"$log"
    (
        start=$(date +%s)
        "$@" >"$log" 2>&1 </dev/null
        echo "$? $(($(date +%s) - start))" >"$log.status"
    ) &
    running="$! $count $log $name"
}

# join: waits for what was begun, and adds what the function COUNT finds in its log. A command that
# fails without a failed test, or that runs no test at all, counts as one failure. False if anything
# has failed.
join() {
    read -r pid count log name <<END
$running
END
    watch_log "$name" "$log" &
    watcher=$!
    wait "$pid"
    kill "$watcher"
    wait "$watcher" 2>/dev/null
    read -r code seconds <"$log.status"
    read -r good bad <<END
$("$count" "$log" "$code")
END
    if [ "$bad" -eq 0 ] && { [ "$code" -ne 0 ] || [ "$good" -eq 0 ]; }; then
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ -t 1 ]; then printf '\r%80s\r' ""; fi
    printf '%-42s %s passed, %s failed (%s s)\n' "$name ..." "$good" "$bad" "$seconds"
    if [ "$bad" -ne 0 ]; then
        tail -n 60 "$log" | sed 's/^/    | /'
        echo "    The whole log: $log"
        failures "$name" "$log" >>"$logs/failures"
        return 1
    fi
}

# suite COUNT NAME COMMAND...: the same at once, also while another one runs.
suite() {
    beside=${running:-}
    begin "$@"
    join
    status=$?
    running=$beside
    return "$status"
}

count_step() {
    if [ "$2" -eq 0 ]; then echo 1 0; else echo 0 1; fi
}

# step NAME COMMAND...: runs a command that is one test.
step() {
    suite count_step "$@"
}

# ---- What both need ----------------------------------------------------------------------------------------------

# build_c_tests OPTION...: builds the programs as well.
build_c_tests() {
    cmake -S c_tests -B "$c_tests" -DDSS_TEST_STORES="$DSS_TEST_STORES" -DDSS_INCLUDE_DIR="$PWD/include" \
        -DDSS_LIB_DIR="$CARGO_TARGET_DIR/quick" -DDSS_RELEASE_DIR="$CARGO_TARGET_DIR/release" \
        -DDSS_MUTANTS_DIR="$CARGO_TARGET_DIR/mutants" "$@" &&
        cmake --build "$c_tests" -j "$jobs"
}

# The servers among the stores, and what they need. The test of the script that runs them needs
# both.
server_tools() {
    ! servers >/dev/null || echo postgres etcd setpriv curl openssl pgbouncer
}

servers() {
    echo "$DSS_TEST_STORES" | tr , '\n' | grep -E '^(postgres|etcd)$'
}

# They run until finish(), or until this process ends in another way. What says where they are is
# kept in a file, for use_servers.
start_servers() {
    # shellcheck disable=SC2046 # The list is meant to be split into words.
    DSS_SERVERS_OWNER=$$ scripts/servers.sh start "$servers_folder" $(servers) >"$logs/environment"
}

use_servers() {
    servers >/dev/null || return 0
    servers_folder=$(mktemp -d "${TMPDIR:-/tmp}/dss-servers.XXXXXX")
    step "servers" start_servers || return
    while read -r line; do
        export "${line?}"
    done <"$logs/environment"
}
