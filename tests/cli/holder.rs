//! The client of a lock names the process that holds it.
//!
//! It named `dss lock` itself, whose process had ended before anybody could look: so `ps -p` of the
//! client and `dss doctor --stale` called the lock of a living script abandoned.

use super::{Said, dss, each_store, kinds, made};
use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// A program that prints lines, and ends when its standard input does.
struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(mut program: Command, uri: &str) -> Script {
        let folder = Path::new(env!("CARGO_BIN_EXE_dss")).parent().unwrap().display();
        program
            .env("PATH", format!("{folder}:{}", env::var("PATH").unwrap()))
            .env("DSS_URI", uri)
            .env("USER", "tester");
        program.env_remove("DSS_LOCK_OWNER").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Script { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        // Its standard output is closed when the last of its processes has ended.
        assert_eq!(self.lines.next().map(Result::unwrap), None);
        assert!(self.child.wait().unwrap().success());
    }
}

fn client_of(uri: &str) -> String {
    dss(uri, &["--json", "status", "a"]).json()["locks"][0]["client"].as_str().unwrap().to_owned()
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// What the operator is told of the lock.
fn told(uri: &str) -> String {
    let said = dss(uri, &["--json", "doctor", "--stale", "0"]);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let checks = value["doctor"]["checks"].as_array().unwrap();
    let locks = checks.iter().find(|check| check["about"] == "locks").unwrap();
    locks["text"].as_str().unwrap().to_owned()
}

fn is_there(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap()).any(|folder| folder.join(program).exists())
}

/// The ways to call the command from a shell that goes on.
const CALLS: [&str; 15] = [
    "dss -q lock a >/dev/null",
    "token=$(dss -q lock a)",
    "token=`dss -q lock a`",
    "trap : EXIT; token=$(dss -q lock a)",
    "token=$(dss -q lock a || exit 1)",
    "token=$(dss --json lock a | cat)",
    "take() { dss -q lock a; }; token=$(take)",
    "token=$( (dss -q lock a; :); : )",
    "if dss -q lock a >/dev/null; then :; fi",
    "dss -q lock a | cat >/dev/null",
    "(dss -q lock a >/dev/null)",
    "sh -c 'dss -q lock a' >/dev/null",
    "token=$(timeout 60 dss -q lock a || exit 1)",
    "token=$(sudo \"$(command -v dss)\" --uri \"$DSS_URI\" -q lock a || exit 1)",
    "sh -c 'dss -q lock a --client-pid $PPID' >/dev/null; :",
];

#[test]
fn a_shell_is_the_holder_as_long_as_it_lives() {
    let shells: Vec<&str> = ["dash", "bash", "ksh", "zsh"].into_iter().filter(|shell| is_there(shell)).collect();
    for kind in ["sqlite", "postgres", "etcd"].into_iter().filter(|kind| kinds().iter().any(|tested| tested == kind)) {
        for (shell, call) in shells.iter().flat_map(|shell| CALLS.map(|call| (shell, call))) {
            // The stores do not differ in this: one call says that they keep it.
            if kind != "sqlite" && call != CALLS[1] || call.contains("sudo") && !is_there("sudo") {
                continue;
            }
            let store = made(kind);
            let mut program = Command::new(shell);
            program.args(["-c", &format!("echo $$; {call}; echo ready; read line; :")]);
            let mut script = Script::start(program, &store.uri);
            let process = script.line();
            assert_eq!(script.line(), "ready", "{shell}: {call}");
            assert_eq!(dss(&store.uri, &["-q", "list"]).ok(), "a\n", "{shell}: {call}");
            assert_eq!(client_of(&store.uri), format!("{}:{process}:{shell}", host()), "{shell}: {call}");
            let alive = told(&store.uri);
            assert!(alive.contains("a of ") && !alive.contains("gone"), "{shell}: {call}: {alive}");
            script.end();
            let ended = told(&store.uri);
            assert!(ended.contains("whose process is gone"), "{shell}: {call}: {ended}");
        }
    }
}

