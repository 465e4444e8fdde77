//! Guarantees 1 to 5 as a sceptic looks at them: processes and threads make random calls on a few names while they are killed
//! and stopped, disks fail, and servers are cut off and restarted; all is recorded, and the record is judged (tests/history/).
//!
//!     DSS_HISTORY_SEED=7 DSS_HISTORY_SECONDS=60 cargo test --profile quick --test histories -- --ignored --nocapture what_processes
//!
//! $DSS_HISTORY_LIBRARY is the libdss.so to look at, by default what `make quick` makes; $DSS_HISTORY_RECORD a record
//! that a failed run left, to judge it again instead of making new ones.

mod common;
mod history;

use common::{fresh, kinds};
use history::record::{Figures, History, Leases};
use std::{
    env, fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};
use temp_dir::TempDir;

/// What a C compiler made of the worker, and the library that it is to find.
struct Worker {
    folder: TempDir,
}

/// What happens while a history is made.
#[derive(Clone, Copy)]
struct Scene {
    kind: &'static str,
    /// As c_tests/history/faults.c names them.
    faults: &'static str,
}

impl Scene {
    /// Whether calls may fail until each process has opened the store anew.
    fn harms_files(&self) -> bool {
        self.faults.contains("sides") || self.faults.contains("log")
    }
}

/// Nothing but its own process can have a store in memory, so nothing can happen to that.
const SCENES: [Scene; 9] = [
    Scene { kind: "sqlite", faults: "kill,stop" },
    Scene { kind: "sqlite", faults: "kill,disk" },
    Scene { kind: "sqlite", faults: "sides" },
    Scene { kind: "sqlite", faults: "kill,log" },
    Scene { kind: "memory", faults: "" },
    Scene { kind: "postgres", faults: "kill,stop,cut" },
    Scene { kind: "postgres", faults: "kill,restart" },
    Scene { kind: "etcd", faults: "kill,stop,cut" },
    Scene { kind: "etcd", faults: "kill,restart" },
];

/// What can be judged within a few seconds: a store in memory makes far more calls than the others.
const MOST_SECONDS_IN_MEMORY: f64 = 1.0;

/// One history, and what was done to those who made it.
struct Run {
    history: History,
    record: PathBuf,
    said: String,
}

const SOURCES: [&str; 8] = [
    "history/worker.c",
    "history/actor.c",
    "history/disk.c",
    "history/faults.c",
    "history/side_files.c",
    "network/proxy.c",
    "network/proxy_link.c",
    "network/proxy_process.c",
];

