//! Makes `include/dss.h` from the doc comments and signatures in `src/ffi`, and the manual pages of
//! section 3 from that.
//!
//!     cargo run -p xtask header    writes them
//!     cargo run -p xtask check     fails if they are not what the sources say

mod header;
mod man;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the package");
    let version = version(root);
    let header = make_header(root, &version);
    let mut files = vec![(root.join("include/dss.h"), header.clone())];
    let pages = man::pages(&header::Header::read(&header), root, &version);
    files.extend(pages.into_iter().map(|(name, page)| (root.join("man").join(name), page)));
    let stale = files.iter().filter(|(path, text)| fs::read_to_string(path).ok().as_deref() != Some(text));
    match env::args().nth(1).as_deref() {
        Some("header") => {
            stale.for_each(|(path, text)| fs::write(path, text).expect("the source tree can be written"));
            ExitCode::SUCCESS
        }
        Some("check") => refuse_stale(&stale.map(|(path, _)| path).collect::<Vec<_>>()),
        _ => {
            eprintln!("usage: xtask header | check");
            ExitCode::from(2)
        }
    }
}

fn refuse_stale(stale: &[&PathBuf]) -> ExitCode {
    for path in stale {
        eprintln!("{} is not what the sources say: run `make header`", path.display());
    }
    if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// That of the library.
fn version(root: &Path) -> String {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).expect("Cargo.toml has a version");
    line.trim_end_matches('"').to_owned()
}

/// The files with what C sees, in the order in which the header shows it.
const FILES: &[&str] = &["handle.rs", "lock.rs", "lockv.rs", "list.rs", "state.rs", "event.rs", "text.rs"];

fn make_header(root: &Path, version: &str) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let macros = config.after_includes.take().unwrap_or_default();
    config.after_includes = Some(format!("{}\n{macros}", version_macros(version)));
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = FILES.iter().fold(builder, |builder, file| builder.with_src(root.join("src/ffi").join(file)));
    let mut header = Vec::new();
    builder.generate().expect("cbindgen reads src/ffi").write(&mut header);
    for_c89(&String::from_utf8(header).expect("cbindgen writes UTF-8"))
}

/// C89 has no `//` comments; and no line ends in spaces.
fn for_c89(header: &str) -> String {
    let header = header.replace("// __cplusplus", "/* __cplusplus */").replace("  // extern \"C\"", "");
    header.lines().map(|line| wrapped(&line.trim_end().replace("  // DSS_H", " /* DSS_H */")) + "\n").collect()
}

/// A prototype that is too long for a line goes on under its first parameter.
fn wrapped(line: &str) -> String {
    const LONGEST: usize = 120;
    let is_prototype = !line.starts_with([' ', '#']) && line.ends_with(");");
    let (Some(open), true) = (line.find('('), is_prototype && line.len() > LONGEST) else { return line.to_owned() };
    let (mut text, mut width) = (String::new(), 0);
    for parameter in line.split_inclusive(", ") {
        if width + parameter.trim_end().len() > LONGEST {
            text.truncate(text.trim_end().len());
            text += "\n";
            text += &" ".repeat(open + 1);
            width = open + 1;
        }
        text += parameter;
        width += parameter.len();
    }
    text
}

fn version_macros(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').collect();
    let [major, minor, patch] = parts[..] else { panic!("the version {version} has not three parts") };
    format!(
        "\n/** The version of this header, as numbers and as text; dss_version() tells the library's. */\n\
         #define DSS_VERSION_MAJOR {major}\n\
         #define DSS_VERSION_MINOR {minor}\n\
         #define DSS_VERSION_PATCH {patch}\n\
         #define DSS_VERSION \"{major}.{minor}.{patch}\"\n"
    )
}
