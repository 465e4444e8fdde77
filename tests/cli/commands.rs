//! What each subcommand does where nothing is wrong, and its answers.

use super::{Said, command, dss, dss_reading, each_store};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use temp_dir::TempDir;

#[test]
fn a_lock_is_taken_shown_refreshed_given_on_and_released() {
    each_store(|store| {
        let uri = &store.uri;
        let token = dss(uri, &["--quiet", "lock", "drive 3", "--owner", "ann", "--ttl", "1m", "--note", "tape 7"]).ok();
        let token = token.trim();
        assert!(token.parse::<u64>().unwrap() > 0);
        let shown = dss(uri, &["status", "drive 3"]).ok();
        assert!(["drive 3", "ann", token, "tape 7"].iter().all(|part| shown.contains(part)), "{shown}");
        let list = dss(uri, &["--json", "list"]).json();
        assert_eq!(list["schema"], 1);
        let lock = &list["locks"][0];
        assert_eq!((&lock["id"], &lock["owner"], &lock["note"]), (&"drive 3".into(), &"ann".into(), &"tape 7".into()));
        assert_eq!((&lock["token"], &lock["ttl_ms"]), (&token.into(), &60_000.into()));
        assert!(lock["left_ms"].as_u64().unwrap() > 50_000 && lock["held_ms"].as_u64().unwrap() < 50_000);
        dss(uri, &["refresh", "drive 3", "--owner", "ann", "--token", token]).ok();
        let given = dss(uri, &["--json", "transfer", "drive 3", "--owner", "ann", "--to", "bob"]).json();
        let new = given["grants"][0]["token"].as_str().unwrap().to_owned();
        assert!(new.parse::<u64>().unwrap() > token.parse().unwrap());
        dss(uri, &["unlock", "drive 3", "--owner", "bob", "--token", token]).fails(4, "token");
        assert_eq!(dss(uri, &["unlock", "drive 3", "--owner", "bob", "--token", &new]).ok(), "");
        dss(uri, &["status", "drive 3"]).fails(3, "drive 3");
    });
}

#[test]
fn whoever_types_is_the_owner_unless_told() {
    each_store(|store| {
        dss(&store.uri, &["lock", "a"]).ok();
        let owner = dss(&store.uri, &["--json", "status", "a"]).json()["locks"][0]["owner"].clone();
        assert!(owner.as_str().unwrap().starts_with("tester@"), "{owner}");
        dss(&store.uri, &["unlock", "a"]).ok();
        let named = command(&store.uri, &["lock", "a"]).env("DSS_LOCK_OWNER", "job 7").output().unwrap();
        assert!(named.status.success());
        assert_eq!(dss(&store.uri, &["--json", "status", "a"]).json()["locks"][0]["owner"], "job 7");
        dss(&store.uri, &["unlock", "a"]).fails(4, "job 7");
        assert_eq!(dss(&store.uri, &["unlock", "--force", "a"]).ok(), "");
    });
}

#[test]
fn several_locks_are_all_or_none_or_any() {
    each_store(|store| {
        let uri = &store.uri;
        dss(uri, &["lock", "b", "--owner", "other"]).ok();
        dss(uri, &["lock", "--no-wait", "a", "b", "c"]).fails(1, "\"b\"");
        assert_eq!(dss(uri, &["--quiet", "list"]).ok(), "b\n");
        let any = dss(uri, &["lock", "--no-wait", "--any", "b", "c"]).ok();
        assert!(any.starts_with("c: held by"), "{any}");
        assert_eq!(dss(uri, &["--quiet", "list", "c"]).ok(), "c\n");
        let taken_over = dss(uri, &["--json", "lock", "--resume", "c"]).json();
        assert_eq!(taken_over["grants"][0]["resumed"], true);
        dss(uri, &["unlock", "c", "b"]).fails(4, "\"b\"");
        dss(uri, &["status", "c"]).fails(3, "c");
    });
}

