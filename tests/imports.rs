//! Modules use each other in one direction: who reads one reads what it stands on, and nothing that
//! stands on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Modules that still use each other in a circle. The list may only become shorter.
const KNOWN_CYCLES: &[&str] = &[
    "ffi::guard ffi::handle",
    "store::etcd store::etcd::known store::etcd::news store::etcd::queue store::etcd::values",
    "store::postgres::answers store::postgres::reads store::postgres::server store::postgres::state \
     store::postgres::ways",
];

/// Folders, from what stands on others to what stands on nothing.
const LAYERS: &[&str] = &["ffi", "engine", "store", "shared", "model"];

type Modules = BTreeMap<String, BTreeSet<String>>;

/// The text of each module, without its tests and comments.
fn texts(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        if path.is_dir() {
            if name != "bin" {
                texts(&path, &inner, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") && !["lib", "tests", "scripted"].contains(&&*name) {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.insert(if name == "mod" { module.into() } else { inner }, lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// What `a::{b, c::{d, e}}` names: `a::b`, `a::c::d` and `a::c::e`.
fn flatten(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        paths.push(format!("{prefix}{}", tree.split(" as ").next().unwrap().trim()));
        return;
    };
    let (prefix, rest) = (format!("{prefix}{}", head.trim()), rest.strip_suffix('}').unwrap());
    let (mut depth, mut begin) = (0, 0);
    for (place, letter) in rest.char_indices().chain([(rest.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !rest[begin..place].trim().is_empty() {
                    flatten(&prefix, &rest[begin..place], paths);
                }
                begin = place + 1;
            }
            _ => {}
        }
    }
}

/// All paths in a text that begin at the crate, or at the module above.
fn paths_in(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let statement = |line: &str| ["use ", "pub use ", "pub(super) use "].iter().any(|begin| line.starts_with(begin));
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if statement(line.trim_start()) {
            let mut whole = line.trim().to_owned();
            while !whole.ends_with(';') {
                whole.push_str(lines.next().unwrap().trim());
            }
            let tree = whole.split_once("use ").unwrap().1.trim_end_matches(';').to_owned();
            flatten("", &tree, &mut paths);
        } else {
            for begin in ["crate::", "super::"] {
                let ends = |letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':';
                let starts = line.match_indices(begin).filter(|(place, _)| !line[..*place].ends_with("::"));
                paths.extend(starts.map(|(place, _)| line[place..].split(ends).next().unwrap().to_owned()));
            }
        }
    }
    paths
}

/// The module that a path leads to; None if it is no module of ours.
fn resolve(module: &str, path: &str, texts: &BTreeMap<String, String>) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut parts: Vec<&str> = path.split("::").filter(|part| *part != "self").collect();
    match *parts.first()? {
        "crate" => {
            at.clear();
            parts.remove(0);
        }
        "super" => {
            while parts.first() == Some(&"super") {
                at.pop();
                parts.remove(0);
            }
        }
        first if !texts.contains_key(&format!("{module}::{first}")) => return None,
        _ => {}
    }
    let mut deeper = (0..=parts.len()).map(|count| [&at[..], &parts[..count]].concat().join("::"));
    deeper.rfind(|name| texts.contains_key(name))
}

fn modules() -> Modules {
    let mut found = BTreeMap::new();
    texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let uses = |(module, text): (&String, &String)| {
        let used = paths_in(text).into_iter().filter_map(|path| resolve(module, &path, &found));
        (module.clone(), used.filter(|other| other != module).collect())
    };
    found.iter().map(uses).collect()
}

/// All that a module stands on.
fn below(module: &str, modules: &Modules) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![module.to_owned()]);
    while let Some(module) = next.pop() {
        for other in &modules[&module] {
            if seen.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    seen
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let modules = modules();
    assert!(modules.len() > 100 && modules["store::open"].contains("store::memory"), "{modules:?}");
    let below: BTreeMap<&String, BTreeSet<String>> =
        modules.keys().map(|module| (module, below(module, &modules))).collect();
    let cycles: BTreeSet<String> = modules
        .keys()
        .filter(|module| below[module].contains(*module))
        .map(|module| {
            let others = modules.keys().filter(|other| below[module].contains(*other) && below[other].contains(module));
            others.cloned().collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(cycles, KNOWN_CYCLES.iter().map(|cycle| cycle.to_string()).collect());
}

#[test]
fn no_module_uses_one_of_a_layer_above() {
    let layer = |module: &str| LAYERS.iter().position(|layer| module.split("::").next() == Some(layer));
    for (module, uses) in modules() {
        for other in uses {
            if let (Some(own), Some(others)) = (layer(&module), layer(&other)) {
                assert!(own <= others, "{module} uses {other}, which stands on it");
            }
        }
    }
}
