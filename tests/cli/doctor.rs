//! `dss doctor` finds what is wrong with a store, says what to do, and has an exit code for programs that watch services.

use super::{Said, common::Store, dss, each_store, kinds, made};
use serde_json::Value;
use std::{
    env, fs,
    io::{self, BufRead, Read, Write},
    net::TcpListener,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    process::Command,
    thread,
};
use temp_dir::TempDir;

const FINE: i32 = 0;
const WARNING: i32 = 1;
const WRONG: i32 = 2;

/// What it found about this thing: the state, the text and the cure of each finding.
fn findings(said: &Said, about: &str) -> Vec<(String, String, String)> {
    let value: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!((value["schema"].as_u64(), said.err.as_str()), (Some(1), ""), "{said:?}");
    let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = value["doctor"]["checks"].as_array().unwrap().iter().filter(|check| check["about"] == about);
    checks.map(|check| (text(check, "state"), text(check, "text"), text(check, "cure"))).collect()
}

/// It found this about that thing, with such words in its text and its cure.
#[track_caller]
fn finds(uri: &str, arguments: &[&str], code: i32, about: &str, state: &str, words: [&str; 2]) {
    let said = dss(uri, &[&["--timeout", "5s", "--json", "doctor"], arguments].concat());
    let found = findings(&said, about);
    let fits =
        |(is, text, cure): &(String, String, String)| is == state && text.contains(words[0]) && cure.contains(words[1]);
    assert!(found.iter().any(fits), "{uri}: no {state} {about} with {words:?}: {said:?}");
    assert_eq!(said.code, code, "{said:?}");
}

/// What is said of the stores of the tests: their PostgreSQL flushes nothing, their etcd is one member.
fn code_of(store: &Store) -> i32 {
    match store.kind.as_str() {
        "sqlite" => FINE,
        "postgres" => WRONG,
        _ => WARNING,
    }
}

#[test]
fn a_store_in_use_is_looked_at() {
    each_store(|store| {
        let uri = &store.uri;
        // Its process, the shell, has ended.
        let script = format!("{} lock drive3 --owner mover; :", env!("CARGO_BIN_EXE_dss"));
        assert!(Command::new("sh").args(["-c", &script]).env("DSS_URI", uri).output().unwrap().status.success());
        let said = dss(uri, &["--json", "doctor", "--write"]);
        assert_eq!(said.code, code_of(store), "{said:?}");
        for about in ["store", "locks", "writes"] {
            assert_eq!(findings(&said, about).len(), 1, "{about}: {said:?}");
            assert_eq!(findings(&said, about)[0].0, "fine", "{about}: {said:?}");
        }
        assert!(findings(&said, "locks")[0].1.starts_with("1 held"), "{said:?}");
        assert_eq!(dss(uri, &["--quiet", "list"]).ok(), "drive3\n", "the lock of --write is gone");
        let cure = ["drive3 of mover, whose process is gone", "dss list --min-age 0s"];
        finds(uri, &["--stale", "0"], code_of(store).max(WARNING), "locks", "warning", cure);
        match store.kind.as_str() {
            "postgres" => finds(uri, &[], WRONG, "durability", "wrong", ["fsync is off", "fsync = on"]),
            "etcd" => finds(uri, &[], WARNING, "cluster", "warning", ["one member", "run three"]),
            _ => {}
        }
    });
}

/// The first line is for programs that watch services, and tells the worst; --quiet tells what is not fine alone.
#[test]
fn the_first_line_sums_up() {
    each_store(|store| {
        dss(&store.uri, &["lock", "a"]).ok();
        let (said, quiet) = (dss(&store.uri, &["doctor"]), dss(&store.uri, &["doctor", "-q"]));
        let state = ["fine", "warning", "wrong"][code_of(store) as usize];
        assert!(said.out.starts_with(&format!("dss: {state}: ")), "{said:?}");
        assert_eq!((quiet.code, quiet.out.is_empty()), (code_of(store), store.kind == "sqlite"), "{quiet:?}");
        assert!(!quiet.out.contains("\nfine"), "{quiet:?}");
    });
}

/// To look for a store does not make one.
#[test]
fn a_store_that_is_not_there_is_not_made() {
    for store in
        ["sqlite", "postgres", "etcd"].into_iter().filter(|kind| kinds().iter().any(|k| k == kind)).map(super::fresh)
    {
        for _ in 0..2 {
            finds(&store.uri, &["--write"], WRONG, "store", "wrong", ["there is no", "the first of them"]);
        }
    }
}

