# etcd servers for tests, in the places DIR/etcd-NAME; scripts/servers.sh reads this file.
# shellcheck shell=sh

# etcd_has OPTION: the option is one of this version's.
etcd_has() {
    etcd --help 2>&1 | grep -q -- "$1"
}

# What a disk costs is no matter here, unless $DSS_TEST_ETCD_FSYNC is `on`. Where etcd can't be told, its files lie in memory,
# if there is room: each server begins with a log of 128 MB.
etcd_make_data() {
    in_memory=$(folder_in_memory "$1")
    data=$1/etcd-$2/data
    [ ! -e "$data" ] || return 0
    make_place "$1/etcd-$2"
    if [ "${DSS_TEST_ETCD_FSYNC-}" != on ] && ! etcd_has --unsafe-no-fsync && has_room_in_memory; then
        (umask 077 && mkdir -p "$in_memory/$2")
        chmod go+x "$in_memory"
        chown "$(server_user)" "$in_memory/$2"
        ln -s "$in_memory/$2" "$data"
    else
        (umask 077 && mkdir "$data")
        chown "$(server_user)" "$data"
    fi
}

has_room_in_memory() {
    free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ "${free:-0}" -gt 1000000 ]
}

etcd_answers() {
    curl --silent --fail --noproxy '*' --max-time 2 "http://127.0.0.1:$1/health" | grep -q true
}

# etcd_try DIR NAME CLIENT_PORT PEER_PORT INITIAL_CLUSTER: starts a server and does not wait for it. The times of heartbeats
# and elections stay as they are: the shortest lease that the server grants follows from them.
etcd_try() {
    etcd_make_data "$1" "$2"
    place=$1/etcd-$2 name=$2 client=http://127.0.0.1:$3 peer=http://127.0.0.1:$4 cluster=$5
    printf '%s\n' "$3" >"$place/port"
    printf '%s\n' "$4" >"$place/peer_port"
    printf '%s\n' "$5" >"$place/cluster"
    set --
    if [ "${DSS_TEST_ETCD_FSYNC-}" != on ] && etcd_has --unsafe-no-fsync; then set -- --unsafe-no-fsync; fi
    launch "$place" ETCD_UNSUPPORTED_ARCH=arm64 etcd --name "$name" --data-dir "$place/data" \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --initial-cluster "$cluster" --initial-cluster-state new --initial-cluster-token dss-test \
        --quota-backend-bytes 8589934592 --logger zap --log-level warn --log-outputs stderr "$@"
}

# Runs the command with the server's port when it has proved to be alive.
etcd_wait_for() {
    wait_for "$1" 60 etcd_answers "$(cat "$1/port")"
}

# etcd_wait DIR: waits until every server of the folder answers.
etcd_wait() {
    for place in "$1"/etcd-*; do
        etcd_wait_for "$place" || stop "etcd does not answer: $(tail -n 5 "$place/log")"
    done
}

# etcd_start DIR NAME [CLIENT_PORT PEER_PORT INITIAL_CLUSTER]: without ports, as at the last start. It waits for one that is
# alone; of several, one can't answer before others are there: etcd_wait.
etcd_start() {
    guard "$1"
    place=$1/etcd-$2
    ! is_running "$place" || stop "the server in $place is running"
    if [ $# -eq 2 ]; then
        [ -e "$place/cluster" ] || stop "$place has not been started yet: name its ports"
        set -- "$1" "$2" "$(cat "$place/port")" "$(cat "$place/peer_port")" "$(cat "$place/cluster")"
    fi
    for port in "$3" "$4"; do
        wait_until 5 is_port_free "$port" || stop "port $port is taken"
    done
    etcd_try "$@" || stop "etcd did not start: $(tail -n 5 "$place/log")"
    case $5 in
    *,*) ;;
    *) etcd_wait_for "$place" || stop "etcd did not start: $(tail -n 5 "$place/log")" ;;
    esac
}

is_port_free() {
    ! is_port_taken "$1"
}

# etcd_kill DIR [NAME]: SIGKILL, to one or to all.
etcd_kill() {
    if [ $# -gt 1 ]; then
        end "$1/etcd-$2" KILL
        return
    fi
    for place in "$1"/etcd-*; do
        end "$place" KILL
    done
}

# etcd_cluster DIR [NAME...]: as many servers as names, n1 n2 n3 by default, each on free ports. Prints name, client's port
# and peer's port of each, and leaves the same in the file DIR/etcd.
etcd_cluster() {
    guard "$1"
    folder=$1
    shift
    [ $# -gt 0 ] || set -- n1 n2 n3
    for attempt in 1 2 3 4 5; do
        if etcd_cluster_try "$folder" "$@"; then
            cat "$folder/etcd"
            return
        fi
        etcd_kill "$folder"
        is_any_port_lost "$folder" || break
        rm -rf "$folder"/etcd-* "$(folder_in_memory "$folder")"
    done
    stop "etcd did not start, attempt $attempt: $(tail -n 5 "$folder"/etcd-*/log)"
}

is_any_port_lost() {
    for place in "$1"/etcd-*; do
        ! is_port_lost "$place" || return 0
    done
    return 1
}

etcd_cluster_try() {
    folder=$1
    shift
    : >"$folder/etcd"
    for name in "$@"; do
        echo "$name $(free_port) $(free_port)" >>"$folder/etcd"
    done
    cluster=$(awk '{ printf "%s%s=http://127.0.0.1:%s", separator, $1, $3; separator = "," }' "$folder/etcd")
    while read -r name port peer_port; do
        etcd_try "$folder" "$name" "$port" "$peer_port" "$cluster" || return
    done <"$folder/etcd"
    for name in "$@"; do
        etcd_wait_for "$folder/etcd-$name" || return
    done
}

# What a command that uses the server has to know.
etcd_environment() {
    port=$(cut -d ' ' -f 2 "$1/etcd")
    echo "DSS_TEST_ETCD=etcd://127.0.0.1:$port"
    echo "DSS_TEST_ETCD_PORT=$port"
}
