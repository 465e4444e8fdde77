//! Which process holds a lock that `dss lock` takes. It is not `dss lock`, which ends at once, but
//! the one that called it.
//!
//! That is its parent, unless the parent is there for this one command alone:
//!
//! * a shell that was forked for a command substitution. It has started no program since the fork,
//!   and it writes to a pipe that the shell before it reads;
//! * `sh -c "dss ..."` and nothing else, as of system(3) and popen(3);
//! * a program such as sudo(8) or timeout(1).
//!
//! A wrong name would have an operator remove the lock of a script that lives. So a shell is passed
//! over only where it is certain that it ends with this command.

use super::{exit::Failure, output, run::boot_us, system};
use dss::engine::handle::client_of;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::MetadataExt, process::parent_id},
    path::PathBuf,
    sync::Arc,
};

/// How much the clocks of hosts may differ.
const CLOCKS_DIFFER_US: i64 = 60_000_000;
/// Programs that end with the one command that they run.
const WRAPPERS: [&[u8]; 9] =
    [b"sudo", b"doas", b"su", b"runuser", b"pkexec", b"timeout", b"time", b"setsid", b"strace"];
const SHELLS: [&[u8]; 7] = [b"sh", b"dash", b"bash", b"ash", b"ksh", b"zsh", b"busybox"];
/// With one of these, the text behind `sh -c` is more than a simple command.
const SEPARATORS: &[u8] = b";&|\n(){}`";

/// The client of locks that are held by the process that called this command, or by the one that
/// was named.
pub fn client(named: Option<u32>) -> Result<Arc<str>, Failure> {
    match named {
        Some(_) => successor(named),
        None => Ok(caller().map_or_else(unknown, |process| client_of(process.id, &process.name))),
    }
}

/// The client of a lock that is given away: the one that was named, if any.
pub fn successor(named: Option<u32>) -> Result<Arc<str>, Failure> {
    let Some(id) = named else { return Ok(unknown()) };
    let missing = || Failure::usage(format!("--client-pid {id}: this host has no such process, or does not show it"));
    Process::find(id).map(|process| client_of(process.id, &process.name)).ok_or_else(missing)
}

/// Of this host, and no more is known.
fn unknown() -> Arc<str> {
    format!("{}:-:dss", system::host_name().display()).into()
}

/// What is known against the process that a lock's client names: it is not there any more.
/// `taken_us` is when it took the lock.
pub fn is_gone(client: &str, taken_us: i64) -> Option<String> {
    let host = system::host_name();
    let (id, program) = client.strip_prefix(host.to_str()?)?.strip_prefix(':')?.split_once(':')?;
    let id = id.parse::<u32>().ok()?;
    let gone = Some("whose process is gone".to_owned());
    let Some(process) = Process::find(id) else { return gone.filter(|_| !system::is_process(id)) };
    if process.is_dead() {
        return gone;
    }
    // One that has started another program is the same process. A clock that was set makes a
    // process of then look younger: so both have to speak against it.
    let name = String::from_utf8_lossy(&process.name);
    let is_younger = process.started_us() > taken_us.saturating_add(CLOCKS_DIFFER_US);
    (is_younger && name != program).then(|| format!("whose process is gone, its number {id} is of {name} now"))
}

/// None where it is of another PID namespace, as after docker exec.
fn caller() -> Option<Process> {
    let mut caller = Process::find(parent_id())?;
    while let Some(before) = caller.stands_for() {
        caller = before;
    }
    Some(caller)
}

/// What /proc tells of a process.
struct Process {
    id: u32,
    name: Vec<u8>,
    /// The fields of /proc/PID/stat behind the name.
    stat: Vec<String>,
}

// Fields of /proc/PID/stat (proc_pid_stat(5)), counted from the one behind the name.
const STATE: usize = 0;
const PARENT: usize = 4 - 3;
const START_TIME: usize = 22 - 3;
const START_CODE: usize = 26 - 3;
const START_STACK: usize = 28 - 3;
const ARG_START: usize = 48 - 3;

impl Process {
    fn find(id: u32) -> Option<Process> {
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        let name = fs::read(format!("/proc/{id}/comm")).ok()?.trim_ascii_end().to_vec();
        // The name is in brackets, and may have some in it.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let stat = String::from_utf8_lossy(&stat[end + 1..]).split_whitespace().map(str::to_owned).collect();
        Some(Process { id, name, stat })
    }

    /// 0 where the field is no number, or is not shown to us.
    fn number(&self, field: usize) -> u64 {
        self.stat.get(field).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn parent(&self) -> Option<Process> {
        Process::find(self.number(PARENT) as u32)
    }

    /// It has ended and was not waited for; or a thread of another process has its number.
    fn is_dead(&self) -> bool {
        let has_ended = self.stat.get(STATE).is_some_and(|state| matches!(&**state, "Z" | "X"));
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        let leader = status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|id| id.trim().parse().ok());
        has_ended || leader.is_some_and(|leader: u32| leader != self.id)
    }

    /// When it was started, by today's clock.
    fn started_us(&self) -> i64 {
        let since_boot_us = self.number(START_TIME).saturating_mul(1_000_000) / system::ticks_per_second();
        output::now_us() - boot_us() + since_boot_us as i64
    }

    /// Where its code, its stack and its arguments are: a fork leaves them alone, and a new program
    /// has others.
    fn image(&self) -> [u64; 3] {
        [START_CODE, START_STACK, ARG_START].map(|field| self.number(field))
    }

    /// The process that this one does its one command for.
    fn stands_for(&self) -> Option<Process> {
        if WRAPPERS.contains(&&*self.name) || self.is_this_command_alone() {
            return self.parent();
        }
        self.reader_of_substitution()
    }

    /// A shell with the text of this command, or of a wrapper of it, to run.
    fn is_this_command_alone(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let [_, option, text, ..] = arguments[..] else { return false };
        let program = text.trim_ascii().split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        let program = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        SHELLS.contains(&&*self.name)
            && option == b"-c"
            && (program == b"dss" || WRAPPERS.contains(&program))
            && !has_separator(text.trim_ascii())
    }

    /// The nearest shell that this one was forked from and that reads what it writes.
    fn reader_of_substitution(&self) -> Option<Process> {
        let mut before = self.forked_from()?;
        let (reads, writes) = pipes_of(self.id);
        loop {
            let read_before = pipes_of(before.id).0;
            if writes.difference(&reads).any(|pipe| read_before.contains(pipe)) {
                return Some(before);
            }
            before = before.forked_from()?;
        }
    }

    /// Its parent, if it has started no program since.
    fn forked_from(&self) -> Option<Process> {
        let (image, parent) = (self.image(), self.parent()?);
        (image == parent.image() && !image.contains(&0)).then_some(parent)
    }
}

/// Whether it may be more than one simple command. A `&` behind a `>` is a part of a redirection.
fn has_separator(text: &[u8]) -> bool {
    let before = [0].iter().chain(text);
    text.iter().zip(before).any(|(byte, before)| SEPARATORS.contains(byte) && (*byte, *before) != (b'&', b'>'))
}

/// The pipes that a process can read from, and those that it can write to.
fn pipes_of(process: u32) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
        let (Ok(target), Ok(link)) = (fs::read_link(entry.path()), entry.path().symlink_metadata()) else { continue };
        if !target.as_os_str().as_encoded_bytes().starts_with(b"pipe:") {
            continue;
        }
        if link.mode() & 0o200 != 0 {
            writes.insert(target.clone());
        }
        if link.mode() & 0o400 != 0 {
            reads.insert(target);
        }
    }
    (reads, writes)
}