#[test]
fn a_server_that_is_down_is_wrong() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    if kinds().iter().any(|kind| kind == "postgres") {
        let uri = format!("postgresql://dss@127.0.0.1:{port}/x");
        finds(&uri, &[], WRONG, "server", "wrong", [&port.to_string(), ""]);
    }
    if kinds().iter().any(|kind| kind == "etcd") {
        finds(&format!("etcd://127.0.0.1:{port}"), &[], WRONG, "member", "wrong", [&port.to_string(), ""]);
    }
}

fn file_of(store: &Store) -> &Path {
    Path::new(store.uri.strip_prefix("sqlite:").unwrap())
}

#[test]
fn a_file_is_looked_at_from_all_sides() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    let store = made("sqlite");
    let (uri, file) = (&store.uri, file_of(&store));
    for lock in 0..64 {
        dss(uri, &["lock", &format!("{lock}")]).ok();
    }
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chmod(file, 0o666);
    finds(uri, &[], WARNING, "rights", "warning", ["every user of the host", "chmod o-w"]);
    chmod(file, 0o600);
    let folder = file.parent().unwrap();
    chmod(folder, 0o777);
    finds(uri, &[], WARNING, "rights", "warning", ["replace the files", "chmod o-w"]);
    chmod(folder, 0o700);
    // A log that a reader has kept from being reset; what is in it does not matter here.
    let log = fs::File::create(format!("{}-wal", file.display())).unwrap();
    log.set_len(65 << 20).unwrap();
    finds(uri, &[], WARNING, "log", "warning", ["65.0 MiB", "fuser"]);
    assert_eq!(dss(uri, &["doctor"]).code, FINE);
    // A page in the middle is lost.
    let pages = fs::File::options().write(true).open(file).unwrap();
    pages.write_all_at(&[0xee; 1024], pages.metadata().unwrap().len() / 1024 / 2 * 1024).unwrap();
    finds(uri, &[], WRONG, "content", "wrong", ["damaged", "restore"]);
    fs::write(file, "Dear store, this is no database.".repeat(99)).unwrap();
    finds(uri, &[], WRONG, "store", "wrong", ["not a dss store", ""]);
}

/// A store in memory is gone with the host, and a clock that was set back shows in tokens that are ahead of it.
#[test]
fn what_a_file_rests_on_is_looked_at() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    let folder = TempDir::with_prefix("/dev/shm/t").unwrap();
    let uri = folder.path().join("x.db").display().to_string();
    assert_eq!(dss(&uri, &["lock", "a"]).code, 0);
    finds(&uri, &[], WARNING, "file system", "warning", ["tmpfs", "put it on a disk"]);
    let store = made("sqlite");
    let mut late = Command::new("faketime");
    late.args(["-f", "+2d", env!("CARGO_BIN_EXE_dss"), "lock", "a"]).env("DSS_URI", &store.uri);
    Said::from(late.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").output().unwrap()).ok();
    finds(&store.uri, &[], WARNING, "clock", "warning", ["set back by", "put the clock right"]);
}

/// A container manager mounts a boot id of its own over the kernel's.
#[test]
fn a_boot_id_that_is_not_the_kernels_is_reported() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    let store = made("sqlite");
    dss(&store.uri, &["lock", "a"]).ok();
    let script =
        "mount --bind /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id && exec \"$0\" --json doctor";
    let mut container = Command::new("unshare");
    container.args(["--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_dss")]);
    let said = Said::from(container.env("DSS_URI", &store.uri).output().unwrap());
    let found = findings(&said, "boot id");
    assert_eq!((said.code, found.len()), (WARNING, 1), "{said:?}");
    assert!(found[0].0 == "warning" && found[0].2.contains("mount /proc"), "{said:?}");
    assert!(findings(&dss(&store.uri, &["--json", "doctor"]), "boot id").is_empty());
}

#[test]
fn a_role_and_its_settings_are_looked_at() {
    if !kinds().iter().any(|kind| kind == "postgres") {
        return;
    }
    let store = made("postgres");
    dss(&store.uri, &["lock", "a"]).ok();
    let careless = format!("{}&options=-csynchronous_commit%3Doff", store.uri);
    finds(&careless, &[], WRONG, "durability", "wrong", ["synchronous_commit is off", "ALTER ROLE"]);
    let schema = store.uri.rsplit_once("schema=").unwrap().1;
    let (server, role) = (env::var("DSS_TEST_POSTGRES").unwrap(), format!("{schema}_reader"));
    let sql = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    let psql = format!("{}/psql", env::var("DSS_TEST_POSTGRES_BIN").unwrap());
    assert!(Command::new(psql).args([&server, "-X", "-q", "-c", &sql]).status().unwrap().success());
    let (head, tail) = store.uri.split_once("//").unwrap();
    let uri = format!("{head}//{role}@{}", tail.split_once('@').unwrap().1);
    finds(&uri, &[], WRONG, "rights", "wrong", ["lacks rights on lock, session, state", "GRANT"]);
}

