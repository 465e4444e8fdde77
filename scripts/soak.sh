#!/bin/sh
# Lets processes work on each store for long, while things break, and looks at what one of them takes: c_tests/soak/soak.c says
# what. `make soak` builds the library first. The figures and a picture of them are in target/soak.
#
# DSS_SOAK_MINUTES (30) says how long, DSS_TEST_STORES on which stores; all of them run at once.
set -eu
cd "$(dirname "$0")/.."

DSS_TEST_STORES=${DSS_TEST_STORES:-sqlite,memory,postgres,etcd}
export DSS_TEST_STORES
# Starts itself again beside the servers that the stores need.
if [ -z "${DSS_SOAK_INSIDE:-}" ]; then
    servers=$(echo "$DSS_TEST_STORES" | tr , '\n' | grep -xE 'postgres|etcd' || true)
    export DSS_SOAK_INSIDE=1
    # shellcheck disable=SC2086 # The list is meant to be split into words.
    [ -z "$servers" ] || exec scripts/servers.sh run $servers -- "$PWD/scripts/soak.sh"
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
out=$target/soak
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
seconds=${DSS_SOAK_SECONDS:-$((${DSS_SOAK_MINUTES:-30} * 60))}
DSS_TEST_SERVERS=$PWD/scripts/servers.sh
export DSS_TEST_SERVERS
mkdir -p "$out"
cc=${CC:-cc}
flags="-std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror"
# shellcheck disable=SC2086 # The flags are meant to be split into words.
$cc $flags -Iinclude -Ic_tests -o "$out/soak" c_tests/soak/soak.c c_tests/history/actor.c c_tests/history/disk.c \
    c_tests/history/faults.c c_tests/network/proxy.c c_tests/network/proxy_link.c c_tests/network/proxy_process.c \
    -L"$target/release" -Wl,-rpath,"$target/release" -ldss -pthread
# shellcheck disable=SC2086
$cc $flags -Ibenches -o "$out/picture" c_tests/soak/picture.c benches/drawing.c -lm

uri_of() {
    case $1 in
        sqlite) echo "sqlite:$folder/soak.db" ;;
        memory) echo "memory:soak" ;;
        postgres) echo "$DSS_TEST_POSTGRES?schema=soak_$$" ;;
        etcd) echo "$DSS_TEST_ETCD/soak_$$" ;;
    esac
}

faults_of() {
    case $1 in
        sqlite) echo kill,stop,disk ;;
        memory) echo "" ;;
        *) echo kill,stop,cut ;;
    esac
}

stores=$(echo "$DSS_TEST_STORES" | tr , ' ')
children=
for store in $stores; do
    DSS_TEST_STORE=$store "$out/soak" "$(uri_of "$store")" "$seconds" "$(faults_of "$store")" "$out/$store.csv" \
        >"$out/$store.log" 2>&1 &
    children="$children $!:$store"
done
failed=0
for child in $children; do
    wait "${child%%:*}" || failed=1
    echo "${child#*:}: $(cat "$out/${child#*:}.log")"
done
set --
for store in $stores; do
    [ ! -s "$out/$store.csv" ] || set -- "$@" "$store" "$out/$store.csv"
done
"$out/picture" "$out/soak.svg" "$@"
echo "The figures are in $out/*.csv, the picture is $out/soak.svg"
exit "$failed"
