//! The bytes of a store's file and of its log: whatever they are, calls end with an answer of the table.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{Dss, Filter, Opts};
use std::{
    fs,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A store with something in it, and its log, as a process that was killed leaves them.
static STORE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();

/// dss.h: DSS_FILTER_ID_PREFIX.
const PREFIX: u64 = 1;

/// What may be answered where a file is damaged: what the damage made of it, or that it is no store.
const ANSWERS: [i32; 16] = [
    0,
    -libc::EEXIST,
    -libc::ENOLCK,
    -libc::EACCES,
    -libc::ESTALE,
    -libc::EAGAIN,
    -libc::ENOENT,
    -libc::EUCLEAN,
    -libc::EPROTONOSUPPORT,
    -libc::EIO,
    -libc::EROFS,
    -libc::EBUSY,
    -libc::ENOTCONN,
    -libc::ENOMEM,
    -libc::ENOSPC,
    -libc::EFBIG,
];

fn make(path: &str) -> (Vec<u8>, Vec<u8>) {
    let dss = Dss::open(path).unwrap();
    for number in 0..12 {
        let id = format!("drive {number}").into_bytes();
        let opts =
            Opts { ttl_ms: if number % 2 == 0 { 0 } else { 3_600_000 }, note: b"note".to_vec(), ..Opts::default() };
        assert_eq!(dss.lockv(&[id.clone()], b"ann", &opts).0, 0);
        assert_eq!(dss.set(&id, Some(&[7; 300]), None, None).0, 0);
    }
    drop(dss);
    let dss = Dss::open(path).unwrap();
    assert_eq!(dss.unlock(b"drive 3", None), 0);
    assert_eq!(dss.set(b"drive 4", Some(b"in the log"), None, None).0, 0);
    (fs::read(path).unwrap(), fs::read(format!("{path}-wal")).unwrap())
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let path = format!("/dev/shm/dss-fuzz-file-{}.db", std::process::id());
    let side = |name: &str| format!("{path}{name}");
    let remove = || ["", "-wal", "-shm", "-wait"].iter().for_each(|name| drop(fs::remove_file(side(name))));
    remove();
    let (mut file, mut log) = STORE.get_or_init(|| make(&path)).clone();
    remove();
    // Each five bytes change one: in which of the two, where, and to what; or they cut it off there.
    for patch in input.chunks_exact(5).take(64) {
        let bytes = if patch[0] & 1 == 0 { &mut file } else { &mut log };
        let at = u32::from_le_bytes([patch[1], patch[2], patch[3], 0]) as usize % bytes.len().max(1);
        match patch[0] >> 1 & 7 {
            7 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] = patch[4],
            _ => {}
        }
    }
    fs::write(&path, &file).unwrap();
    fs::write(side("-wal"), &log).unwrap();
    let begun = Instant::now();
    use_store(&path);
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
});

fn use_store(path: &str) {
    let check = |rc: i32| assert!(ANSWERS.contains(&rc), "{rc}: {}", common::last_error());
    let dss = match Dss::open(&format!("sqlite:{path}?timeout_ms=1000")) {
        Ok(dss) => dss,
        Err(rc) => return check(rc),
    };
    check(dss.lock(b"drive 3", b"bob"));
    check(dss.lock(b"new", b"bob"));
    check(dss.status(b"drive 1").map_or_else(|rc| rc, |_| 0));
    check(dss.list(&Filter::default(), false).0);
    check(dss.get(b"drive 4").map_or_else(|rc| rc, |_| 0));
    check(dss.set(b"drive 5", Some(&[1; 2000]), None, None).0);
    check(dss.unlock(b"drive 2", Some(b"ann")));
    check(dss.list(&Filter { flags: PREFIX, id: Some(b"drive".to_vec()), ..Filter::default() }, true).0);
}