/// Servers of a test's own, in a folder.
struct Servers(TempDir);

impl Servers {
    fn of(&self, command: &str, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers.sh");
        let folder = self.0.path().join("servers").display().to_string();
        let mut run = Command::new(script);
        run.arg(command).arg(folder).args(arguments).env("DSS_SERVERS_OWNER", std::process::id().to_string());
        let said = Said::from(run.output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
        said.out.trim().to_owned()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.of("clean", &[]);
    }
}

fn servers() -> Servers {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let servers = Servers(folder);
    fs::create_dir(servers.0.path().join("servers")).unwrap();
    servers
}

#[test]
fn standbys_are_looked_at() {
    if !kinds().iter().any(|kind| kind == "postgres") {
        return;
    }
    let primary = servers();
    let port = primary.of("postgres-start", &["0"]);
    let uri = format!("postgresql://dss@127.0.0.1:{port}/dss_test");
    assert_eq!(dss(&uri, &["lock", "a"]).code, 0);
    finds(&uri, &[], WRONG, "replication", "fine", ["no standbys", ""]);
    let standby = servers();
    let other = standby.of("postgres-standby", &[&port]);
    finds(&uri, &[], WRONG, "replication", "warning", ["none synchronous", "synchronous_standby_names"]);
    finds(&format!("postgresql://dss@127.0.0.1:{other}/dss_test"), &[], WRONG, "store", "wrong", ["standby", ""]);
}

/// The second is asked while the first has not been given up.
fn are_asked_together(silent: &[TcpListener; 2]) {
    let [first, second] = silent.each_ref().map(|one| one.accept().unwrap().0);
    first.set_nonblocking(true).unwrap();
    let asked = io::copy(&mut &first, &mut io::sink());
    assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was given up before {second:?}");
}

/// With users, etcd answers so to each request with a client certificate that has a common name. The
/// doctor took it for an etcd that is too old.
#[test]
fn a_certificate_with_a_name_is_found() {
    if !kinds().iter().any(|kind| kind == "etcd") {
        return;
    }
    let text = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in server.incoming() {
            let mut client = io::BufReader::new(client.unwrap());
            let head = client.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let is_length = |line: &String| line.to_lowercase().starts_with("content-length:");
            let length = head.filter(is_length).filter_map(|line| line[15..].trim().parse::<u64>().ok()).sum();
            io::copy(&mut client.by_ref().take(length), &mut io::sink()).unwrap();
            let answer = format!("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{text}");
            client.into_inner().write_all(answer.as_bytes()).unwrap();
        }
    });
    let words = ["client certificate with a common name (CN)", ""];
    finds(&format!("etcd://127.0.0.1:{port}/x"), &[], WRONG, "member", "wrong", words);
}

#[test]
fn members_are_looked_at() {
    if !kinds().iter().any(|kind| kind == "etcd") {
        return;
    }
    let cluster = servers();
    let members = cluster.of("etcd-cluster", &["n1", "n2", "n3"]);
    let ports: Vec<&str> = members.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let uri = format!("etcd://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}/x", ports[0], ports[1], ports[2]);
    cluster.of("etcd-wait", &[]);
    assert_eq!(dss(&uri, &["lock", "a"]).code, 0);
    finds(&uri, &[], FINE, "cluster", "fine", ["3 members, of which 1 may be away", ""]);
    finds(
        &format!("etcd://127.0.0.1:{}/x", ports[0]),
        &[],
        WARNING,
        "cluster",
        "warning",
        ["names one", "name them all"],
    );
    // Two that take connections and say nothing, before the others.
    let silent = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let port_of = |one: &TcpListener| one.local_addr().unwrap().port();
    let first = silent.iter().map(|one| format!("127.0.0.1:{},", port_of(one))).collect::<String>();
    let with_silent = uri.replace("etcd://", &format!("etcd://{first}"));
    thread::scope(|scope| {
        scope.spawn(|| are_asked_together(&silent));
        finds(&with_silent, &[], WARNING, "store", "fine", ["prefix x/", ""]);
    });
    for one in &silent {
        let words = [&*format!(":{}", port_of(one)), "start it again"];
        finds(&with_silent, &[], WARNING, "member", "warning", words);
    }
    finds(&with_silent, &[], WARNING, "cluster", "fine", ["3 members", ""]);
    cluster.of("etcd-kill", &["n3"]);
    finds(&uri, &[], WARNING, "member", "warning", [ports[2], "start it again"]);
    cluster.of("etcd-kill", &["n2"]);
    finds(&uri, &[], WRONG, "store", "wrong", ["", ""]);
}
