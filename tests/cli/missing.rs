//! A store that is not there: whoever reads it is told so, and nothing is made.
//!
//! `dss --uri /tmp/typo.db list` said "no such locks are held" and made the file; `sudo dss status
//! drive3` looked into another store, as sudo drops DSS_URI, and said "nobody holds drive3".

use super::{Said, command, dss, each_store, fresh, shared_kinds, wait_until};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};
use temp_dir::TempDir;

const READERS: [&[&str]; 10] = [
    &["list"],
    &["status", "a"],
    &["watch"],
    &["keys"],
    &["get", "key"],
    &["stats"],
    &["clean", "--all", "--yes"],
    &["refresh", "a"],
    &["unlock", "a"],
    &["transfer", "a", "--to", "bob"],
];

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn reading_makes_no_store() {
    for kind in shared_kinds() {
        let store = fresh(&kind);
        for reader in READERS {
            let said = command("", reader).args(["--uri", &store.uri]).output().unwrap();
            Said::from(said).fails(7, "there is no store at");
            dss(&store.uri, &["doctor", "--write"]).fails_with_findings("there is no store");
        }
        if kind == "sqlite" {
            let file = Path::new(store.uri.strip_prefix("sqlite:").unwrap());
            assert_eq!(names_in(file.parent().unwrap()), Vec::<String>::new());
            // A file in which no store was made yet, and a folder that is missing.
            fs::write(file, "").unwrap();
            let in_no_folder = format!("{}/no/such/folder.db", file.parent().unwrap().display());
            for reader in READERS {
                dss(&store.uri, reader).fails(7, "DSS_URI says so");
                dss(&in_no_folder, reader).fails(7, "there is no store at");
            }
            assert_eq!(dss(&store.uri, &["doctor"]).code, 2);
            assert_eq!(names_in(file.parent().unwrap()), ["dss.db"]);
            assert_eq!(file.metadata().unwrap().len(), 0);
        }
    }
}

impl Said {
    /// Of doctor.
    #[track_caller]
    fn fails_with_findings(self, what: &str) {
        assert!(self.code == 2 && self.out.contains(what) && self.err.is_empty(), "{self:?}");
    }
}

#[test]
fn whoever_makes_a_store_says_so_once() {
    for kind in shared_kinds() {
        for (writer, quiet) in [
            (&["lock", "a", "--ttl", "1h"][..], "lock"),
            (&["-q", "lock", "a"], "lock"),
            (&["set", "key", "value"], "set"),
            (&["--json", "set", "key", "value"], "set"),
            (&["run", "-l", "a", "--", "true"], "run"),
        ] {
            let store = fresh(&kind);
            let said = dss(&store.uri, writer);
            assert_eq!(said.code, 0, "{said:?}");
            assert!(said.err.starts_with("dss: made a new store, ") && said.err.lines().count() == 1, "{said:?}");
            assert!(said.err.contains("DSS_URI says so"), "{said:?}");
            dss(&store.uri, &["unlock", "--force", "a"]);
            assert_eq!(dss(&store.uri, writer).err, "", "{quiet}");
        }
    }
}

#[test]
fn a_store_is_named_without_its_password() {
    if !shared_kinds().any(|kind| kind == "postgres") {
        return;
    }
    let store = fresh("postgres");
    let uri = store.uri.replacen("dss@", "dss:secret7@", 1);
    assert_ne!(uri, store.uri);
    for said in [dss(&uri, &["list"]), dss(&uri, &["lock", "a"]), dss(&uri, &["status", "b"])] {
        let text = said.err;
        assert!(text.contains("127.0.0.1") && !text.contains("secret7"), "{text}");
    }
}

#[test]
fn an_empty_answer_names_the_store() {
    each_store(|store| {
        let (uri, name) = (&store.uri, store.uri.split(['?', ' ']).next().unwrap());
        let said = |arguments: &[&str]| {
            let said = dss(uri, arguments);
            assert!(said.err.contains(name), "{arguments:?}: {said:?}");
            said
        };
        assert_eq!(said(&["list"]).code, 0);
        assert_eq!(said(&["keys"]).code, 0);
        assert_eq!(said(&["clean", "--all", "--yes"]).code, 0);
        let in_vain: [&[&str]; 6] = [
            &["status", "a"],
            &["get", "key"],
            &["refresh", "a"],
            &["unlock", "a"],
            &["transfer", "a", "--to", "bob"],
            &["set", "key", "--delete"],
        ];
        for arguments in in_vain {
            assert_eq!(said(arguments).code, 3);
        }
        assert!(dss(uri, &["stats"]).ok().contains(name));
        for arguments in [&["list"][..], &["keys"], &["stats"], &["clean", "--all", "--yes"]] {
            let told = command(uri, &["--json"]).args(arguments).output().unwrap();
            let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
            assert!(told["store"].as_str().unwrap().contains(name), "{told}");
        }
    });
}

