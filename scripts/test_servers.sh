#!/bin/sh
# Tests that scripts/servers.sh keeps what the tests rely on: servers answer, a command's status is returned, what crashed
# can be started again, and nothing is left behind, however the end came.
set -eu
cd "$(dirname "$0")/.."

servers=scripts/servers.sh
scratch=$(mktemp -d)
export TMPDIR="$scratch" # each folder that servers.sh makes for itself shall be seen here
chmod 711 "$scratch"

finish() {
    status=$?
    for folder in "$scratch"/*/guard; do
        [ ! -e "$folder" ] || $servers clean "$(dirname "$folder")" || true
    done
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT

fail() {
    echo "test_servers.sh: $*" >&2
    exit 1
}

say() {
    echo "test_servers.sh: $*"
}

eventually() {
    tries=200
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "not within 20 s: $*"
        sleep 0.1
    done
}

# No folder, no process and no file in memory that has to do with our scratch folder.
nothing_is_left() {
    ! ls -d "$scratch"/dss-servers* "/dev/shm/dss-servers$(echo "$scratch" | tr / -)"* >/dev/null 2>&1 || return
    ! grep -lsF "$scratch" /proc/[0-9]*/cmdline >/dev/null
}

psql() {
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/psql | sort -V | tail -n 1)
    [ -x "$newest" ] || newest=psql
    "$newest" -XAtq "postgresql://dss@127.0.0.1:$1/dss_test" -c "$2"
}

health() {
    curl -s --noproxy '*' --max-time 3 "http://127.0.0.1:$1/health" | grep -q true
}

# ---- Run ---------------------------------------------------------------------------------------------------------

say "the environment, the input and the status of the command"
status=0
# shellcheck disable=SC2016 # It is expanded by the command.
echo input | $servers run postgres etcd -- sh -c 'cat >"$TMPDIR/input"; env | grep -E "^DSS_TEST_(POSTGRES|ETCD)" >"$TMPDIR/environment"
    "$DSS_TEST_POSTGRES_BIN/psql" -XAtq "$DSS_TEST_POSTGRES" -c "SHOW fsync" >"$TMPDIR/fsync"; exit 7' || status=$?
[ "$status" -eq 7 ] || fail "the status is $status, not 7"
[ "$(cat "$scratch/input")" = input ] || fail "the command did not get its input"
[ "$(cat "$scratch/fsync")" = off ] || fail "fsync is on"
[ "$(wc -l <"$scratch/environment")" -eq 7 ] || fail "not 7 variables: $(cat "$scratch/environment")"
nothing_is_left || fail "something is left after a run"

# run_until SIGNAL: runs servers until the signal comes, and leaves the status.
run_until() {
    rm -f "$scratch/runs"
    env --default-signal=INT $servers run postgres etcd -- sh -c "echo \$\$ >$scratch/runs; exec sleep 1000" &
    runner=$!
    eventually test -s "$scratch/runs"
    kill -s "$1" "$runner"
    status=0
    wait "$runner" || status=$?
    eventually nothing_is_left
    # One that waits to be reaped has no arguments.
    ! grep -qs sleep "/proc/$(cat "$scratch/runs")/cmdline" || fail "the command goes on after $1"
}

for signal in INT TERM KILL; do
    say "a run that is ended by SIG$signal"
    run_until $signal
    [ "$status" -gt 128 ] || fail "the status after $signal is $status"
done

say "four runs at once"
runners=
for number in 1 2 3 4; do
    # shellcheck disable=SC2016 # It is expanded by the command.
    $servers run postgres etcd -- sh -c 'exec "$DSS_TEST_POSTGRES_BIN/psql" -XAtq "$DSS_TEST_POSTGRES" -c "SELECT 1"' \
        >"$scratch/answer-$number" &
    runners="$runners $!"
done
for runner in $runners; do
    wait "$runner" || fail "one of four runs failed"
done
[ "$(cat "$scratch"/answer-* | paste -sd ' ')" = '1 1 1 1' ] || fail "wrong answers: $(cat "$scratch"/answer-*)"
nothing_is_left || fail "something is left after four runs"

# ---- Servers that crash ------------------------------------------------------------------------------------------

folder=$scratch/dss-servers-own
export DSS_SERVERS_OWNER=$$

say "PostgreSQL, stopped, crashed and killed"
port=$($servers postgres-start "$folder" 0 max_connections=17)
psql "$port" "CREATE TABLE kept AS SELECT setting FROM pg_settings WHERE name = 'max_connections'"
for how in immediate kill fast; do
    $servers postgres-stop "$folder" $how
    ! psql "$port" "SELECT 1" 2>/dev/null || fail "PostgreSQL goes on after $how"
    [ "$($servers postgres-start "$folder")" = "$port" ] || fail "another port"
    [ "$(psql "$port" "SELECT * FROM kept")" = 17 ] || fail "data are lost after $how"
done
status=0
$servers postgres-start "$scratch/dss-servers-other" "$port" 2>/dev/null || status=$?
[ "$status" -ne 0 ] || fail "two servers on one port"
$servers clean "$scratch/dss-servers-other"

say "a cluster of etcd that loses one server, and all"
set -- # name and ports of each
while read -r name client peer; do
    set -- "$@" "$name" "$client" "$peer"
done <<END
$($servers etcd-cluster "$folder")
END
[ $# -eq 9 ] || fail "not three servers: $*"
health "$2" || fail "etcd does not answer"
$servers etcd-kill "$folder" "$1"
eventually health "$5" # the two that are left may have to elect a leader
$servers etcd-start "$folder" "$1"
$servers etcd-wait "$folder"
$servers etcd-kill "$folder"
! health "$5" || fail "etcd goes on after it was killed"
for name in "$1" "$4" "$7"; do
    $servers etcd-start "$folder" "$name"
done
$servers etcd-wait "$folder"
health "$8" || fail "etcd does not answer after its restart"
say "an etcd on chosen ports, beside them"
$servers etcd-kill "$folder" "$7"
$servers etcd-start "$folder" alone "$8" "$9" "alone=http://127.0.0.1:$9"
health "$8" || fail "the lone etcd does not answer"

$servers clean "$folder"
nothing_is_left || fail "something is left after the folder was cleaned"

say "servers whose owner is killed"
sleep 1000 &
DSS_SERVERS_OWNER=$!
$servers start "$folder" postgres etcd >/dev/null
kill -s KILL "$DSS_SERVERS_OWNER"
eventually nothing_is_left
say "all as it should be"
