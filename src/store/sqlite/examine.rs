//! How it stands with the file of a store, and what it rests on.

use super::{
    connection::Connection,
    mount::{self, Mount},
    paths::{PathText, side_file},
    place::Place,
    wait_file::WaitFile,
};
use crate::{
    clock,
    store::{
        contract::Fault,
        health::{Finding, seconds, size},
    },
    sys,
};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// With less, the log or a side file finds no room.
const ROOM_LEAST: u64 = 16 << 20;
const ROOM_SCARCE: u64 = 256 << 20;
/// The log is reset after some hundred KiB, unless somebody keeps it from that.
const LOG_LONG: u64 = 64 << 20;

pub fn examine(place: &Place) -> Vec<Finding> {
    let folder = place.path.parent().unwrap_or(Path::new("/"));
    let mount = mount::of(folder);
    // Before the connection, whose end resets the log if nobody else has the store open.
    let log = log(place);
    let mut findings = match Connection::open(place) {
        Ok(mut connection) => opened(place, &mut connection),
        Err(Fault::Busy(error) | Fault::Failed(error) | Fault::Unknown(error)) => {
            vec![Finding::failed("store", &error)]
        }
    };
    findings.push(file_system(mount.as_ref()));
    findings.push(durability(mount.as_ref()));
    findings.push(room(folder));
    findings.push(log);
    findings.extend(rights(place, folder));
    findings
}

/// What the file says of itself.
fn opened(place: &Place, connection: &mut Connection) -> Vec<Finding> {
    let ask = |question| match connection.ask(question) {
        Ok(answer) => answer,
        Err(Fault::Busy(error) | Fault::Failed(error) | Fault::Unknown(error)) => error.text,
    };
    let bytes = fs::metadata(&place.path).map_or(0, |found| found.len());
    let version = ask("PRAGMA user_version");
    let mut findings =
        vec![Finding::fine("store", format!("{}, {}, schema {version}", place.path.shown(), size(bytes)))];
    findings.push(match ask("PRAGMA quick_check(1)").as_str() {
        "ok" => Finding::fine("content", "SQLite's quick_check finds nothing"),
        damage => Finding::wrong(
            "content",
            format!("{} is damaged: {damage}", place.path.shown()),
            "stop the programs, keep a copy, restore the file from a backup, or move it away to start anew",
        ),
    });
    if WaitFile::open(place).is_refused() {
        findings.push(Finding::warning(
            "waiting",
            format!(
                "{}-wait can't be used: waiters look by themselves, and processes share no transactions",
                place.path.shown()
            ),
            "see whose it is and that it has the rights of the store's file; else remove it, it is made anew",
        ));
    }
    findings.extend(connection.look_at_last_token().ok().map(clock_of));
    findings.extend(boot_id(connection.clock().knows_boot()));
    findings
}

fn boot_id(is_known: bool) -> Option<Finding> {
    let text = "the kernel's boot id can't be read here (/proc is not mounted, or a container's id is mounted over it): \
                after the host was started anew, a lease from before may last to its end";
    let cure =
        "mount /proc, or unmount /proc/sys/kernel/random/boot_id; else keep leases as short as you can wait then";
    (!is_known).then(|| Finding::warning("boot id", text, cure))
}

/// Tokens follow the wall clock, unless that goes back.
fn clock_of(last_token: u64) -> Finding {
    let ahead_s = last_token.saturating_sub(clock::now_us() as u64) / 1_000_000;
    if ahead_s < 2 {
        return Finding::fine("clock", "the wall clock was not set back since the last lock");
    }
    Finding::warning(
        "clock",
        format!("the wall clock was set back by {}: the last lock was taken in the future", seconds(ahead_s)),
        "tokens grow and leases run all the same; put the clock right, so that lists show true ages",
    )
}

