//! A lock whose answer can't be written is nobody's: nothing of it may stay.
//!
//! `dss lock q >/dev/full` ended with exit code 9 and `dss -q lock q | true` by SIGPIPE: both left
//! `q` held for ever, with a token that nobody had seen.

use super::{Said, command, dss, each_store, wait_until};
use std::{
    fs::File,
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Stdio},
};
use temp_dir::TempDir;

/// A pipe that nobody reads.
fn broken_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full_device() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A file that may not grow.
fn with_file_limit(mut command: Command) -> Command {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: between fork and exec it makes nothing but a system call; the struct is only read.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

#[test]
fn a_lock_whose_answer_is_lost_is_released() {
    each_store(|store| {
        let uri = &store.uri;
        for options in [&["lock", "q", "r"][..], &["-q", "lock", "q"], &["--json", "lock", "--ttl", "1h", "q", "r"]] {
            for (output, why) in [(full_device(), "No space left"), (broken_pipe(), "Broken pipe")] {
                let said: Said = command(uri, options).stdout(output).stderr(Stdio::piped()).output().unwrap().into();
                said.fails(9, why);
                assert_eq!(dss(uri, &["-q", "list"]).ok(), "", "{options:?}");
            }
        }
        // Neither an answer nor a complaint can be written.
        let both = command(uri, &["lock", "q"]).stdout(broken_pipe()).stderr(broken_pipe()).output().unwrap();
        assert_eq!((both.status.code(), dss(uri, &["-q", "list"]).ok().as_str()), (Some(9), ""));
    });
}

/// SQLite's own writes meet that limit, too, so the store is one on a server.
#[test]
fn a_lock_whose_answer_exceeds_the_file_size_limit_is_released() {
    each_store(|store| {
        if store.kind == "sqlite" {
            return;
        }
        let folder = TempDir::new().unwrap();
        let file = File::create(folder.path().join("token")).unwrap();
        let mut command = with_file_limit(command(&store.uri, &["lock", "q"]));
        Said::from(command.stdout(file).stderr(Stdio::piped()).output().unwrap()).fails(9, "File too large");
        assert_eq!(dss(&store.uri, &["-q", "list"]).ok(), "");
    });
}

/// What was held before stays held: to release it would open what an earlier process of this owner
/// left half done.
#[test]
fn a_resumed_lock_whose_answer_is_lost_stays() {
    each_store(|store| {
        let uri = &store.uri;
        let before = dss(uri, &["-q", "lock", "q"]).ok();
        let said: Said = command(uri, &["lock", "--resume", "q", "r"])
            .stdout(broken_pipe())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
            .into();
        let token = dss(uri, &["--json", "status", "q"]).json()["locks"][0]["token"].as_str().unwrap().to_owned();
        assert!(token.parse::<u64>().unwrap() > before.trim().parse().unwrap());
        assert!(said.err.contains(&format!("q, token {token}")), "{said:?}");
        said.fails(9, "Broken pipe");
        assert_eq!(dss(uri, &["-q", "list"]).ok(), "q\n");
    });
}

/// The answer fills the pipe, whose other end is open and is not read: the command waits in the
/// middle of its answer.
#[test]
fn a_signal_in_the_middle_of_the_answer_releases_the_locks() {
    each_store(|store| {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let ids: Vec<String> = (0..64).map(|number| format!("{number}{}", "x".repeat(2000))).collect();
            let arguments: Vec<&str> = ["lock"].into_iter().chain(ids.iter().map(String::as_str)).collect();
            let mut child = command(&store.uri, &arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
            // So the locks are granted.
            reader.read_exact(&mut [0]).unwrap();
            // SAFETY: the call has no conditions.
            assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
            let status = child.wait().unwrap();
            assert_eq!((status.code(), status.signal()), (Some(130), None));
            assert_eq!(dss(&store.uri, &["-q", "list"]).ok(), "", "signal {signal}");
        }
    });
}

/// If the locks can't be released either, the operator is told what is held.
#[test]
fn what_could_not_be_released_is_named_with_its_token() {
    each_store(|store| {
        if store.kind != "sqlite" {
            return;
        }
        let uri = &format!("{}?timeout_ms=200", store.uri);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let long = "x".repeat(2000);
        let ids: Vec<String> = (0..64).map(|number| format!("{number}{long}")).collect();
        let arguments: Vec<&str> =
            ["--json", "lock", "--owner", "job 7"].into_iter().chain(ids.iter().map(String::as_str)).collect();
        let mut child = command(uri, &arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 1];
        reader.read_exact(&mut first).unwrap();
        // Another program keeps the file locked, for longer than the command waits.
        let other = rusqlite::Connection::open(store.uri.strip_prefix("sqlite:").unwrap()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        drop(reader);
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(8), "{err}");
        other.execute_batch("ROLLBACK").unwrap();
        let locks = dss(&store.uri, &["--json", "list"]).json();
        assert_eq!(locks["locks"].as_array().unwrap().len(), 64);
        for lock in locks["locks"].as_array().unwrap() {
            let (id, token) = (lock["id"].as_str().unwrap(), lock["token"].as_str().unwrap());
            assert!(err.contains(&format!("{id}, token {token}")), "{id}: {err}");
        }
        assert!(err.contains("job 7") && err.lines().count() == 1, "{err}");
    });
}

/// There is nothing to undo, but it is said what was done.
#[test]
fn other_changes_are_told_where_their_answer_is_lost() {
    each_store(|store| {
        let uri = &store.uri;
        dss(uri, &["lock", "q", "--ttl", "1h"]).ok();
        let cut = |arguments: &[&str]| -> Said {
            command(uri, arguments).stdout(broken_pipe()).stderr(Stdio::piped()).output().unwrap().into()
        };
        cut(&["refresh", "q"]).fails(9, "refreshed");
        cut(&["set", "key", "value"]).fails(9, "written");
        assert_eq!(dss(uri, &["get", "key"]).ok(), "value");
        let given = cut(&["transfer", "q", "--to", "bob"]);
        let token = dss(uri, &["--json", "status", "q"]).json()["locks"][0]["token"].as_str().unwrap().to_owned();
        assert!(given.err.contains(&format!("token {token}")), "{given:?}");
        given.fails(9, "bob");
    });
}

/// A warning that can't be written ended `dss run` by SIGPIPE or, where the disk is full, by a
/// panic; the locks stayed for the rest of their leases.
#[test]
fn a_warning_that_can_not_be_written_ends_nothing() {
    each_store(|store| {
        let uri = &store.uri;
        for err in [broken_pipe(), full_device()] {
            let mut child =
                command(uri, &["run", "-l", "a", "-l", "b", "--", "sleep", "60"]).stderr(err).spawn().unwrap();
            wait_until("the locks", || dss(uri, &["-q", "list"]).out == "a\nb\n");
            dss(uri, &["unlock", "--force", "a"]).ok();
            assert_eq!(child.wait().unwrap().code(), Some(122));
            assert_eq!(dss(uri, &["-q", "list"]).ok(), "", "b was released");
        }
    });
}
