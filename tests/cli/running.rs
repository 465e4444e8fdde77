//! `dss run`.

use super::{command, common::Store, dss, each_store, is_alive, wait_until};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use temp_dir::TempDir;

fn start(uri: &str, arguments: &[&str]) -> Child {
    command(uri, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(process: u32, signal: i32) {
    // SAFETY: the call has no conditions.
    assert_eq!(unsafe { libc::kill(process as i32, signal) }, 0);
}

/// The number that a command has written into a file.
fn number_in(path: &Path) -> u32 {
    let mut number = None;
    wait_until("the command has not begun", || {
        number = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        number.is_some()
    });
    number.unwrap()
}

#[test]
fn the_command_runs_under_the_lock_and_its_code_is_ours() {
    each_store(|store| {
        let uri = &store.uri;
        let show = "echo $DSS_LOCK_ID $DSS_LOCK_TOKEN $DSS_LOCK_OWNER";
        let out = dss(uri, &["run", "--lock", "drive", "--owner", "ann", "--", "sh", "-c", show]).ok();
        let words: Vec<&str> = out.split_whitespace().collect();
        assert_eq!((words[0], words[2]), ("drive", "ann"));
        assert!(words[1].parse::<u64>().unwrap() > 0);
        dss(uri, &["status", "drive"]).fails(3, "drive");
        for code in [0, 7, 255] {
            let exit = format!("exit {code}");
            assert_eq!(dss(uri, &["run", "-l", "drive", "--", "sh", "-c", &exit]).code, code);
        }
        assert_eq!(dss(uri, &["run", "-l", "drive", "--", "sh", "-c", "kill -9 $$"]).code, 128 + 9);
        dss(uri, &["run", "-l", "drive", "--", "no such command"]).fails(127, "no such command");
        dss(uri, &["run", "-l", "drive", "--", "/etc/passwd"]).fails(126, "/etc/passwd");
        dss(uri, &["status", "drive"]).fails(3, "drive");
        // What it inherits and what it reads is the caller's.
        let text = super::dss_reading(uri, &["run", "-l", "drive", "--", "cat"], b"through").ok();
        assert_eq!(text, "through");
    });
}

#[test]
fn while_it_runs_others_wait_or_are_refused() {
    each_store(|store| {
        let uri = &store.uri;
        let folder = TempDir::new().unwrap();
        let begun = folder.path().join("begun");
        let script = format!("echo $$ >{}; exec sleep 30", begun.display());
        let mut child = start(uri, &["run", "-l", "drive", "--", "sh", "-c", &script]);
        let process = number_in(&begun);
        let note = dss(uri, &["--json", "status", "drive"]).json()["locks"][0]["note"].clone();
        assert!(note.as_str().unwrap().starts_with("sh -c echo"), "{note}");
        dss(uri, &["run", "--no-wait", "-l", "drive", "--", "true"]).fails(1, "drive");
        dss(uri, &["run", "--no-wait", "-E", "77", "-l", "drive", "--", "true"]).fails(77, "drive");
        dss(uri, &["run", "--wait", "100ms", "-l", "drive", "--", "true"]).fails(1, "drive");
        let any =
            dss(uri, &["run", "-n", "--any", "-l", "drive", "-l", "other", "--", "sh", "-c", "echo $DSS_LOCK_ID"]);
        assert_eq!(any.ok(), "other\n");
        // A signal that is for the command reaches it, and then the next one has the lock.
        send(child.id(), libc::SIGTERM);
        assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGTERM));
        assert!(!is_alive(process));
        assert_eq!(dss(uri, &["run", "--wait", "5s", "-l", "drive", "--", "echo", "next"]).ok(), "next\n");
    });
}

#[test]
fn a_lock_that_is_taken_away_stops_the_command() {
    each_store(|store| {
        let uri = &store.uri;
        let folder = TempDir::new().unwrap();
        for (how, last) in [("term", "exec sleep 30"), ("kill", "trap '' TERM; while :; do sleep 1; done")] {
            let begun = folder.path().join(how);
            let script = format!("echo $$ >{}; {last}", begun.display());
            let run = ["run", "--ttl", "2s", "--on-lost", how, "-l", "drive", "--", "sh", "-c", &script];
            let mut child = start(uri, &run);
            let process = number_in(&begun);
            dss(uri, &["unlock", "--force", "drive"]).ok();
            assert_eq!(child.wait().unwrap().code(), Some(122), "{how}");
            assert!(!is_alive(process));
            let mut said = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
            assert!(said.contains("lock drive is lost: somebody removed it by force"), "{said}");
        }
        // One that ignores SIGTERM is killed; with --on-lost none it goes on.
        let script = "trap '' TERM; while :; do sleep 1; done";
        let mut child = start(uri, &["run", "--ttl", "2s", "-l", "drive", "--", "sh", "-c", script]);
        wait_until("the lock is not taken", || dss(uri, &["--quiet", "status", "drive"]).code == 0);
        dss(uri, &["unlock", "--force", "drive"]).ok();
        assert_eq!(child.wait().unwrap().code(), Some(122));
        let script = format!("sleep 2; echo >{}", folder.path().join("done").display());
        let mut child =
            start(uri, &["run", "--ttl", "1s", "--on-lost", "none", "-l", "drive", "--", "sh", "-c", &script]);
        wait_until("the lock is not taken", || dss(uri, &["--quiet", "status", "drive"]).code == 0);
        dss(uri, &["unlock", "--force", "drive"]).ok();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(folder.path().join("done").exists());
    });
}