#[test]
fn a_store_in_memory_is_refused() {
    for command in READERS.into_iter().chain([
        &["lock", "a"][..],
        &["set", "k", "v"],
        &["run", "-l", "a", "--", "true"],
        &["doctor"],
    ]) {
        dss("memory:", command).fails(2, "name a file");
    }
}

/// The user's own file, where nothing says which store is meant.
#[test]
fn the_default_is_not_made_by_reading() {
    if !shared_kinds().any(|kind| kind == "sqlite") || Path::new("/etc/dss/uri").exists() {
        return;
    }
    let folder = TempDir::new().unwrap();
    // SAFETY: the call has no conditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    if is_root {
        std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    }
    let by_default = |arguments: &[&str]| -> Said {
        let mut command = command("", arguments);
        command.env_remove("DSS_URI").env("XDG_STATE_HOME", folder.path());
        if is_root {
            // Root's own would be in /var/lib.
            command.uid(65534);
        }
        command.output().unwrap().into()
    };
    for reader in READERS {
        by_default(reader).fails(7, "DSS_URI is not set, so the default was meant");
    }
    by_default(&["doctor"]).fails_with_findings("DSS_URI is not set, so the default was meant");
    assert_eq!(names_in(folder.path()), Vec::<String>::new());
    let said = by_default(&["lock", "a"]);
    assert!(said.code == 0 && said.err.contains("DSS_URI is not set, so the default was meant"), "{said:?}");
    assert_eq!(by_default(&["-q", "list"]).ok(), "a\n");
}

/// SQLite has its -wal and -shm while a store is open; a reader needs no more than these.
#[test]
fn reading_makes_no_file_beside_a_store() {
    if !shared_kinds().any(|kind| kind == "sqlite") {
        return;
    }
    let store = super::made("sqlite");
    let file = store.uri.strip_prefix("sqlite:").unwrap();
    let beside = |name: &str| Path::new(&format!("{file}{name}")).exists();
    dss(&store.uri, &["lock", "a"]).ok();
    assert!(!beside("-wait"));
    let mut child = command(&store.uri, &["watch", "--interval", "5ms"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("the store is open", || beside("-shm"));
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
    assert!(!beside("-wait"));
    child.kill().unwrap();
    child.wait().unwrap();
    // What is made and removed again counts, too.
    let traced: [&[&str]; 8] = [
        &["list"],
        &["status", "a"],
        &["keys"],
        &["get", "key"],
        &["stats"],
        &["doctor"],
        &["list", "--min-age", "1s"],
        &["--json", "list"],
    ];
    for reader in traced {
        let is_sqlites = |line: &String| line.contains("-shm\"") || line.contains("-wal\"");
        let made = made_by(&store.uri, reader);
        assert!(made.iter().all(is_sqlites), "{reader:?}: {made:?}");
        assert_eq!(made_by(&fresh("sqlite").uri, reader), Vec::<String>::new(), "{reader:?}");
    }
}

/// The calls by which a command may have made files and folders.
fn made_by(uri: &str, arguments: &[&str]) -> Vec<String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=file", env!("CARGO_BIN_EXE_dss")]);
    let said = strace.args(arguments).env("DSS_URI", uri).output().unwrap();
    let trace = String::from_utf8_lossy(&said.stderr);
    assert!(trace.contains(uri.strip_prefix("sqlite:").unwrap()), "{trace}");
    // The library makes files under another name, and gives them theirs at the end.
    let is_unfinished = |line: &str| line.contains("/.dss-") && !line.contains("rename");
    let makes = |line: &&str| {
        let words = ["O_CREAT", "creat(", "mkdir", "rename"];
        words.iter().any(|word| line.contains(word)) && !is_unfinished(line)
    };
    trace.lines().filter(makes).map(str::to_owned).collect()
}