fn file_system(mount: Option<&Mount>) -> Finding {
    let Some(Mount { kind, .. }) = mount else {
        return Finding::fine("file system", "a local one (/proc does not tell which)");
    };
    match kind.as_str() {
        "tmpfs" | "ramfs" => Finding::warning(
            "file system",
            format!("{kind}: the store is in memory, and gone when the host is started anew"),
            "put it on a disk, unless that is what you want",
        ),
        "overlay" | "aufs" => Finding::warning(
            "file system",
            format!("{kind}: the store is in a container's own layer, which ends with it and which others do not see"),
            "put it on a volume that all containers mount",
        ),
        kind => Finding::fine("file system", format!("{kind}, a local one")),
    }
}

/// Each answer waits for a flush. Whether that reaches the disk, the mount tells.
fn durability(mount: Option<&Mount>) -> Finding {
    let bad =
        |option: &&String| matches!(option.as_str(), "nobarrier" | "barrier=0" | "nobarriers" | "disable_roll_forward");
    match mount.and_then(|mount| mount.options.iter().find(bad)) {
        Some(option) => Finding::wrong(
            "durability",
            format!("the file system is mounted with {option}: a power cut can lose locks that were acknowledged"),
            format!("mount it without {option}, unless the disk's cache has a battery"),
        ),
        None => {
            Finding::fine("durability", "each answer waits for a flush, which the file system passes on to the disk")
        }
    }
}

fn room(folder: &Path) -> Finding {
    let room = match sys::room(folder) {
        Ok(room) => room,
        Err(error) => return Finding::warning("room", format!("{} does not tell: {error}", folder.shown()), ""),
    };
    let text = format!("{} of {} are free", size(room.bytes), size(room.all_bytes));
    let cure = "make room, or move the store while no program has it open";
    match room.files {
        Some(files) if files < 16 => Finding::wrong("room", format!("{files} more files can be made there"), cure),
        _ if room.bytes < ROOM_LEAST => Finding::wrong("room", text, cure),
        _ if room.bytes < ROOM_SCARCE => Finding::warning("room", text, cure),
        _ => Finding::fine("room", text),
    }
}

fn log(place: &Place) -> Finding {
    let path = side_file(&place.path, "-wal");
    let bytes = fs::metadata(&path).map_or(0, |found| found.len());
    if bytes < LOG_LONG {
        return Finding::fine("log", format!("{} of write-ahead log", size(bytes)));
    }
    Finding::warning(
        "log",
        format!("the write-ahead log has grown to {}: a reader keeps it from being reset", size(bytes)),
        format!(
            "look for a list whose callback does not end, or a program that reads the file: fuser -v {}",
            path.shown()
        ),
    )
}

/// Who else may use, and spoil, the store.
fn rights(place: &Place, folder: &Path) -> Vec<Finding> {
    let (Ok(file), Ok(folder_found)) = (fs::metadata(&place.path), fs::metadata(folder)) else { return Vec::new() };
    let mode = |found: &Metadata| found.mode() & 0o7777;
    let mut findings = Vec::new();
    if mode(&file) & 0o002 != 0 {
        findings.push(Finding::warning(
            "rights",
            format!(
                "{} has mode {:04o}: every user of the host can take and free all locks",
                place.path.shown(),
                mode(&file)
            ),
            format!("chmod o-w {}", place.path.shown()),
        ));
    }
    if mode(&folder_found) & 0o1002 == 0o002 {
        findings.push(Finding::warning(
            "rights",
            format!("every user can replace the files in {} (mode {:04o})", folder.shown(), mode(&folder_found)),
            format!("chmod o-w {}", folder.shown()),
        ));
    }
    if findings.is_empty() {
        let who = if mode(&file) & 0o020 != 0 {
            format!("user {} and group {}", file.uid(), file.gid())
        } else {
            format!("user {} (and root)", file.uid())
        };
        findings.push(Finding::fine("rights", format!("mode {:04o}: for {who}", mode(&file))));
    }
    findings
}
