# What the servers of the tests have in common; scripts/servers.sh reads this file, and says what it is all for.
# shellcheck shell=sh
#
# Each server has a place, a folder with `pid`, `log`, `port` and its data. Places lie in a folder of servers, which has
# the file `guard` in it: the pid of the process that removes the folder when its owner has died.

stop() {
    echo "servers.sh: $*" >&2
    exit 1
}

# The user who runs the servers. PostgreSQL refuses to be run by root; and whoever may connect to it may run programs in
# the name of its user, so this is not the user `postgres`, to whom a real cluster may belong.
server_user() {
    if [ "$(id -u)" -eq 0 ]; then echo nobody; else id -un; fi
}

# Goes on as a program of that user, which sees nothing of our environment: PG*, ETCD_*, proxies, languages.
exec_as_server() {
    set -- env -i PATH="$PATH" LC_ALL=C "$@"
    if [ "$(id -u)" -eq 0 ]; then
        set -- setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups -- "$@"
    fi
    exec "$@"
}

as_server() {
    (exec_as_server "$@")
}

# make_place PLACE: a folder that the server's user may write to, and reach. What is there already stays.
make_place() {
    mkdir -p "$1"
    chown "$(server_user)" "$1"
    chmod 755 "$1"
    if [ "$(id -u)" -eq 0 ]; then chmod go+x "$(dirname "$1")"; fi
    as_server test -x "$1" || stop "the user $(server_user) can't reach $1: choose another TMPDIR"
}

# ---- Ports -------------------------------------------------------------------------------------------------------

# Whether a server listens on the port; what is left of a connection keeps no other server from it.
is_port_taken() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" \
        'substr($2, length($2) - 4) == port && $4 == "0A" { taken = 1 } END { exit !taken }'
}

# A port below those that the system gives to clients. Another may take it before a server does: then the server ends,
# and is tried again with a new one (is_port_lost).
free_port() {
    while :; do
        port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
        is_port_taken "$port" || break
    done
    echo "$port"
}

is_port_lost() {
    tail -n 20 "$1/log" | grep -qi 'address already in use'
}

# ---- Processes ---------------------------------------------------------------------------------------------------

# Becomes servers.sh in a session of its own, out of reach of a terminal, and without any descriptor that our callers had
# open: else someone would wait for ever for the end of a pipe. Only bash can close those above 9.
detached() {
    # shellcheck disable=SC2154,SC2016 # servers.sh has set it; bash expands the rest.
    exec setsid bash -c 'for fd in /proc/self/fd/*; do [ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"; done
        exec "$0" "$@"' "$servers" "$@"
}

# launch PLACE COMMAND...: starts a server. Its pid is written by its own process, before it becomes the server, so
# that there is no moment in which a server runs and nobody knows it.
launch() {
    rm -f "$1/pid"
    detached serve "$@" </dev/null >>"$1/log" 2>&1 &
    wait_until 10 test -s "$1/pid"
}

# The rest of launch, in the new process. Elsewhere a server has a machine of its own; here it shares one with all that
# tests it, so it gets processor time first, where the system lets it. (The kernel weighs sessions first, then processes.)
serve() {
    { echo -5 >/proc/self/autogroup || true; } 2>/dev/null
    renice -n -5 $$ >/dev/null 2>&1 || true
    echo $$ >"$1/pid.new" && mv "$1/pid.new" "$1/pid" && cd "$1" && shift && exec_as_server "$@"
}

# A pid can belong to another process by now, and a process that has ended can still wait to be reaped. A server has its
# place in its arguments; a dead process has none.
is_running() {
    [ -s "$1/pid" ] && { tr '\0' '\n' <"/proc/$(cat "$1/pid")/cmdline" | grep -qF -- "$1/"; } 2>/dev/null
}

# One that is just becoming another program has no arguments, for as long as a busy machine lets it wait: only who has
# ended, or has other arguments, is gone.
is_gone() {
    ! is_running "$1" || return
    pid=$(cat "$1/pid" 2>/dev/null) || return 0
    case $(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null) in
    '' | Z | X) return 0 ;;
    esac
    [ "$(wc -c <"/proc/$pid/cmdline")" -gt 0 ] 2>/dev/null && ! is_running "$1"
}

# wait_until SECONDS COMMAND...: looks again and again until the command succeeds; fails when the time is up.
wait_until() {
    tries=$(($1 * 20))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return
        sleep 0.05
    done
}

# wait_for PLACE SECONDS COMMAND...: the same, and fails at once if the server has ended.
wait_for() {
    place=$1 patience=$2
    shift 2
    wait_until "$patience" answers_or_ended "$place" "$@" && is_running "$place"
}

answers_or_ended() {
    is_gone "$1" && return
    shift
    "$@" >/dev/null 2>&1
}

# end PLACE SIGNAL: sends the signal and waits for the end; a server that does not obey is killed.
end() {
    ! is_gone "$1" || return 0
    kill -s "$2" "$(cat "$1/pid")" 2>/dev/null
    wait_until 10 is_gone "$1" && return
    kill -s KILL "$(cat "$1/pid")" 2>/dev/null
    wait_until 10 is_gone "$1"
}

# ---- Folders -----------------------------------------------------------------------------------------------------

# guard DIR: makes the folder one of servers, and has it cleaned when its owner ends: $DSS_SERVERS_OWNER, or the process
# that called servers.sh. Nothing else would stop a server if that one is killed.
guard() {
    mkdir -p "$1"
    [ ! -e "$1/guard" ] || return 0
    detached watch "$1" "${DSS_SERVERS_OWNER:-$PPID}" </dev/null >/dev/null 2>&1 &
    wait_until 10 test -s "$1/guard"
}

watch() {
    echo $$ >"$1/guard.new" && mv "$1/guard.new" "$1/guard" && tail --sleep-interval=0.5 --pid="$2" -f /dev/null
    exec "$servers" clean "$1"
}

# Where the data of the servers in a folder lie if they lie in memory. The name follows from the folder's, so that it
# is known also when the folder is gone.
folder_in_memory() {
    echo "/dev/shm/dss-servers$(echo "$1" | tr / -)"
}

# Ends all servers of a folder, and removes it with everything in it.
clean() {
    in_memory=$(folder_in_memory "$1")
    if [ -e "$1/guard" ]; then
        for pid in "$1"/*/pid; do
            [ ! -e "$pid" ] || end "$(dirname "$pid")" QUIT
        done
        forget_shared_memory "$1/postgres"
        guard=$(cat "$1/guard")
        [ "$guard" -eq $$ ] || end_guard "$guard" "$1"
    elif [ -e "$1" ]; then
        stop "$1 is no folder of servers"
    fi
    # The backends of a server that was killed may still be writing.
    wait_until 10 rm -rf "$1" "$in_memory" 2>/dev/null || stop "could not remove $1"
}

end_guard() {
    { tr '\0' '\n' <"/proc/$1/cmdline" | grep -qxF -- "$2"; } 2>/dev/null || return 0
    # It sleeps in tail, which has to go too.
    kill -s KILL -- "-$1" 2>/dev/null || true
}

# A PostgreSQL that was killed leaves a small segment of System V shared memory; its id stands in a file.
forget_shared_memory() {
    if [ -s "$1/data/postmaster.pid" ]; then
        segment=$(sed -n '7s/.* //p' "$1/data/postmaster.pid")
        [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null || true
    fi
}
