//! The command `dss`, as a shell meets it: the real binary on all stores.

mod answers;
mod bad;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod doctor;
mod holder;
mod missing;
mod running;
mod terminal;

use common::{Store, fresh, kinds};
use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// What a command said, and its exit code; 128 and the signal if one ended it.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        use std::os::unix::process::ExitStatusExt;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        Said { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

pub fn command(uri: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dss"));
    command.args(arguments).env("DSS_URI", uri).env("USER", "tester").env_remove("DSS_LOCK_OWNER");
    command.stdin(Stdio::null());
    command
}

pub fn dss(uri: &str, arguments: &[&str]) -> Said {
    command(uri, arguments).output().unwrap().into()
}

/// With something to read.
pub fn dss_reading(uri: &str, arguments: &[&str], input: &[u8]) -> Said {
    let mut child =
        command(uri, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that ends without reading all of it closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

impl Said {
    /// It ended so, and said nothing of a failure.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// It failed with this code and one line, which has this in it.
    #[track_caller]
    pub fn fails(self, code: i32, what: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("dss: ") && self.err.contains(what), "{self:?}");
        assert!(!self.err.contains("panicked") && self.out.is_empty(), "{self:?}");
    }

    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// The stores that commands of two processes can share.
pub fn shared_kinds() -> impl Iterator<Item = String> {
    kinds().into_iter().filter(|kind| kind != "memory")
}

/// A store that is there, with nothing in it.
pub fn made(kind: &str) -> Store {
    let store = fresh(kind);
    drop(common::Dss::open(&store.uri).unwrap());
    store
}

pub fn each_store(test: impl Fn(&Store)) {
    for kind in shared_kinds() {
        test(&made(&kind));
    }
}

#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process runs: one that has ended and was not waited for does not.
pub fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
