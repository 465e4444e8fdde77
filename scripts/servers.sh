#!/bin/sh
# PostgreSQL and etcd servers for the tests: made for the moment, on free ports of 127.0.0.1, run by an ordinary user.
#
#   servers.sh run [postgres] [etcd] -- COMMAND...   runs the command beside these servers, and returns its exit status
#   servers.sh start DIR [postgres] [etcd]           makes the folder DIR, starts them in it, prints the environment
#   servers.sh clean DIR                             stops all servers of the folder and removes it
#
# The command of `run`, and who takes over what `start` prints, finds in its environment
#
#   DSS_TEST_POSTGRES       postgresql://USER@127.0.0.1:PORT/dss_test
#   DSS_TEST_POSTGRES_PORT, _USER, _DATA (the folder of the data), _BIN (the folder of the programs)
#   DSS_TEST_ETCD           etcd://127.0.0.1:PORT
#   DSS_TEST_ETCD_PORT
#
# For servers of a test's own, which it may stop and kill, in a folder DIR that holds nothing else:
#
#   servers.sh postgres-start DIR [PORT [SETTING=VALUE...]]   prints the port; 0 is any free one, none that of the last start
#   servers.sh postgres-standby DIR PRIMARY_PORT [PORT [SETTING=VALUE...]]   a read-only copy that follows the one on that port
#   servers.sh postgres-stop DIR fast|immediate|kill
#   servers.sh etcd-cluster DIR [NAME...]            three servers unless told; prints NAME CLIENT_PORT PEER_PORT of each
#   servers.sh etcd-start DIR NAME [CLIENT_PORT PEER_PORT INITIAL_CLUSTER]   without ports, as at the last start
#   servers.sh etcd-wait DIR                         until all of them answer
#   servers.sh etcd-kill DIR [NAME]                  SIGKILL, to one or to all
#
# A folder is cleaned also when its owner has ended, however that was: the process $DSS_SERVERS_OWNER, or the one that has
# called servers.sh. DSS_TEST_PG_FSYNC=on and DSS_TEST_ETCD_FSYNC=on have the disk flushed, as a benchmark wants it.
#
# shellcheck disable=SC2317 # Functions that wait_until and the like call by name are no dead code.
set -eu

servers=$(readlink -f "$0")
here=$(dirname "$servers")
# shellcheck source=scripts/servers_common.sh
. "$here/servers_common.sh"
# shellcheck source=scripts/servers_postgres.sh
. "$here/servers_postgres.sh"
# shellcheck source=scripts/servers_etcd.sh
. "$here/servers_etcd.sh"

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$servers" | sed '/^shellcheck/,$d' >&2
    exit 2
}

# start DIR STORE...: starts the servers and prints the environment of those who use them.
start() {
    folder=$1
    shift
    guard "$folder"
    for store in "$@"; do
        case $store in
        postgres) postgres_start "$folder" 0 >/dev/null && postgres_environment "$folder" ;;
        etcd) etcd_cluster "$folder" shared >/dev/null && etcd_environment "$folder" ;;
        *) usage ;;
        esac
    done
}

# run [STORE...] -- COMMAND...
run() {
    stores=
    while [ "${1:---}" != -- ]; do
        stores="$stores $1"
        shift
    done
    [ $# -gt 1 ] || usage
    shift

    DSS_SERVERS_OWNER=$$
    run_folder=$(mktemp -d "${TMPDIR:-/tmp}/dss-servers.XXXXXX")
    trap 'clean "$run_folder"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # shellcheck disable=SC2086 # The list is meant to be split into words.
    start "$run_folder" $stores >"$run_folder/environment"
    while read -r line; do
        export "${line?}"
    done <"$run_folder/environment"
    unset DSS_SERVERS_OWNER
    unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGOPTIONS PGSERVICE # meant for another server
    run_command "$@"
}

# Runs the command so that signals reach it while we wait, which a shell does for background commands alone; these it
# takes their input and their SIGINT from, so both are given back. Should we be killed, the command is told to end too.
run_command() {
    exec 3<&0
    env --default-signal=INT,QUIT setpriv --pdeathsig TERM -- "$@" <&3 3<&- &
    command=$!
    trap 'kill -s HUP $command 2>/dev/null' HUP
    trap 'kill -s INT $command 2>/dev/null' INT
    trap 'kill -s TERM $command 2>/dev/null' TERM
    while :; do
        status=0
        wait "$command" || status=$?
        kill -0 "$command" 2>/dev/null || break
    done
    exit "$status"
}

[ $# -gt 0 ] || usage
action=$1
shift
if [ "$action" = run ]; then run "$@"; fi
[ $# -gt 0 ] || usage
folder=$(readlink -m "$1")
shift
case $action in
start) start "$folder" "$@" ;;
clean) clean "$folder" ;;
postgres-start) postgres_start "$folder" "$@" ;;
postgres-standby) postgres_standby "$folder" "$@" ;;
postgres-stop) postgres_stop "$folder" "$@" ;;
etcd-cluster) etcd_cluster "$folder" "$@" ;;
etcd-start) etcd_start "$folder" "$@" ;;
etcd-wait) etcd_wait "$folder" ;;
etcd-kill) etcd_kill "$folder" "$@" ;;
serve) serve "$folder" "$@" ;; # what launch and guard make of themselves
watch) watch "$folder" "$@" ;;
*) usage ;;
esac
