#!/bin/sh
# Installs the packages that are beside this script, uses them and removes them again: try_deb.sh VERSION [ROOT]
#
# With a ROOT, a folder, they go there, with a list of packages of its own. Without one they go onto the system: that is for
# scripts/test_deb.sh, which calls this where nothing of it remains.
set -eu
cd "$(dirname "$0")"
version=$1 root=${2:-}
unset CPATH LIBRARY_PATH LD_LIBRARY_PATH PKG_CONFIG_PATH DSS_URI
export PATH="$PATH:/usr/sbin:/sbin"
umask 022

fail() {
    echo "try_deb: $*" >&2
    exit 1
}

# A small image of Debian may be set to leave out manuals.
package() {
    set -- --log=/dev/null --path-include='/usr/share/doc/*' --path-include='/usr/share/man/*' "$@"
    [ -z "$root" ] || set -- --root="$root" --force-not-root --force-depends --force-script-chrootless "$@"
    dpkg "$@" >dpkg.log 2>&1 || {
        cat dpkg.log >&2
        fail "dpkg failed: $*"
    }
}

libraries=$root/usr/lib/$(dpkg-architecture -q DEB_HOST_MULTIARCH)
if [ -n "$root" ]; then
    touch "$root/var/lib/dpkg/status"
    export LD_LIBRARY_PATH="$libraries" PKG_CONFIG_LIBDIR="$libraries/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"
fi

names=
for file in *.deb; do
    names="$names $(dpkg-deb --field "$file" Package)"
done
package --install ./*.deb
# shellcheck disable=SC2086 # The list is meant to be split into words.
dpkg-query --admindir="$root/var/lib/dpkg" --listfiles $names | grep . | sort -u >installed

# A program of C, by pkg-config and by CMake.
# shellcheck disable=SC2046 # The flags are meant to be split into words.
cc -std=c99 -Wall -Wextra -Wpedantic -Werror -o quickstart quickstart.c $(pkg-config --cflags --libs dss) ||
    fail "quickstart.c does not build"
readelf -d quickstart | grep -q "NEEDED.*\[libdss.so.${version%%.*}\]" || fail "quickstart does not need libdss.so.${version%%.*}"
export DSS_URI="sqlite:$PWD/dss.db"
./quickstart || fail "quickstart does not run"

rm -rf project
mkdir project
cat >project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.5...3.25)
project(user C)
find_package(dss 0.1 REQUIRED)
add_executable(quickstart ../quickstart.c)
target_link_libraries(quickstart PRIVATE dss::dss)
END
{ cmake -S project -B project/build -DCMAKE_PREFIX_PATH="$root/usr" && cmake --build project/build; } >cmake.log 2>&1 || {
    cat cmake.log >&2
    fail "the project of CMake does not build"
}
project/build/quickstart || fail "what CMake has built does not run"

# The command, its completions and the manual.
dss=$root/usr/bin/dss
[ "$("$dss" --version)" = "dss $version" ] || fail "the command is of another version"
[ "$("$dss" run --lock drive -- "$dss" --quiet list)" = drive ] || fail "the command does not run"
for file in bash-completion/completions/dss zsh/vendor-completions/_dss fish/vendor_completions.d/dss.fish; do
    [ -s "$root/usr/share/$file" ] || fail "there is no $file"
done
while read -r page; do
    [ -s "$root/usr/share/man/$page" ] || fail "there is no $page"
    said=$(zcat "$root/usr/share/man/$page" | groff -man -Kutf8 -Tutf8 -ww -z 2>&1)
    [ -z "$said" ] || fail "$page: $said"
done <pages

# What was stripped off is where a debugger looks for it.
for file in "$dss" "$libraries/libdss.so.$version"; do
    ! readelf -S "$file" | grep -q '\.debug_info' || fail "$file is not stripped"
    id=$(readelf -n "$file" | sed -n 's/.*Build ID: *//p')
    rest=${id#??}
    [ -s "$root/usr/lib/debug/.build-id/${id%"$rest"}/$rest.debug" ] || fail "there are no debugging symbols of $file"
done

# shellcheck disable=SC2086 # The list is meant to be split into words.
package --remove $names
while read -r file; do
    if [ -L "$root$file" ] || { [ -e "$root$file" ] && [ ! -d "$root$file" ]; }; then
        fail "the removal left $file"
    fi
done <installed
for name in $names; do
    ! dpkg-query --admindir="$root/var/lib/dpkg" --show "$name" >/dev/null 2>&1 || fail "dpkg still knows $name"
done