/// A part of a shell that goes on without the rest of it.
#[test]
fn a_subshell_that_works_by_itself_is_the_holder() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    for shell in ["dash", "bash"] {
        let store = made("sqlite");
        let mut program = Command::new(shell);
        let subshell = "( dss -q lock a >/dev/null; sh -c 'echo $PPID; :'; read line <&3; : ) &";
        program.args(["-c", &format!("exec 3<&0; {subshell}")]);
        let mut script = Script::start(program, &store.uri);
        let process = script.line();
        // To wait for it would close that.
        let input = script.child.stdin.take();
        assert!(script.child.wait().unwrap().success());
        assert_eq!(client_of(&store.uri), format!("{}:{process}:{shell}", host()));
        assert!(!told(&store.uri).contains("gone"));
        drop(input);
        assert_eq!(script.lines.next().map(Result::unwrap), None);
        assert!(told(&store.uri).contains("whose process is gone"));
    }
}

/// As from system(3) and popen(3).
#[test]
fn a_program_that_calls_a_shell_is_the_holder() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    for call in ["system('dss -q lock a 2>&1 >/dev/null')", "$token = qx(dss -q lock a 2>&1)"] {
        let store = made("sqlite");
        let mut program = Command::new("perl");
        program.args(["-e", &format!("$| = 1; print \"$$\\n\"; {call}; print \"ready\\n\"; <STDIN>")]);
        let mut script = Script::start(program, &store.uri);
        let process = script.line();
        assert_eq!(script.line(), "ready");
        assert_eq!(client_of(&store.uri), format!("{}:{process}:perl", host()), "{call}");
        script.end();
    }
}

#[test]
fn the_process_can_be_named() {
    each_store(|store| {
        let uri = &store.uri;
        let own = std::process::id().to_string();
        dss(uri, &["lock", "a", "--client-pid", &own]).ok();
        assert!(client_of(uri).starts_with(&format!("{}:{own}:", host())));
        dss(uri, &["lock", "b", "--client-pid", "4194305"]).fails(2, "--client-pid 4194305");
        // Who gives a lock away does not hold it.
        dss(uri, &["transfer", "a", "--to", "bob"]).ok();
        assert_eq!(client_of(uri), format!("{}:-:dss", host()));
        assert!(!told(uri).contains("gone"));
        dss(uri, &["transfer", "a", "--owner", "bob", "--to", "ann", "--client-pid", &own]).ok();
        assert!(client_of(uri).starts_with(&format!("{}:{own}:", host())));
    });
}

/// A process that has ended, and one that has the number of one that has ended.
#[test]
fn a_number_is_not_a_process() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    let store = made("sqlite");
    let uri = &store.uri;
    let mut ended = Script::start(Command::new("cat"), uri);
    dss(uri, &["lock", "a", "--client-pid", &ended.child.id().to_string()]).ok();
    assert!(!told(uri).contains("gone"));
    // It stays a zombie until it is waited for.
    drop(ended.child.stdin.take());
    super::wait_until("its end", || !super::is_alive(ended.child.id()));
    assert!(told(uri).contains("whose process is gone"));
    ended.end();
    dss(uri, &["unlock", "a"]).ok();

    // For a lock that was taken two days ago, every process of today came later.
    let mut other = Command::new("sh");
    other.args(["-c", "echo ready; read line; exec cat"]);
    let mut other = Script::start(other, uri);
    other.line();
    let number = other.child.id().to_string();
    let mut early = Command::new("faketime");
    early.args(["-f", "-2d", env!("CARGO_BIN_EXE_dss"), "lock", "a", "--client-pid", &number]).env("DSS_URI", uri);
    Said::from(early.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").output().unwrap()).ok();
    assert!(!told(uri).contains("gone"), "the clock may have been set, and the name is the same");
    dss(uri, &["lock", "b", "--client-pid", &number]).ok();
    std::io::Write::write_all(other.child.stdin.as_mut().unwrap(), b"on\n").unwrap();
    let name = format!("/proc/{number}/comm");
    super::wait_until("the other program", || fs::read_to_string(&name).unwrap() == "cat\n");
    let text = told(uri);
    assert!(text.contains(&format!("number {number} is of cat now")), "{text}");
    assert_eq!(text.matches("gone").count(), 1, "b's process has only started another program: {text}");
    other.end();
}
