#!/bin/sh
# Tests the Debian packages: `make deb` builds them and leaves the tree as it was, lintian has nothing to say, and they can be
# installed, used and removed. scripts/try_deb.sh does the last, twice: into a folder, which everybody can; and, where
# root may mount, on this very system, but for an overlay that keeps what is written and goes with this script.
set -eu
cd "$(dirname "$0")/.."
# What an outer make was told is not meant for the ones below.
unset MAKEFLAGS MFLAGS MAKELEVEL PREFIX BINDIR LIBDIR INCLUDEDIR MANDIR DATADIR DOCDIR DESTDIR
umask 077

built=${CARGO_TARGET_DIR:-$PWD/target}/deb
version=$(sed -n '/^version = "/{s/.*"\(.*\)".*/\1/p;q}' Cargo.toml)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "test_deb: $*" >&2
    exit 1
}

# The files of the tree that git would tell of, with their states.
tree() {
    git status --porcelain --ignored 2>/dev/null || true
}

# A new mount namespace runs this with a folder and a command: the system below, a tmpfs above, and the command in it.
# shellcheck disable=SC2016 # What is quoted is for the shell in there.
in_overlay='
    folder=$1
    shift
    mkdir "$folder/overlay"
    mount -t tmpfs tmpfs "$folder/overlay"
    cd "$folder/overlay"
    mkdir upper work root
    mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
    mount --rbind /dev root/dev
    mount --rbind /proc root/proc
    mkdir -p "root$folder"
    mount --bind "$folder" "root$folder"
    chroot root "$@"
'
overlay() {
    rm -rf "$work/overlay"
    unshare --mount sh -ec "$in_overlay" sh "$work" "$@"
}

# Without root's rights over the files below, an overlay in a user namespace can not be written to.
can_overlay() {
    [ "$(id -u)" -eq 0 ] && overlay sh -c 'touch /usr/probe && dpkg --version && cc --version' >"$work/probe" 2>&1
}

packaged=$(sed -n '1s/^dss (\(.*\)) .*/\1/p' debian/changelog)
[ "$packaged" = "$version" ] || fail "debian/changelog is of version $packaged, Cargo.toml of $version"

tree >"$work/before"
make --no-print-directory deb >"$work/make.log" 2>&1 || {
    cat "$work/make.log" >&2
    fail "make deb failed"
}
tree | diff -u "$work/before" - || fail "make deb has changed the tree"
lintian --allow-root --fail-on error,warning "$built"/*.changes || fail "lintian is not content"

# What is needed to try them is in one folder, because the tree may be on a file system that the overlay has not got.
cp "$built"/*.deb examples/quickstart.c scripts/try_deb.sh "$work/"
for page in man/*.[1-9]; do
    echo "man${page##*.}/${page##*/}.gz"
done >"$work/pages"

mkdir -p "$work/folder/var/lib/dpkg"
"$work/try_deb.sh" "$version" "$work/folder" || fail "the packages fail in a folder"
if can_overlay; then
    overlay "$work/try_deb.sh" "$version" || fail "the packages fail on this system"
    how="in a folder and on this system"
else
    how="in a folder"
fi
[ ! -e /usr/probe ] || fail "the overlay has leaked"
echo "the Debian packages: as they should be, $how"
