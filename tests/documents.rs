//! What is said in two places must agree: a fact that is stated twice is compared here.

use std::{collections::BTreeSet, fs};

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The negative errnos that a text names, such as -EEXIST.
fn errnos(text: &str) -> BTreeSet<String> {
    let words = text.split("-E").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_uppercase() && !letter.is_ascii_digit());
        format!("-E{}", &rest[..end.unwrap_or(rest.len())])
    });
    words.filter(|word| word.len() > 3).collect()
}

#[test]
fn the_program_in_the_readme_is_the_example() {
    let readme = read("README.md");
    let program = readme.split("```c\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(program, read("examples/quickstart.c"));
}

#[test]
fn readme_and_header_name_the_same_errors() {
    let (readme, header) = (read("README.md"), read("include/dss.h"));
    let table = readme.split("## Errors").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(errnos(table), errnos(&header));
}

#[test]
fn readme_and_header_have_the_same_table_of_calls() {
    let rows = |text: &str, mark: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter_map(|line| line.trim_start_matches([' ', '*']).strip_prefix(mark));
        let cells = |line: &str| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).take(3).collect::<Vec<_>>();
        lines.map(cells).filter(|cells| cells.len() == 3).collect()
    };
    let (readme, header) = (read("README.md"), read("include/dss.h"));
    for call in ["dss_lock_refresh", "dss_unlock", "dss_lock_status"] {
        let said = rows(&readme.replace("| `", "").replace('`', ""), call);
        assert!(!said.is_empty(), "{call}");
        assert_eq!(said, rows(&header, call), "{call}");
    }
}

#[test]
fn the_changelog_knows_the_version() {
    assert!(read("CHANGELOG.md").contains(env!("CARGO_PKG_VERSION")));
}
