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
        // On a page there are no lines between the columns.
        let page = read("man/dss.7").replace("\\-", "-");
        let line = page.lines().find(|line| line.starts_with(&format!("{call} "))).unwrap_or_default();
        let cells: String = said[0].concat().split_whitespace().collect();
        assert_eq!(line.split_whitespace().skip(1).collect::<String>(), cells, "{call} in dss.7");
    }
}

#[test]
fn the_changelog_knows_the_version() {
    assert!(read("CHANGELOG.md").contains(env!("CARGO_PKG_VERSION")));
}

// ---- The manual pages of section 3 ----

/// The comment and the prototype of each function in the header.
fn functions(header: &str) -> Vec<(String, String, String)> {
    let parts = header.split("\n/**\n").skip(1).filter_map(|part| part.split_once("\n */\n"));
    let function = |(comment, rest): (&str, &str)| {
        let prototype = rest.split_once(';')?.0;
        let is_one = !prototype.starts_with(['#', 't']) && prototype.contains("(") && !prototype.contains('{');
        let name = prototype.split('(').next()?.rsplit([' ', '*']).next()?;
        is_one.then(|| (name.to_owned(), comment.to_owned(), squeezed(prototype)))
    };
    parts.filter_map(function).collect()
}

/// Without white space, and without the marks of a page.
fn squeezed(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != ".B").collect::<String>().replace(['"', '\\'], "")
}

/// A part of a page, as a reader sees it.
fn section(page: &str, title: &str) -> String {
    let part = page.split(&format!(".SH {title}\n")).nth(1).unwrap_or_default();
    let part = part.split("\n.SH ").next().unwrap_or_default();
    ["\\%", "\\fB", "\\fR", "\\fI"]
        .iter()
        .fold(part.to_owned(), |part, mark| part.replace(mark, ""))
        .replace("\\-", "-")
}

fn page(name: &str) -> String {
    read(&format!("man/{name}.3"))
}

fn macros(text: &str) -> BTreeSet<String> {
    let text = text.replace("\\fB", " ");
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("DSS_") && !word.ends_with('_')).map(str::to_owned).collect()
}

#[test]
fn each_call_has_a_page_with_its_prototype_and_its_errors() {
    let header = read("include/dss.h");
    let functions = functions(&header);
    assert!(functions.len() >= 22, "{}", functions.len());
    for (name, comment, prototype) in &functions {
        let page = page(name);
        assert!(squeezed(&section(&page, "SYNOPSIS")).contains(prototype), "{name}: {prototype}");
        // What other text of the comment names stands in other parts of the page.
        let returned = comment.split("@return").nth(1).unwrap_or_default();
        let told = errnos(&format!("{}{}", section(&page, "ERRORS"), section(&page, "RETURN VALUE")));
        assert_eq!(told, errnos(returned), "{name}");
        let example = page.split(".SH EXAMPLES\n.EX\n").nth(1).expect(name).split(".EE").next().unwrap();
        let shown = example.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\");
        assert_eq!(shown, read(&format!("man/examples/{name}.c")), "{name}");
        assert!(shown.contains(&format!("{name}(")), "{name}: its example does not use it");
    }
    let pages = fs::read_dir(format!("{}/man", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).filter(|name| name.ends_with(".3"));
    let of_functions = |name: &String| functions.iter().any(|(function, ..)| *name == format!("{function}.3"));
    assert_eq!(pages.filter(|name| !of_functions(name)).collect::<Vec<_>>(), ["dss_errors.3"]);
    let general = header.split("ERRORS OF EVERY CALL").nth(1).unwrap().split("*/").next().unwrap();
    assert_eq!(errnos(&section(&page("dss_errors"), "DESCRIPTION")), errnos(general));
}

#[test]
fn readme_has_each_call_and_no_other() {
    let (readme, header) = (read("README.md"), read("include/dss.h"));
    let functions: BTreeSet<String> = functions(&header).into_iter().map(|(name, ..)| name).collect();
    for name in &functions {
        assert!(readme.contains(name), "README.md does not name {name}");
    }
    for document in ["README.md", "man/dss.1", "man/dss.7", "docs/stores.md", "docs/design.md", "docs/performance.md"] {
        let text = read(document);
        let calls = text.match_indices("dss_").filter_map(|(at, _)| {
            let end = text[at..].find(|letter: char| !letter.is_ascii_lowercase() && letter != '_')?;
            text[at + end..].starts_with('(').then(|| text[at..at + end].to_owned())
        });
        for call in calls {
            assert!(functions.contains(&call), "{document} names {call}(), which is not in dss.h");
        }
    }
}

#[test]
fn flags_are_the_same_everywhere() {
    let header = read("include/dss.h");
    let defined: BTreeSet<String> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define DSS_")?.split(' ').next().map(|name| format!("DSS_{name}")))
        .collect();
    let mut told = BTreeSet::new();
    for (name, ..) in functions(&header) {
        told.extend(macros(&page(&name)));
    }
    let families = ["DSS_LOCK_", "DSS_GRANT_", "DSS_FILTER_", "DSS_GUARD_", "DSS_EVENT_", "DSS_REASON_"];
    let missing: Vec<&String> = defined
        .iter()
        .filter(|name| families.iter().any(|family| name.starts_with(family)) && !told.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no page names {missing:?}");
    // Those of the environment are no macros.
    let environment = ["DSS_URI", "DSS_LOCK_OWNER", "DSS_LOCK_ID", "DSS_LOCK_TOKEN"];
    for document in ["README.md", "man/dss.7", "man/dss.1", "docs/stores.md"] {
        told.extend(macros(&read(document)).into_iter().filter(|name| !environment.contains(&name.as_str())));
    }
    let unknown: Vec<&String> = told.iter().filter(|name| !defined.contains(*name) && **name != "DSS_URI").collect();
    let unknown: Vec<_> = unknown.into_iter().filter(|name| !name.starts_with("DSS_TEST_")).collect();
    assert!(unknown.is_empty(), "not in dss.h: {unknown:?}");
}

/// What compares the documents sees a difference.
#[test]
fn differences_are_seen() {
    let header = "\n/**\n * Take.\n *\n * @return 0, -EEXIST if held, -EBUSY.\n */\nint dss_take(struct dss_handle *handle,\n             int a);\n";
    let (name, comment, prototype) = functions(header).remove(0);
    assert_eq!((name.as_str(), prototype.as_str()), ("dss_take", "intdss_take(structdss_handle*handle,inta)"));
    assert_eq!(errnos(&comment).len(), 2);
    let page = ".SH SYNOPSIS\n.B int dss_take(\n.B \"    struct dss_handle *handle,\"\n.B \"    int a);\"\n.SH ERRORS\n.B \\%\\fB\\-EEXIST\\fR\n.SH X\n\\-EBUSY\n";
    assert!(squeezed(&section(page, "SYNOPSIS")).contains(&prototype));
    assert!(!squeezed(&section(&page.replace("int a", "long a"), "SYNOPSIS")).contains(&prototype));
    assert_eq!(errnos(&section(page, "ERRORS")), errnos("-EEXIST"));
    assert_eq!(macros("DSS_A_1 and XDSS_B, DSS_"), BTreeSet::from(["DSS_A_1".to_owned()]));
}
