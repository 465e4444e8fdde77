#!/bin/sh
# Tests `make install` and `make uninstall` as a packager uses them: into a DESTDIR, under a strict umask, and with
# a program that is built and run outside of this tree.
set -eu
cd "$(dirname "$0")/.."
# What an outer make was told is not meant for the ones below.
unset MAKEFLAGS MFLAGS MAKELEVEL PREFIX BINDIR LIBDIR INCLUDEDIR MANDIR DATADIR DESTDIR
umask 077

built=${CARGO_TARGET_DIR:-target}/release/libdss.so
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
    make --no-print-directory "$@" DESTDIR="$work/dest dir" >"$work/make.log" 2>&1 || {
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
755 $1/bin/dss
644 $1/share/man/man1/dss.1
644 $1/share/man/man7/dss.7
644 $1/share/bash-completion/completions/dss
644 $1/share/zsh/site-functions/_dss
644 $1/share/fish/vendor_completions.d/dss.fish
$(for page in man/*.3; do echo "644 $1/share/man/man3/${page#man/}"; done)
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
make_into uninstall PREFIX=/opt/dss LIBDIR=/opt/dss/lib/multi-arch INCLUDEDIR=/srv/include
check_uninstalled
echo "install and uninstall: as they should be"