impl Worker {
    fn build(library: &Path) -> Worker {
        let folder = TempDir::new().unwrap();
        assert!(library.exists(), "there is no {}: build it by `make quick`", library.display());
        for name in ["libdss.so", "libdss.so.0"] {
            symlink(fs::canonicalize(library).unwrap(), folder.path().join(name)).unwrap();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(env::var("CC").unwrap_or_else(|_| "cc".into()))
            .args(["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"])
            .args(SOURCES.map(|name| root.join("c_tests").join(name)))
            .arg(format!("-I{}", root.join("include").display()))
            .arg(format!("-I{}", root.join("c_tests").display()))
            .arg("-o")
            .arg(folder.path().join("worker"))
            .arg(format!("-L{}", folder.path().display()))
            .args(["-ldss", "-lpthread"])
            .status();
        assert!(status.unwrap().success(), "the worker can't be compiled");
        Worker { folder }
    }

    /// Lets it work on a fresh store; with a mutant, one guard of the library is off.
    fn run(&self, scene: &Scene, seed: u32, seconds: f64, mutant: Option<&str>) -> Run {
        let Scene { kind, faults } = *scene;
        let store = fresh(kind);
        let name = [kind, &faults.replace(',', "-"), mutant.unwrap_or("sound"), &seed.to_string()].join("-");
        let record = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&record);
        let (processes, threads, seconds) = match kind {
            "memory" => ("1", "8", seconds.min(MOST_SECONDS_IN_MEMORY)),
            // Each process has one handle, and opens it anew when a call says so.
            _ if scene.harms_files() => ("4", "1", seconds),
            _ => ("4", "2", seconds),
        };
        let mut worker = Command::new(self.folder.path().join("worker"));
        worker.arg(&store.uri).arg(&record).arg(seed.to_string()).arg((seconds * 1000.0).to_string());
        worker
            .args([processes, threads, faults])
            .env("LD_LIBRARY_PATH", self.folder.path())
            .env("DSS_TEST_STORE", kind);
        worker.env("DSS_TEST_SERVERS", Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers.sh"));
        mutant.map(|name| worker.env("DSS_MUTANT", name));
        let output = worker.output().unwrap();
        let said =
            [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned()).concat();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Run { history: History::read(&record, leases(kind)), record, said }
    }
}

/// Of etcd a lease ends late: it counts in whole seconds, and a new leader begins it anew.
fn leases(kind: &str) -> Leases {
    if kind == "etcd" { Leases::Late } else { Leases::Exact }
}

fn chosen(variable: &str, otherwise: f64) -> f64 {
    env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

/// The library that `make quick` makes.
fn quick() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("quick").join("libdss.so")
}

/// The one that `make mutants` makes.
fn mutants() -> PathBuf {
    quick().parent().unwrap().with_file_name("mutants").join("libdss.so")
}

#[test]
#[ignore = "needs `make quick`, and servers of its own; `make prove` and `make torture` run it"]
fn what_processes_were_answered_has_one_order() {
    if let Some(record) = env::var_os("DSS_HISTORY_RECORD") {
        let leases = leases(if record.to_string_lossy().contains("history-etcd") { "etcd" } else { "" });
        let figures = History::read(Path::new(&record), leases).judge();
        return println!("{:?}", figures.unwrap_or_else(|fault| panic!("{fault}")));
    }
    let (seed, seconds) = (chosen("DSS_HISTORY_SEED", 1.0) as u32, chosen("DSS_HISTORY_SECONDS", 3.0));
    let worker = Worker::build(&env::var_os("DSS_HISTORY_LIBRARY").map_or_else(quick, PathBuf::from));
    let kinds = kinds();
    for scene in SCENES.iter().filter(|scene| kinds.iter().any(|kind| kind == scene.kind)) {
        let seconds =
            if ["restart", "sides"].iter().any(|fault| scene.faults.contains(fault)) { 2.0 * seconds } else { seconds };
        // A history of nothing would have an order, too: where servers take their time to come back, it goes on for longer.
        let enough = (0..4).find(|longer| {
            let figures = judged(&worker, scene, seed, seconds * f64::from(1 << longer));
            figures.grants > 5 && figures.ops > 100
        });
        assert!(enough.is_some(), "{} ({}): too little happens", scene.kind, scene.faults);
    }
}

/// Makes a history and judges it; the record of one that has no order is kept.
fn judged(worker: &Worker, scene: &Scene, seed: u32, seconds: f64) -> Figures {
    let name = format!("{} ({}), seed {seed}, {seconds} s", scene.kind, scene.faults);
    let run = worker.run(scene, seed, seconds, None);
    let is_moved = |rc: &&Option<i32>| [Some(-libc::EIDRM), Some(-libc::EUCLEAN)].contains(rc);
    assert!(scene.harms_files() || !run.history.answers.keys().any(|rc| is_moved(&rc)), "{name}: the store moved");
    let begin = Instant::now();
    let figures = run
        .history
        .judge()
        .unwrap_or_else(|fault| panic!("{name} (DSS_HISTORY_RECORD={}): {fault}; {}", run.record.display(), run.said));
    println!("{name}: {}; {figures:?}, judged in {:.1?}", run.said, begin.elapsed());
    println!("{name}: answers {:?}", run.history.answers);
    fs::remove_file(&run.record).unwrap();
    figures
}

const SQLITE: Scene = SCENES[0];
const BAD_DISK: Scene = SCENES[1];
const LOST_LOG: Scene = Scene { kind: "sqlite", faults: "kill,log" };
const CUT_POSTGRES: Scene = Scene { kind: "postgres", faults: "cut" };
const CUT_ETCD: Scene = Scene { kind: "etcd", faults: "cut" };

/// A defect of the library, a scene in which it shows, and how many seconds of that: the shortest lease lasts one.
const DEFECTS: [(&str, Scene, f64); 14] = [
    ("version_reused", SQLITE, 1.0),
    ("guard_ignored", SQLITE, 1.0),
    ("token_reused", SQLITE, 1.0),
    ("held_ignored", SQLITE, 1.0),
    ("two_transactions", SQLITE, 1.0),
    ("lease_early", SQLITE, 3.0),
    ("doubt_hidden", CUT_POSTGRES, 1.0),
    ("commit_swallowed", BAD_DISK, 1.0),
    ("cut_log", LOST_LOG, 2.0),
    ("cut_log_mark", LOST_LOG, 2.0),
    ("answer_forgotten", CUT_POSTGRES, 1.0),
    ("answer_forgotten", CUT_ETCD, 1.0),
    ("guess_unchecked", CUT_ETCD, 1.0),
    ("attempt_ignored", CUT_ETCD, 1.0),
];

/// The whole can fail: each of these defects of the library shows within a few runs. `make mutants` builds it.
#[test]
#[ignore = "needs the library of `make mutants`; `make prove` runs it"]
fn defects_are_seen() {
    let library = env::var_os("DSS_HISTORY_MUTANTS").map_or_else(mutants, PathBuf::from);
    let worker = Worker::build(&library);
    let kinds = kinds();
    for (defect, scene, seconds) in &DEFECTS {
        if !kinds.iter().any(|kind| kind == scene.kind) {
            continue;
        }
        let fault = (1..=MOST_HISTORIES).find_map(|seed| {
            let run = worker.run(scene, seed, *seconds, Some(defect));
            fs::remove_file(&run.record).unwrap();
            Some((seed, run.history.judge().err()?))
        });
        let Some((seed, fault)) = fault else {
            panic!("{MOST_HISTORIES} histories of {} with the defect {defect} were found good", scene.kind)
        };
        println!("{defect} on {} ({}), history {seed}: {}", scene.kind, scene.faults, fault.lines().next().unwrap());
        note_in_table(&format!("{defect} histories.{}", scene.kind));
    }
}

/// Most show in the first; those that need a call to be cut at one moment, now and then not in ten.
const MOST_HISTORIES: u32 = 100;

/// The table of defects and of the tests that notice them (scripts/test.sh), if one is kept.
fn note_in_table(line: &str) {
    if let Some(path) = env::var_os("DSS_DEFECTS_TABLE") {
        let mut table = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(table, "{line}").unwrap();
    }
}
