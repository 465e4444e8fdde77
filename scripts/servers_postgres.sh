# A PostgreSQL server for tests, in the place DIR/postgres; scripts/servers.sh reads this file.
# shellcheck shell=sh

postgres_user=dss # of the cluster; nobody of the machine

# The folder of the newest server's programs.
postgres_bin() {
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    [ -x "$newest" ] || newest=$(command -v postgres) || stop "there is no postgres: run scripts/need.sh postgres"
    dirname "$(readlink -f "$newest")"
}

# A path to a socket must not be longer than about 100 bytes.
postgres_sockets() {
    if [ "${#1}" -lt 85 ]; then echo "$1"; fi
}

# With fsync off, what was committed survives the end of the server, but not that of the machine: tests stop servers, and
# not machines. All else is as durable as it is by default.
postgres_settings() {
    cat <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$(postgres_sockets "$1")'
max_connections = 400
shared_buffers = 64MB
dynamic_shared_memory_type = mmap # files in the folder, which go with it
fsync = ${DSS_TEST_PG_FSYNC:-off}
synchronous_commit = on
lc_messages = 'C'
log_min_messages = warning
log_min_error_statement = panic
log_checkpoints = off
END
}

postgres_create() {
    make_place "$1"
    as_server "$(postgres_bin)/initdb" -N -D "$1/data" -A trust -U "$postgres_user" -E UTF8 --locale=C >>"$1/log" 2>&1 ||
        stop "initdb failed: $(tail -n 5 "$1/log")"
    postgres_settings "$1" >>"$1/data/postgresql.conf"
}

postgres_answers() {
    as_server "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$1" -d postgres -U "$postgres_user"
}

psql_in() {
    as_server "$(postgres_bin)/psql" -X -q -A -t -h 127.0.0.1 -p "$1" -U "$postgres_user" -d postgres -c "$2"
}

# The database sorts text as people do, where the server can: a store that relied on the order or the equality of text,
# and not of bytes, would be found out.
postgres_make_database() {
    [ -z "$(psql_in "$1" "SELECT 1 FROM pg_database WHERE datname = 'dss_test'")" ] || return 0
    psql_in "$1" "CREATE DATABASE dss_test TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'" 2>/dev/null ||
        psql_in "$1" "CREATE DATABASE dss_test" || stop "could not make a database"
}

# postgres_try PLACE PORT [SETTING...]: starts the server on this port.
postgres_try() {
    place=$1 port=$2
    shift 2
    for setting in "$@"; do
        shift
        set -- "$@" -c "$setting"
    done
    launch "$place" "$(postgres_bin)/postgres" -D "$place/data" -p "$port" "$@" || return
    echo "$port" >"$place/port"
    wait_for "$place" 60 postgres_answers "$port"
}

# postgres_start DIR [PORT [SETTING...]]: makes the cluster if there is none. Port 0 is any free one; no port is the one of
# the last start. Prints the port.
postgres_start() {
    guard "$1"
    place=$1/postgres port=${2:-$(cat "$1/postgres/port" 2>/dev/null || echo 0)} any=$((${2:-1} == 0))
    shift $(($# < 2 ? $# : 2))
    ! is_running "$place" || stop "the server in $place is running"
    if [ -e "$place/data/PG_VERSION" ]; then postgres_forget_last "$place"; else postgres_create "$place"; fi
    for attempt in 1 2 3 4 5; do
        [ "$port" -ne 0 ] || { port=$(free_port) any=1; }
        if postgres_try "$place" "$port" "$@"; then
            postgres_make_database "$port"
            echo "$port"
            return
        fi
        end "$place" QUIT
        { [ "$any" -eq 1 ] && is_port_lost "$place"; } || break
        port=0
    done
    stop "PostgreSQL did not start, attempt $attempt: $(tail -n 5 "$place/log")"
}

# postgres_standby DIR PRIMARY_PORT [PORT [SETTING...]]: the same with a copy of the server on that port, which follows it.
postgres_standby() {
    guard "$1"
    folder=$1 place=$1/postgres
    make_place "$place"
    as_server "$(postgres_bin)/pg_basebackup" -R --checkpoint=fast --no-sync --no-manifest -X stream -h 127.0.0.1 -p "$2" \
        -U "$postgres_user" -D "$place/data" >>"$place/log" 2>&1 || stop "pg_basebackup failed: $(tail -n 5 "$place/log")"
    postgres_settings "$place" >>"$place/data/postgresql.conf"
    shift 2
    postgres_start "$folder" "$@"
}

# postgres_stop DIR fast|immediate|kill: with immediate it recovers at its next start, as after a crash; kill sends SIGKILL to
# all of its processes.
postgres_stop() {
    case ${2-} in
    fast) end "$1/postgres" INT ;;
    immediate) end "$1/postgres" QUIT ;;
    kill) postgres_kill "$1/postgres" ;;
    *) stop "postgres-stop DIR fast|immediate|kill" ;;
    esac
}

postgres_kill() {
    # shellcheck disable=SC2046 # The list is meant to be split into words.
    kill -s KILL $(postgres_processes "$1") 2>/dev/null || true
    wait_until 10 postgres_has_ended "$1"
}

# The processes of a cluster, whose working directory is its data; one that only waits to be reaped has none.
postgres_processes() {
    find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/data" 2>/dev/null | cut -d / -f 3
}

postgres_has_ended() {
    [ -z "$(postgres_processes "$1")" ]
}

# A server does not start while the process that the last one was exists, if only because nobody has reaped it yet.
postgres_forget_last() {
    wait_until 10 postgres_has_ended "$1" || stop "processes of the server in $1 are still running"
    forget_shared_memory "$1"
    rm -f "$1/data/postmaster.pid" "$1"/.s.PGSQL.*
}

# What a command that uses the server has to know.
postgres_environment() {
    port=$(cat "$1/postgres/port")
    echo "DSS_TEST_POSTGRES=postgresql://$postgres_user@127.0.0.1:$port/dss_test"
    echo "DSS_TEST_POSTGRES_PORT=$port"
    echo "DSS_TEST_POSTGRES_DATA=$1/postgres/data"
    echo "DSS_TEST_POSTGRES_USER=$postgres_user"
    echo "DSS_TEST_POSTGRES_BIN=$(postgres_bin)"
}