#[test]
fn values_are_kept_to_the_byte_and_guarded() {
    each_store(|store| {
        let uri = &store.uri;
        let version = dss(uri, &["set", "k", "one"]).ok();
        let version = version.trim();
        assert_eq!(dss(uri, &["get", "k"]).ok(), "one");
        assert_eq!(dss(uri, &["get", "--version", "k"]).ok().trim(), version);
        dss(uri, &["set", "k", "two", "--if-version", "7"]).fails(1, "version");
        dss(uri, &["set", "k", "two", "--if-version", version]).ok();
        let bytes: Vec<u8> = (0..=255).collect();
        dss_reading(uri, &["--quiet", "set", "raw", "--file", "-"], &bytes).ok();
        assert_eq!(command(uri, &["get", "raw"]).output().unwrap().stdout, bytes);
        assert!(dss(uri, &["--json", "get", "raw"]).json()["value"]["hex"].as_str().unwrap().starts_with("000102"));
        let token = dss(uri, &["--quiet", "lock", "fence"]).ok();
        dss(uri, &["set", "k", "three", "--lock", "fence", "--token", token.trim()]).ok();
        dss(uri, &["unlock", "fence"]).ok();
        dss(uri, &["set", "k", "four", "--lock", "fence", "--token", token.trim()]).fails(4, "fence");
        assert_eq!(dss(uri, &["get", "k"]).ok(), "three");
        assert_eq!(dss(uri, &["--quiet", "keys"]).ok(), "k\nraw\n");
        let keys = dss(uri, &["--json", "keys", "r"]).json();
        assert_eq!((&keys["keys"][0]["key"], &keys["keys"][0]["bytes"]), (&"raw".into(), &256.into()));
        assert_eq!(dss(uri, &["set", "k", "--delete"]).ok(), "");
        dss(uri, &["set", "k", "--delete"]).fails(3, "k");
        dss_reading(uri, &["set", "big", "--file", "-"], &vec![1; (1 << 20) + 1]).fails(2, "too long");
    });
}

#[test]
fn cleaning_needs_a_yes_and_says_what_it_removed() {
    each_store(|store| {
        let uri = &store.uri;
        dss(uri, &["lock", "scratch/1", "scratch/2", "drive"]).ok();
        dss(uri, &["clean"]).fails(2, "--all");
        dss(uri, &["clean", "scratch/"]).fails(2, "--yes");
        dss(uri, &["clean", "--min-age", "1h", "--yes", "--quiet"]).ok();
        let removed = dss(uri, &["--quiet", "clean", "scratch/", "--yes"]).ok();
        assert_eq!(removed.lines().filter(|line| line.starts_with("removed scratch/")).count(), 2, "{removed}");
        assert_eq!(dss(uri, &["--quiet", "list"]).ok(), "drive\n");
        let removed = dss(uri, &["--json", "clean", "--all", "--yes"]).json();
        assert_eq!(removed["removed"][0]["id"], "drive");
        assert!(dss(uri, &["lock", "drive"]).ok().contains("its last owner is gone"));
    });
}

#[test]
fn stats_are_what_prometheus_reads() {
    each_store(|store| {
        dss(&store.uri, &["lock", "a", "b", "--ttl", "1h"]).ok();
        let text = dss(&store.uri, &["stats"]).ok();
        assert!(text.contains("\ndss_locks 2\n") && text.contains("\ndss_locks_with_lease 2\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("dss_") && value.parse::<f64>().is_ok(), "{line}");
            let family = name.split('{').next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
        }
        assert_eq!(dss(&store.uri, &["--json", "stats"]).json()["stats"]["locks"], 2);
    });
}

#[test]
fn watch_tells_who_comes_and_goes() {
    each_store(|store| {
        dss(&store.uri, &["lock", "a", "--owner", "ann"]).ok();
        let mut child = command(&store.uri, &["--json", "watch", "--interval", "20ms"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
        let first = next();
        assert_eq!((&first["event"], &first["lock"]["id"]), (&"held".into(), &"a".into()));
        dss(&store.uri, &["unlock", "a", "--owner", "ann"]).ok();
        assert_eq!(next()["event"], "released");
        dss(&store.uri, &["lock", "b", "--owner", "bob"]).ok();
        let last = next();
        assert_eq!((&last["event"], &last["lock"]["owner"]), (&"granted".into(), &"bob".into()));
        // SAFETY: the call has no conditions.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
        assert_eq!(child.wait().unwrap().code(), Some(130));
    });
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = dss("memory:", &["completions", shell]).ok();
        assert!(script.contains("transfer") && script.contains("on-lost"), "{shell}");
    }
}

/// What the README gives a script writer to type works as it stands.
#[test]
fn what_the_readme_says_can_be_typed() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let script = readme.split("**In a shell**").nth(1).unwrap().split("```sh\n").nth(1).unwrap();
    let script: String = script.split("```").next().unwrap().lines().skip(1).map(|line| format!("{line}\n")).collect();
    assert!(script.contains("dss run") && script.contains("--token"), "{script}");
    let folder = TempDir::new().unwrap();
    let mover = folder.path().join("tape-mover");
    fs::write(&mover, "#!/bin/sh\necho \"moves $1\"\n").unwrap();
    fs::set_permissions(&mover, fs::Permissions::from_mode(0o755)).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_dss")).parent().unwrap().display().to_string();
    let path = format!("{}:{programs}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    each_store(|store| {
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", &script]).env("DSS_URI", &store.uri).env("PATH", &path).env("USER", "tester");
        let out = Said::from(shell.output().unwrap()).ok();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((lines[0], lines[1]), ("moves drive3", "moves drive1"), "{out}");
        assert_eq!(dss(&store.uri, &["get", "drive3/position"]).ok(), "17");
        assert_eq!(dss(&store.uri, &["--quiet", "list"]).ok(), "");
    });
}
