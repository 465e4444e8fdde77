#!/bin/sh
# Tests `make install` and `make uninstall` as a packager uses them: into a DESTDIR, under a strict umask, and with
# a program that is built and run outside of this tree.
set -eu
cd "$(dirname "$0")/.."
# What an outer make was told is not meant for the ones below.
unset MAKEFLAGS MFLAGS MAKELEVEL PREFIX BINDIR LIBDIR INCLUDEDIR MANDIR DATADIR DOCDIR DESTDIR
umask 077

built=${CARGO_TARGET_DIR:-target}/quick/libdss.so
version=$(sed -n '/^version = "/{s/.*"\(.*\)".*/\1/p;q}' Cargo.toml)
major=${version%%.*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "test_install: $*" >&2
    exit 1
}

# Everything below a folder: mode, path and what a link points to.
list() {
    (cd "$1" && find . -mindepth 1 -type d -printf '%m %P/\n' -o -type l -printf 'link %P -> %l\n' \
        -o -printf '%m %P\n') | LC_ALL=C sort -k 2
}

# make TARGET into "$work/dest dir", whose space tests the quoting, with the given variables.
make_into() {
    make --no-print-directory "$@" QUICK=yes DESTDIR="$work/dest dir" >"$work/make.log" 2>&1 || {
        cat "$work/make.log" >&2
        fail "make $* failed"
    }
}