/// `dss run` of a command that has a child of its own, in another session; and the numbers of both.
fn start_with_a_far_child(store: &Store, ttl: &str) -> (Child, [u32; 2]) {
    let folder = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let script = format!("echo $$ >{}; setsid sh -c 'echo $$ >{}; sleep 30' & wait", one.display(), two.display());
    let child = start(&store.uri, &["run", "--ttl", ttl, "-l", "drive", "--", "sh", "-c", &script]);
    (child, [number_in(&one), number_in(&two)])
}

/// A command must not go on without anybody who renews its lock.
#[test]
fn the_command_dies_with_the_one_that_holds_its_lock() {
    each_store(|store| {
        let (mut child, processes) = start_with_a_far_child(store, "2s");
        send(child.id(), libc::SIGKILL);
        child.wait().unwrap();
        wait_until("the command lives on", || !processes.into_iter().any(is_alive));
    });
}

/// The lock was released when the watcher was killed, before what the command had started was dead.
#[test]
fn the_command_dies_with_the_one_that_watches_it() {
    each_store(|store| {
        let (mut child, processes) = start_with_a_far_child(store, "20s");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", processes[0])).unwrap();
        let watcher: u32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
        assert_ne!(watcher, child.id());
        send(watcher, libc::SIGKILL);
        assert_eq!(dss(&store.uri, &["lock", "drive", "--wait", "10s", "--owner", "next"]).code, 0);
        assert!(!processes.into_iter().any(is_alive));
        assert_eq!(child.wait().unwrap().code(), Some(125));
    });
}

#[test]
fn the_command_is_dead_before_the_lease_of_one_that_was_stopped_ends() {
    each_store(|store| {
        let folder = TempDir::new().unwrap();
        let begun = folder.path().join("begun");
        let script = format!("echo $$ >{}; exec sleep 30", begun.display());
        let mut child = start(&store.uri, &["run", "--ttl", "2s", "-l", "drive", "--", "sh", "-c", &script]);
        let process = number_in(&begun);
        send(child.id(), libc::SIGSTOP);
        assert!(dss(&store.uri, &["lock", "drive", "--wait", "10s", "--owner", "next"]).code == 0);
        assert!(!is_alive(process));
        send(child.id(), libc::SIGCONT);
        assert_eq!(child.wait().unwrap().code(), Some(122));
        assert!(dss(&store.uri, &["--json", "status", "drive"]).json()["locks"][0]["owner"] == "next");
    });
}

#[test]
fn leases_are_renewed_as_long_as_it_runs() {
    each_store(|store| {
        let begun = Instant::now();
        assert_eq!(dss(&store.uri, &["run", "--ttl", "1s", "-l", "a", "-l", "b", "--", "sleep", "3"]).code, 0);
        assert!(begun.elapsed() >= Duration::from_secs(3));
    });
}

/// What the manual of flock(1) shows, as far as the meanings agree. (There are no shared locks here.)
#[test]
fn the_examples_of_flock_have_equals() {
    each_store(|store| {
        let uri = &store.uri;
        // shell1> flock /tmp -c cat; shell2> flock -w .007 /tmp -c echo; /bin/echo $?  prints 1.
        let mut cat = command(uri, &["run", "--lock", "/tmp", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        wait_until("cat has no lock", || dss(uri, &["--quiet", "status", "/tmp"]).code == 0);
        assert_eq!(dss(uri, &["run", "-w", ".007", "--lock", "/tmp", "--", "echo"]).code, 1);
        drop(cat.stdin.take());
        assert!(cat.wait().unwrap().success());
        // flock -n -E 5, and -c with a shell.
        dss(uri, &["lock", "mylock", "--owner", "other"]).ok();
        assert_eq!(dss(uri, &["run", "-n", "-E", "5", "--lock", "mylock", "--", "true"]).code, 5);
        dss(uri, &["unlock", "mylock", "--owner", "other"]).ok();
        // ( flock -n 9 || exit 1; # ... commands executed under lock ... ) 9>/var/lock/mylockfile
        let script = format!(
            "{dss} --quiet lock --no-wait mylock --owner $$ || exit 1
             trap '{dss} unlock mylock --owner '$$ EXIT
             {dss} --quiet status mylock && echo under lock",
            dss = env!("CARGO_BIN_EXE_dss")
        );
        let output = Command::new("sh").args(["-c", &script]).env("DSS_URI", uri).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("under lock"), "{output:?}");
        dss(uri, &["status", "mylock"]).fails(3, "mylock");
        // [ "${FLOCKER}" != "$0" ] && exec env FLOCKER="$0" flock -en "$0" "$0" "$@"
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("script");
        let text = format!(
            "#!/bin/sh\n[ \"$LOCKER\" != \"$0\" ] && exec env LOCKER=\"$0\" {} run -n --lock \"$0\" -- \"$0\" \"$@\"\necho once $1\n",
            env!("CARGO_BIN_EXE_dss")
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = Command::new(&path).arg("more").env("DSS_URI", uri).env_remove("LOCKER").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "once more\n", "{output:?}");
    });
}
