//! `dss run` with its store cut off: the command is never alive when somebody else has the lock.

use super::{command, is_alive, made, shared_kinds, wait_until};
use crate::common::{Dss, Opts, Store, last_error};
use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use temp_dir::TempDir;

const RUNS: usize = 50;
const TTL: &str = "2s";

/// The way to a store, which can be cut.
trait Way {
    fn uri(&self) -> String;
    fn cut(&self);
    fn mend(&self);
}

/// A TCP proxy to a server.
struct Proxy {
    uri: String,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn to(uri: &str) -> Proxy {
        let at = uri.find("127.0.0.1:").unwrap() + "127.0.0.1:".len();
        let end = uri[at..].find(|letter: char| !letter.is_ascii_digit()).map_or(uri.len(), |length| at + length);
        let server: u16 = uri[at..end].parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_cut, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (cut, all) = (is_cut.clone(), open.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                all.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pump(client, forth));
                thread::spawn(move || pump(server, back));
            }
        });
        Proxy { uri: format!("{}{port}{}", &uri[..at], &uri[end..]), is_cut, open }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 16384];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _: io::Result<()> = to.shutdown(Shutdown::Both);
}

impl Way for Proxy {
    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.open.lock().unwrap().drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// A file is cut off by somebody who keeps it locked.
struct Lock {
    uri: String,
    sql: Mutex<rusqlite::Connection>,
}

impl Way for Lock {
    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn cut(&self) {
        let sql = self.sql.lock().unwrap();
        sql.busy_timeout(Duration::from_secs(5)).unwrap();
        sql.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    fn mend(&self) {
        self.sql.lock().unwrap().execute_batch("ROLLBACK").unwrap();
    }
}

fn way_to(store: &Store) -> Box<dyn Way> {
    match store.kind.as_str() {
        "sqlite" => {
            drop(Dss::open(&store.uri).unwrap());
            let sql = rusqlite::Connection::open(store.uri.strip_prefix("sqlite:").unwrap()).unwrap();
            Box::new(Lock { uri: store.uri.clone(), sql: Mutex::new(sql) })
        }
        _ => Box::new(Proxy::to(&store.uri)),
    }
}

/// Commands that write who they are, and start others as long as they live.
fn start(uri: &str, count: usize, folder: &Path) -> Vec<(Child, PathBuf)> {
    let one = |number: usize| {
        let path = folder.join(number.to_string());
        (start_one(uri, number, &path), path)
    };
    (0..count).map(one).collect()
}

fn start_one(uri: &str, number: usize, path: &Path) -> Child {
    let (id, script) =
        (format!("drive {number}"), format!("echo $$ >{}; while :; do sleep 0.05; done", path.display()));
    let run = ["--timeout", "5s", "run", "--ttl", TTL, "-l", &id, "--", "sh", "-c", &script];
    command(uri, &run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// What the command has written. One that a busy store has refused is started again.
fn number_in(uri: &str, place: usize, (child, path): &mut (Child, PathBuf)) -> u32 {
    let mut number = None;
    wait_until("the command has not begun", || {
        if child.try_wait().unwrap().is_some() {
            *child = start_one(uri, place, path);
        }
        number = fs::read_to_string(&*path).ok().and_then(|text| text.trim().parse().ok());
        number.is_some()
    });
    number.unwrap()
}

/// At different times of their renewals, since they began at different times.
#[test]
fn nobody_has_the_lock_while_the_command_lives() {
    for kind in shared_kinds() {
        let (store, folder) = (made(&kind), TempDir::new().unwrap());
        let way = way_to(&store);
        let mut runs = start(&way.uri(), RUNS, folder.path());
        let begun = runs.iter_mut().enumerate().map(|(place, run)| number_in(&way.uri(), place, run));
        let processes: Vec<u32> = begun.collect();
        way.cut();
        // By another way: on SQLite that is the same file, so it is mended when their time is up, and there is a race for the locks.
        if kind == "sqlite" {
            thread::sleep(Duration::from_millis(2500));
            way.mend();
        }
        let direct = Dss::open(&store.uri).unwrap();
        thread::scope(|scope| {
            for (number, process) in processes.iter().enumerate() {
                let (direct, kind) = (&direct, &kind);
                scope.spawn(move || {
                    let opts = Opts { wait_ms: 20_000, ..Opts::default() };
                    let id = format!("drive {number}").into_bytes();
                    let rc = direct.lockv(&[id], b"next", &opts).0;
                    assert_eq!(rc, 0, "{kind}: command {number}: {}", last_error());
                    assert!(!is_alive(*process), "{kind}: command {number} lives though another has its lock");
                });
            }
        });
        for (child, _) in &mut runs {
            assert_eq!(child.wait().unwrap().code(), Some(122), "{kind}");
        }
    }
}

/// One that fails for a while, shorter than the lease lasts, is no reason to stop.
#[test]
fn a_cut_that_heals_in_time_stops_nothing() {
    for kind in shared_kinds() {
        let store = made(&kind);
        let way = way_to(&store);
        let run = ["--timeout", "500ms", "run", "--ttl", "4s", "-l", "drive", "--", "sleep", "6"];
        let mut child = command(&way.uri(), &run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let direct = Dss::open(&store.uri).unwrap();
        wait_until("the lock is not taken", || direct.status(b"drive").is_ok());
        thread::sleep(Duration::from_millis(500));
        way.cut();
        thread::sleep(Duration::from_millis(2000));
        way.mend();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{kind}");
    }
}
