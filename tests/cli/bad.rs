//! What goes wrong: one line that says what and what to do, and the documented exit code.

use super::{command, dss, each_store, kinds, made};
use std::{fs, os::unix::fs::PermissionsExt};
use temp_dir::TempDir;

#[test]
fn each_answer_has_its_code() {
    each_store(|store| {
        let uri = &store.uri;
        dss(uri, &["lock", "a", "--owner", "ann"]).ok();
        dss(uri, &["lock", "a", "--no-wait"]).fails(1, "ann");
        dss(uri, &["lock", "a", "--wait", "100ms"]).fails(5, "ann");
        dss(uri, &["lock", "a", "--wait", "0.1"]).fails(5, "ann");
        dss(uri, &["unlock", "nobody's"]).fails(3, "nobody's");
        dss(uri, &["refresh", "nobody's"]).fails(3, "nobody's");
        dss(uri, &["unlock", "a"]).fails(4, "ann");
        dss(uri, &["refresh", "a"]).fails(4, "ann");
        dss(uri, &["transfer", "a", "--to", "me"]).fails(4, "ann");
        dss(uri, &["transfer", "nobody's", "--to", "me"]).fails(3, "nobody's");
        dss(uri, &["get", "nothing"]).fails(3, "nothing");
        let quiet = dss(uri, &["--quiet", "lock", "a", "--no-wait"]);
        assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (1, "", ""));
    });
}

#[test]
fn what_was_typed_wrongly_is_said() {
    let uri = "sqlite:/no/such/folder/x";
    dss(uri, &["lock", "a", "a"]).fails(2, "twice");
    dss(uri, &["lock", ""]).fails(2, "empty");
    dss(uri, &["lock", "a", "--ttl", "10ms"]).fails(2, "1s");
    dss(uri, &["lock", "a", "--uri", "oracle:x"]).fails(2, "oracle");
    dss(uri, &["unlock", "a", "b", "--token", "1"]).fails(2, "--token");
    dss(uri, &["run", "--lock", "a", "--ttl", "1ms", "--", "true"]).fails(2, "1s");
    for wrong in
        [&["lock"][..], &["frobnicate"], &["lock", "a", "--wait", "soon"], &["run", "--lock", "a"], &["set", "k"]]
    {
        let said = dss(uri, wrong);
        assert_eq!(said.code, 2, "{wrong:?}");
        assert!(said.err.contains("error:") && said.err.contains("--help"), "{said:?}");
    }
    assert_eq!(dss(uri, &[]).code, 2);
    assert!(dss(uri, &["--help"]).ok().contains("Examples:"));
    for subcommand in ["lock", "clean", "run", "set"] {
        assert!(dss(uri, &[subcommand, "--help"]).ok().contains("Examples:"), "{subcommand}");
    }
    assert!(dss(uri, &["--version"]).ok().starts_with("dss 0."));
}

#[test]
fn a_store_that_is_not_there_is_said_to_be_down() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for (kind, uri) in
        [("postgres", format!("postgresql://dss@127.0.0.1:{port}/x")), ("etcd", format!("etcd://127.0.0.1:{port}"))]
    {
        if kinds().iter().any(|tested| tested == kind) {
            let port = &port.to_string();
            dss(&uri, &["--timeout", "300ms", "list"]).fails(6, port);
            dss(&uri, &["--timeout", "300ms", "lock", "a"]).fails(6, port);
            dss(&uri, &["--timeout", "300ms", "run", "--lock", "a", "--", "true"]).fails(125, port);
        }
    }
}

#[test]
fn a_file_that_can_not_be_used_is_said_to_be_so() {
    if !kinds().iter().any(|kind| kind == "sqlite") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    dss(&path("no/such/folder.db"), &["list"]).fails(7, "no/such");
    fs::write(
        folder.path().join("letter"),
        "Dear store, this is no database, and it is longer than a header.".repeat(20),
    )
    .unwrap();
    dss(&path("letter"), &["list"]).fails(7, "letter");
    let store = made("sqlite");
    dss(&store.uri, &["lock", "a"]).ok();
    // Root may do everything, so somebody else tries.
    let file = store.uri.strip_prefix("sqlite:").unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    // SAFETY: the call has no conditions.
    if unsafe { libc::geteuid() } == 0 {
        let mut other = command(&store.uri, &["list"]);
        std::os::unix::process::CommandExt::uid(&mut other, 65534);
        let said: super::Said = other.output().unwrap().into();
        assert_eq!(said.code, 7, "{said:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
    }
}

/// The page names each command, option and exit code that there is.
#[test]
fn the_manual_page_has_all_that_the_command_has() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/dss.1")).unwrap().replace('\\', "");
    let help = dss("memory:", &["--help"]).ok();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 12, "{help}");
    for name in commands {
        assert!(page.contains(&format!("dss {name}")), "{name} is not in dss.1");
        let options = dss("memory:", &[name, "--help"]).ok();
        for option in options.split(|letter: char| !(letter.is_alphanumeric() || letter == '-')) {
            if option.starts_with("--") && option.len() > 3 && option != "--help" {
                assert!(page.contains(option), "{name} has {option}, which is not in dss.1");
            }
        }
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "122", "125", "126", "127", "130"] {
        assert!(page.contains(&format!(".B {code}\n")), "exit code {code} is not in dss.1");
    }
}

/// What the README and the examples of the page have somebody type, the command takes.
#[test]
fn what_documents_say_of_options_is_so() {
    let read = |path: &str| fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (mut seen, mut known) = (0, std::collections::BTreeMap::new());
    for text in [read("README.md"), read("man/dss.1").replace("\\-", "-"), read("docs/stores.md")] {
        for command in
            text.split("dss ").skip(1).map(|rest| rest.split([';', '`', '#', '\n', '|', '(']).next().unwrap())
        {
            // What stands behind " -- " is another program's.
            let words: Vec<&str> = command.split(" -- ").next().unwrap().split_whitespace().collect();
            let is_word = |word: &&&str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase());
            let Some(subcommand) = words.iter().find(is_word) else { continue };
            let help = known.entry((*subcommand).to_owned()).or_insert_with(|| dss("memory:", &[subcommand, "--help"]));
            if help.code != 0 {
                continue;
            }
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let name = option.split(['=', ']', ')', ',', '.']).next().unwrap();
                assert!(help.out.contains(name), "\"dss {}\": there is no {name}", command.trim());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
}
