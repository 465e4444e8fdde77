#!/bin/sh
# Makes sure that tools and libraries are there: scripts/need.sh TOOL...
#
# What is missing is installed with apt-get where that needs no question: as root, or by a sudo that asks for no
# password. Otherwise this stops and names each missing package, since nothing that needs a tool may be skipped.
set -eu

root_of_tree=$(dirname "$0")/..

# The Debian packages that bring a tool; most tools have the name of their package.
packages_of() {
    case $1 in
    abidiff | abidw) echo abigail-tools ;;
    cargo-clippy) echo rust-clippy ;;
    cargo-fmt) echo rustfmt ;;
    ctest) echo cmake ;;
    dh) echo debhelper ;;
    dpkg-buildpackage) echo dpkg-dev ;;
    etcd) echo etcd-server ;;
    faketime | libfaketime) echo faketime ;;
    gcc | libasan) echo gcc libc6-dev ;;
    groff) echo groff-base ;;
    hiredis.h) echo libhiredis-dev ;;
    ip) echo iproute2 ;;
    libpq-fe.h) echo libpq-dev ;;
    nm | objcopy | objdump | readelf | strip) echo binutils ;;
    nsenter | setpriv | unshare) echo util-linux ;;
    pgrep | ps) echo procps ;;
    postgres) echo postgresql libpq5 ;;
    redis-check-rdb) echo redis-tools ;;
    sqlite3.h) echo libsqlite3-dev ;;
    *) echo "$1" ;;
    esac
}

is_there() {
    case $1 in
    cargo) is_new_enough ;;
    cargo-clippy) "${CARGO:-cargo}" clippy --version ;;
    cargo-fmt) "${CARGO:-cargo}" fmt --version ;;
    gcc) echo '#include <stdio.h>' | gcc -E - ;;
    hiredis.h) echo '#include <hiredis/hiredis.h>' | gcc -E - ;;
    libasan) case $(gcc -print-file-name=libasan.so) in /*) ;; *) false ;; esac ;;
    libfaketime) is_library libfaketime.so.1 ;;
    libpq-fe.h) echo '#include <libpq-fe.h>' | gcc -I/usr/include/postgresql -E - ;;
    pgbouncer) PATH=$PATH:/usr/sbin command -v pgbouncer ;;
    postgres) is_library libpq.so.5 && { command -v postgres || ls /usr/lib/postgresql/*/bin/postgres; } ;;
    sqlite3.h) echo '#include <sqlite3.h>' | gcc -E - ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

is_library() {
    find -L /usr/lib /usr/local/lib -name "$1" 2>/dev/null | grep -q .
}

wanted_rust() {
    sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root_of_tree/Cargo.toml"
}

is_new_enough() {
    found=$("${CARGO:-cargo}" --version) || return
    found=${found#cargo }
    oldest=$(printf '%s\n' "$(wanted_rust)" "${found%% *}" | sort -V | head -n 1)
    [ "$oldest" = "$(wanted_rust)" ]
}

# Rust that came by rustup gets its components from rustup: a Debian package would be for another compiler.
add_component() {
    command -v rustup >/dev/null || return
    case $1 in
    cargo-clippy) rustup component add clippy ;;
    cargo-fmt) rustup component add rustfmt ;;
    *) false ;;
    esac
}

stop() {
    echo "need.sh: $*" >&2
    exit 1
}

missing() {
    for tool in "$@"; do
        is_there "$tool" || echo "$tool"
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# The lists of a fresh machine are empty and those of an old one are stale, so a failure is worth an update. What
# apt says matters only if it fails in the end.
install_packages() {
    apt install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    said=$({ apt update && apt install -y --no-install-recommends "$@"; } 2>&1) && return
    echo "$said" >&2
    return 1
}

# Debian starts the servers that it installs, makes a PostgreSQL cluster, and has some started at each boot. The tests run
# servers of their own and want none of that. So a start is forbidden meanwhile, by the file in which Debian asks, and
# what would come later is taken back.
install_servers() {
    policy=/usr/sbin/policy-rc.d
    no_cluster=/etc/postgresql-common/createcluster.d/dss-tests.conf
    made_policy=
    trap 'as_root rm -f "$no_cluster" $made_policy' EXIT
    trap 'exit 1' HUP INT TERM
    if [ ! -e "$policy" ]; then
        made_policy=$policy
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
    install_packages "$@" || return
    for package in "$@"; do
        case $package in
        etcd-server) service=etcd ;;
        pgbouncer) service=pgbouncer ;;
        *) continue ;;
        esac
        as_root env PATH="/usr/sbin:$PATH" update-rc.d "$service" disable >/dev/null 2>&1 || true
    done
}

install() {
    case " $* " in
    *' etcd-server '* | *' pgbouncer '* | *' postgresql '* | *' redis-server '*) install_servers "$@" ;;
    *) install_packages "$@" ;;
    esac
}

packages=
for tool in $(missing "$@"); do
    if [ "$tool" = cargo ]; then
        stop "cargo of Rust $(wanted_rust) or newer is missing; https://rustup.rs says how to get it."
    elif ! add_component "$tool" >&2; then
        packages="$packages $(packages_of "$tool")"
    fi
done
[ -n "$packages" ] || exit 0

command="apt-get install --no-install-recommends$packages"
if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then
    stop "missing:$packages (for $(missing "$@" | paste -sd ' ')). Install by: sudo $command"
fi
echo "need.sh: installing$packages" >&2
# shellcheck disable=SC2086 # The list is meant to be split into words.
install $packages || stop "could not install; try: $command"

still=$(missing "$@" | paste -sd ' ')
[ -z "$still" ] || stop "still missing after the installation of$packages: $still"
