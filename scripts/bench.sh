#!/bin/sh
# Measures libdss beside other ways to lock. With files on the disk and in memory: hand-written C on the same SQLite,
# flock(2), and Redis where it can be had. At a PostgreSQL server and at an etcd server, where these can be had: the
# statements and requests that one writes by hand. `make bench` builds the library first. It takes about ten minutes,
# prints tables, and writes each number to target/bench/bench.csv and a picture to target/bench/bench.svg.
#
#   BENCH_ONLY=name,name   only these: single-disk, procs8, threads64, status, ...; or a family, such as procs, postgres or
#                          etcd, which is the name up to a number or a hyphen. A wrong name shows them all
#   BENCH_ROUNDS=n         rounds of each, instead of 5 to 7; there are no ratios from fewer than five
#   BENCH_SECONDS=n        seconds of each contender in a round, instead of 0.2 to 1.5
#   BENCH_CALLS=n          calls of the search for growing memory, instead of some hundred thousand
#   BENCH_LIB_DIR=folder   where libdss.so and dss.h are, instead of the built ones
#
#   TMPDIR=folder          where the servers have their data, instead of /var/tmp. They flush it, as libdss does its own
#
# In the CSV file each line is one number: workload, store (disk, tmpfs, postgres, etcd), workers, contender, round, metric, value. In
# the lines of all rounds, calls_below_N_us is how many calls took that long: less than N, and no less than the next
# smaller N.
set -eu
cd "$(dirname "$0")/.."

tree=$PWD
target=${CARGO_TARGET_DIR:-$PWD/target}
out=$target/bench
memory=
servers=
server=
bench=

clean_up() {
    for child in $bench $server; do
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    done
    # It is empty where no server was wanted.
    [ -z "$servers" ] || rmdir "$servers" 2>/dev/null || "$tree/scripts/servers.sh" clean "$servers"
    rm -rf "$out/disk" ${memory:+"$memory"}
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

scripts/need.sh gcc strip
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The SQLite that cargo compiled for libdss: both contenders have the same code and options. Cargo keeps those of
# older builds, so the newest one counts. Its build script tells where the header is.
# shellcheck disable=SC2012 # Cargo's names of folders hold no odd characters.
sqlite=$(ls -t "$target"/release/build/libsqlite3-sys-*/out/libsqlite3.a | head -n 1)
header=$(sed -n 's/^cargo:\{1,2\}\(metadata=\)\{0,1\}include=//p' "${sqlite%/out/*}/output" | head -n 1)
[ -f "$header/sqlite3.h" ] || {
    echo "bench.sh: $target/release holds no SQLite that was compiled with libdss" >&2
    exit 1
}

# redis-check-rdb is the server under another name. Its package, unlike the server's, starts none on this machine.
without_redis=
said=$(scripts/need.sh redis-check-rdb hiredis.h 2>&1) || without_redis=$(echo "$said" | tail -n 1)

start_redis() {
    ln -sfn "$(command -v redis-check-rdb)" "$out/redis-server"
    cd "$out/disk"
    exec "$out/redis-server" --port 0 --unixsocket redis.sock --appendonly yes --appendfsync always --save '' \
        --daemonize no --logfile redis.log
}

wait_for_redis() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -S "$out/disk/redis.sock" ] && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.5
    done
    without_redis="its server did not start: $(tail -n 1 "$out/disk/redis.log" 2>&1 || true)"
}

# is_wanted FAMILY: whether BENCH_ONLY leaves it in.
is_wanted() {
    case ,${BENCH_ONLY-}, in
    ,, | *,"$1"[,-]*) ;;
    *) false ;;
    esac
}

# start_server NAME TOOL...: starts it beside us on the disk, and leaves its connection string in $uri; empty, where it is not to
# be had or not wanted.
start_server() {
    uri=
    name=$1
    shift
    is_wanted "$name" || return 0
    said=$(scripts/need.sh "$name" "$@" 2>&1) && said=$(scripts/servers.sh start "$servers" "$name" 2>&1) ||
        echo "$name is left out: $(echo "$said" | tail -n 1)" >&2
    uri=$(echo "$said" | sed -n 's/^DSS_TEST_[A-Z]*=\([a-z]*:.*\)/\1/p')
}

start_servers() {
    export DSS_SERVERS_OWNER=$$ DSS_TEST_PG_FSYNC=on DSS_TEST_ETCD_FSYNC=on
    servers=$(mktemp -d "${TMPDIR:-/var/tmp}/dss-bench.XXXXXX")
    start_server postgres libpq-fe.h
    postgres=$uri
    start_server etcd
    etcd=$uri
}

compile() {
    library=${BENCH_LIB_DIR:-$target/release}
    left_out=
    options=
    if [ -z "$without_redis" ]; then
        options="-DWITH_REDIS -lhiredis"
    else
        left_out="$left_out redis"
    fi
    if [ -n "$postgres" ]; then
        options="$options -DWITH_POSTGRES -isystem $(pg_config --includedir) -L$(pg_config --libdir) -lpq"
    else
        left_out="$left_out postgres"
    fi
    if [ -n "$etcd" ]; then
        "${CARGO:-cargo}" build --release --locked --quiet --package etcd_bare
        options="$options -DWITH_ETCD -L$target/release -Wl,-rpath,$target/release -letcd_bare"
    else
        left_out="$left_out etcd"
    fi
    sources=
    for source in benches/*.c; do
        case " $left_out " in
        *" $(basename "$source" .c) "*) ;;
        *) sources="$sources $source" ;;
        esac
    done
    # shellcheck disable=SC2086 # The lists are meant to be split into words.
    "${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -I"${BENCH_LIB_DIR:-include}" -isystem "$header" \
        -o "$out/bench" $sources "$sqlite" -L"$library" -Wl,-rpath,"$library" -ldss $options -lpthread -ldl -lm
    strip --strip-unneeded -o "$out/libdss.stripped.so" "$library/libdss.so"
}

rm -rf "$out/disk"
mkdir "$out/disk"
if [ -z "$without_redis" ]; then
    start_redis &
    server=$!
    wait_for_redis
fi
[ -z "$without_redis" ] || echo "Redis is left out: $without_redis" >&2
start_servers
compile
if [ -w /dev/shm ]; then
    memory=$(mktemp -d /dev/shm/dss-bench-XXXXXX)
else
    echo "There is no /dev/shm, so only the disk is measured." >&2
fi

# The path of a Unix socket has to be short, so the folder is named from here. In the background, and waited for, so
# that a signal to this script ends it at once.
cd "$out"
./bench --disk=disk ${memory:+"--tmpfs=$memory"} ${postgres:+"--postgres=$postgres"} ${etcd:+"--etcd=$etcd"} --library=libdss.stripped.so --csv=bench.csv --svg=bench.svg &
bench=$!
status=0
wait "$bench" || status=$?
bench=
echo
echo "each number: $out/bench.csv"
echo "the picture: $out/bench.svg"
[ "$status" -eq 0 ]
