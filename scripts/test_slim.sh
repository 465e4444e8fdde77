#!/bin/sh
# Tests the library as it is built for a site that wants SQLite alone: clippy is content, there is nothing of the other stores in
# it, and whoever asks for them is told so. It also compiles with other choices of stores.
#
# It is built in a folder of its own and hardly optimised: that is most of the time which the first run takes.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}/slim
cargo=${CARGO:-cargo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "test_slim: $*" >&2
    exit 1
}

# cargo_with FEATURES COMMAND [OPTION...]
cargo_with() {
    features=$1 command=$2
    shift 2
    "$cargo" "$command" --locked --lib --no-default-features --features "$features" --target-dir "$target" \
        --config profile.dev.package.libsqlite3-sys.opt-level=0 "$@"
}

cargo_with "" check
cargo_with sqlite,postgres check
cargo_with sqlite clippy -- -D warnings

cargo_with sqlite build
library=$target/debug/libdss.so
ln -sfn libdss.so "$target/debug/libdss.so.0"
ldd "$library"

# The default library has these; so they would be found.
for symbol in sqlite3_open_v2 serde_json rustls libloading; do
    if nm "$library" | grep -q "$symbol"; then found=yes; else found=no; fi
    case $symbol in
    sqlite3_open_v2) [ "$found" = yes ] || fail "there is no $symbol in it" ;;
    *) [ "$found" = no ] || fail "there is something of $symbol in it" ;;
    esac
    nm "${CARGO_TARGET_DIR:-target}/release/libdss.so" | grep -q "$symbol" || fail "the default library has no $symbol"
done

cat >"$work/slim.c" <<'END'
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <dss.h>

/* The connection string of a store that the library has, then those of stores that it has not, each before its name. */
int main(int count, char **arguments)
{
    struct dss_handle handle;
    int rc = dss_init_uri(&handle, arguments[1]);

    if (rc != 0 || dss_lock(&handle, "id", "owner") != 0)
        return fprintf(stderr, "%s: %s\n", arguments[1], dss_last_error()), 1;
    dss_fini(&handle);
    for (int i = 2; i + 1 < count; i += 2) {
        rc = dss_init_uri(&handle, arguments[i]);
        fprintf(stderr, "%s: %d: %s\n", arguments[i], rc, dss_last_error());
        if (rc != -EPROTONOSUPPORT || handle.dh_conn != NULL || strstr(dss_last_error(), arguments[i + 1]) == NULL)
            return 1;
        if (strstr(dss_last_error(), "s3cr3t") != NULL)
            return 1;
    }
    return 0;
}
END
"${CC:-cc}" -std=c99 -Iinclude -o "$work/slim" "$work/slim.c" -L"$target/debug" -Wl,-rpath,"$target/debug" -ldss
"$work/slim" "sqlite:$work/dss.db" postgresql://u:s3cr3t@127.0.0.1:1/d PostgreSQL postgres://127.0.0.1:1 PostgreSQL \
    "host=127.0.0.1 port=1 password=s3cr3t" PostgreSQL etcd://127.0.0.1:1 etcd etcd://127.0.0.1:1?tls=on etcd