# The files of an installation below PREFIX/ and LIB/, both without a slash at the start.
expected() {
    cat <<END
644 $1/include/dss.h
link $2/libdss.so -> libdss.so.$major
link $2/libdss.so.$major -> libdss.so.$version
755 $2/libdss.so.$version
644 $2/pkgconfig/dss.pc
644 $2/cmake/dss/dssConfig.cmake
644 $2/cmake/dss/dssConfigVersion.cmake
755 $1/bin/dss
644 $1/share/man/man1/dss.1
644 $1/share/man/man7/dss.7
644 $1/share/bash-completion/completions/dss
644 $1/share/zsh/site-functions/_dss
644 $1/share/fish/vendor_completions.d/dss.fish
$(for page in man/*.3; do echo "644 $1/share/man/man3/${page#man/}"; done)
$(for file in README.md docs/* schema.sql; do echo "644 $1/share/doc/dss/${file#docs/}"; done)
END
}

check_files() {
    expected "$1" "$2" | LC_ALL=C sort -k 2 >"$work/expected"
    list "$work/dest dir" | grep -v '/$' >"$work/found"
    diff -u "$work/expected" "$work/found" || fail "these are not the files of an installation"
    if list "$work/dest dir" | grep '/$' | grep -v '^755 '; then
        fail "not everybody can enter these folders"
    fi
}

check_library() {
    installed="$work/dest dir/$1/libdss.so.$version"
    soname=$(readelf -d "$installed" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
    [ "$soname" = "libdss.so.$major" ] || fail "the SONAME is \"$soname\", not libdss.so.$major"
    ! readelf -S "$installed" | grep -q '\.debug_info' || fail "the installed library is not stripped"
    readelf -S "$built" | grep -q '\.debug_info' || fail "installing stripped the library of the build"
}

# pkg-config as a user's build calls it, for a prefix that has been moved into the DESTDIR.
pkg_config() {
    PKG_CONFIG_PATH="$work/moved/lib/pkgconfig" pkg-config --define-variable=prefix="$work/moved" "$@" dss
}

check_program() {
    ln -s "$work/dest dir/usr" "$work/moved"
    [ "$(pkg_config --modversion)" = "$version" ] || fail "dss.pc has another version than Cargo.toml"
    cp examples/quickstart.c "$work/"
    # shellcheck disable=SC2046 # The flags are meant to be split into words.
    (cd "$work" && "${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror $(pkg_config --cflags) -o quickstart quickstart.c \
        $(pkg_config --libs)) || fail "quickstart.c does not build with the installed files"
    readelf -d "$work/quickstart" | grep -q "NEEDED.*\[libdss.so.$major\]" || fail "quickstart does not need the SONAME"
    (cd "$work" && LD_LIBRARY_PATH="$work/moved/lib" DSS_URI="sqlite:$work/dss.db" ./quickstart) ||
        fail "quickstart does not run"
}

# A project of CMake, as a user has it, that asks for a version of the library.
cmake_project() {
    rm -rf "$work/project"
    mkdir "$work/project"
    cp examples/quickstart.c "$work/project/"
    cat >"$work/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.5...3.25)
project(user C)
find_package(dss $1 REQUIRED)
find_package(dss REQUIRED) # Twice, as the parts of a large project do.
add_executable(quickstart quickstart.c)
target_link_libraries(quickstart PRIVATE dss::dss)
get_target_property(folder dss::dss INTERFACE_INCLUDE_DIRECTORIES)
message(STATUS "header: \${folder}; prefix: \${prefix}")
END
    cmake -S "$work/project" -B "$work/project/build" -Dprefix=mine -DCMAKE_PREFIX_PATH="$2" >"$work/cmake.log" 2>&1
}

cmake_failed() {
    cat "$work/cmake.log" >&2
    fail "$*"
}

# find_package takes what is at least as new, of the same major version.
check_cmake() {
    # Debian's /lib is a link to /usr/lib: the header is not beside the former.
    mkdir "$work/linked"
    ln -s "$work/dest dir/usr/lib" "$work/linked/lib"
    cmake_project 0.1 "$work/linked" || cmake_failed "find_package(dss) is led astray by a link"
    for asked in "" 0.1 "$version EXACT" "0.0.9...<1"; do
        cmake_project "$asked" "$work/moved" || cmake_failed "find_package(dss $asked) found nothing"
    done
    cmake --build "$work/project/build" >"$work/cmake.log" 2>&1 || cmake_failed "the project of CMake does not build"
    readelf -d "$work/project/build/quickstart" | grep -q "NEEDED.*\[libdss.so.$major\]" || fail "CMake links something else"
    DSS_URI="sqlite:$work/cmake.db" "$work/project/build/quickstart" || fail "what CMake has built does not run"
    for asked in 99 "$major.99" "0.0.1...<0.0.2" "0.0.1 EXACT"; do
        ! cmake_project "$asked" "$work/moved" || fail "find_package(dss $asked) is content with $version"
        grep -q "requested version" "$work/cmake.log" || fail "find_package(dss $asked) failed for another reason"
    done
}

check_command() {
    dss="$work/dest dir/usr/bin/dss"
    [ "$("$dss" --version)" = "dss $version" ] || fail "the command is of another version than Cargo.toml"
    export DSS_URI="sqlite:$work/command.db"
    [ "$("$dss" run --lock drive -- "$dss" --quiet list)" = drive ] || fail "the installed command does not run"
}

check_uninstalled() {
    left=$(list "$work/dest dir" | grep -v '/$' || true)
    [ -z "$left" ] || fail "uninstall left: $left"
}

make_into install PREFIX=/usr
check_files usr usr/lib
check_library usr/lib
check_program
check_cmake
check_command
make_into install PREFIX=/usr
check_files usr usr/lib # Installing twice changes nothing.
make_into uninstall PREFIX=/usr
check_uninstalled

# A folder of libraries as Debian has it, and headers that are not below the prefix.
make_into install PREFIX=/opt/dss LIBDIR=/opt/dss/lib/multi-arch INCLUDEDIR=/srv/include
check_pc_line() {
    grep -qxF "$1" "$work/dest dir/opt/dss/lib/multi-arch/pkgconfig/dss.pc" || fail "dss.pc has no line $1"
}
check_pc_line "libdir=\${prefix}/lib/multi-arch"
check_pc_line "includedir=/srv/include"
# It can not be built here, where the header is in the DESTDIR.
cmake_project 0.1 "$work/dest dir/opt/dss/lib/multi-arch/cmake/dss" || true
grep -qxF -e "-- header: /srv/include; prefix: mine" "$work/cmake.log" || fail "CMake has: $(grep header: "$work/cmake.log")"
make_into uninstall PREFIX=/opt/dss LIBDIR=/opt/dss/lib/multi-arch INCLUDEDIR=/srv/include
check_uninstalled
echo "install and uninstall: as they should be"
