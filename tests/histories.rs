//! Guarantees 1 to 5 as a sceptic looks at them: processes and threads make random calls on a few names, some of them are killed
//! or stopped meanwhile, all is recorded, and the record is judged (tests/history/).
//!
//!     DSS_HISTORY_SEED=7 DSS_HISTORY_SECONDS=60 cargo test --profile tests --test histories -- --ignored --nocapture what_processes
//!
//! $DSS_HISTORY_LIBRARY is the libdss.so to look at, by default the release that
//! `make build` makes;
//! $DSS_HISTORY_RECORD a record that a failed run left, to judge it again instead of making new ones.

mod common;
mod history;

use common::{fresh, kinds};
use history::record::History;
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// What a C compiler made of the worker, and the library that it is to find.
struct Worker {
    folder: tempfile::TempDir,
}

/// One history, and what was done to those who made it.
struct Run {
    history: History,
    record: PathBuf,
    said: String,
}

impl Worker {
    fn build(library: &Path) -> Worker {
        let folder = tempfile::tempdir().unwrap();
        assert!(library.exists(), "there is no {}: build it by `make build`", library.display());
        for name in ["libdss.so", "libdss.so.0"] {
            symlink(fs::canonicalize(library).unwrap(), folder.path().join(name)).unwrap();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(env::var("CC").unwrap_or_else(|_| "cc".into()))
            .args(["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"])
            .arg(root.join("c_tests/history/worker.c"))
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

    /// Lets it work on a fresh store of this kind; with a mutant, one guard of the library is off.
    fn run(&self, kind: &str, seed: u32, seconds: f64, mutant: Option<&str>) -> Run {
        let store = fresh(kind);
        let record = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "history-{kind}-{seed}-{}{}",
            std::process::id(),
            mutant.map_or(String::new(), |name| format!("-{name}"))
        ));
        let _ = fs::remove_file(&record);
        // Nothing but its own process can have a store in memory.
        let (processes, threads) = if kind == "memory" { ("1", "8") } else { ("4", "2") };
        let mut worker = Command::new(self.folder.path().join("worker"));
        worker.arg(&store.uri).arg(&record).arg(seed.to_string()).arg((seconds * 1000.0).to_string());
        worker.args([processes, threads]).env("LD_LIBRARY_PATH", self.folder.path());
        mutant.map(|name| worker.env("DSS_MUTANT", name));
        let output = worker.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "{kind}, seed {seed}: {}", String::from_utf8_lossy(&output.stderr));
        Run { history: History::read(&fs::read(&record).unwrap()), record, said }
    }
}

fn chosen(variable: &str, otherwise: f64) -> f64 {
    env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

/// The library that `make build` makes.
fn release() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release").join("libdss.so")
}

#[test]
#[ignore = "long; `make torture` runs it"]
fn what_processes_were_answered_has_one_order() {
    if let Some(record) = env::var_os("DSS_HISTORY_RECORD") {
        let figures = History::read(&fs::read(record).unwrap()).judge();
        return println!("{:?}", figures.unwrap_or_else(|fault| panic!("{fault}")));
    }
    let (seed, seconds) = (chosen("DSS_HISTORY_SEED", 1.0) as u32, chosen("DSS_HISTORY_SECONDS", 3.0));
    let worker = Worker::build(&env::var_os("DSS_HISTORY_LIBRARY").map_or_else(release, PathBuf::from));
    for kind in kinds() {
        let run = worker.run(&kind, seed, seconds, None);
        let begin = Instant::now();
        let figures = run.history.judge().unwrap_or_else(|fault| {
            panic!("{kind}, seed {seed} (DSS_HISTORY_RECORD={}): {fault}", run.record.display())
        });
        println!("{kind}, seed {seed}: {}; {figures:?}, judged in {:.1?}", run.said, begin.elapsed());
        println!("{kind}, seed {seed}: answers {:?}", run.history.answers);
        fs::remove_file(&run.record).unwrap();
        // A history of nothing would have an order, too.
        assert!(figures.grants > 50 && figures.fenced > 5, "{figures:?}");
    }
}

/// The whole can fail: each of these defects of the library shows within a few runs. `make mutants` builds it.
#[test]
#[ignore = "needs the library of `make mutants`, as $DSS_HISTORY_MUTANTS"]
fn defects_are_seen() {
    let library = env::var_os("DSS_HISTORY_MUTANTS").expect("$DSS_HISTORY_MUTANTS is not set: run make mutants first");
    let worker = Worker::build(Path::new(&library));
    let run = worker.run("sqlite", 1, 1.0, None);
    run.history.judge().unwrap_or_else(|fault| panic!("with all guards in place: {fault}"));
    fs::remove_file(&run.record).unwrap();
    for mutant in ["version_ignored", "version_reused", "guard_ignored", "token_reused", "held_ignored"] {
        let fault = (1..=5).find_map(|seed| {
            let run = worker.run("sqlite", seed, 1.0, Some(mutant));
            fs::remove_file(&run.record).unwrap();
            run.history.judge().err()
        });
        let fault = fault.unwrap_or_else(|| panic!("five histories without the guard {mutant} were found good"));
        println!("without {mutant}: {}", fault.lines().next().unwrap());
    }
}
