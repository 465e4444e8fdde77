//! Makes `include/dss.h` from the doc comments and signatures in `src/ffi`, the manual pages of section 3 from that, and gives
//! the shared library its SONAME.

#[path = "build/header.rs"]
mod header;
#[path = "build/man.rs"]
mod man;

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=src/ffi");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=include/dss.h");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=man");
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    link_arguments();
    let header = write_header(Path::new(&root));
    write_pages(Path::new(&root), &header);
}

fn link_arguments() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdss.so.{}", version("MAJOR"));
    // The code of a thread's exit and of fork lives in the library: it must stay mapped after dlclose(3).
    if env::var_os("CARGO_FEATURE_MUTANTS").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

fn version(part: &str) -> String {
    env::var(format!("CARGO_PKG_VERSION_{part}")).expect("cargo sets the version's parts")
}

/// The files with what C sees, in the order in which the header shows it.
const FILES: &[&str] = &["handle.rs", "lock.rs", "lockv.rs", "list.rs", "state.rs", "event.rs", "text.rs"];

fn write_header(root: &Path) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let macros = config.after_includes.take().unwrap_or_default();
    config.after_includes = Some(format!("{}\n{macros}", version_macros()));
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = FILES.iter().fold(builder, |builder, file| builder.with_src(root.join("src/ffi").join(file)));
    let mut header = Vec::new();
    builder.generate().expect("cbindgen reads src/ffi").write(&mut header);
    let header = for_c89(&String::from_utf8(header).expect("cbindgen writes UTF-8"));
    write(root, "include/dss.h", &header);
    header
}

/// One manual page for each call, from the header.
fn write_pages(root: &Path, header: &str) {
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets CARGO_PKG_VERSION");
    for (name, page) in man::pages(&header::Header::read(header), root, &version) {
        write(root, &format!("man/{name}"), &page);
    }
}

/// What is made here is committed, so that it can be read and packaged without a build: it is written only when it differs.
fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    if fs::read_to_string(&path).ok().as_deref() != Some(text) {
        // A source tree that can't be written (a package builder's) keeps what came with it.
        if let Err(error) = fs::write(&path, text) {
            println!("cargo:warning={name} differs from the sources and can't be written: {error}");
        }
    }
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

fn version_macros() -> String {
    let (major, minor, patch) = (version("MAJOR"), version("MINOR"), version("PATCH"));
    format!(
        "\n/** The version of this header, as numbers and as text; dss_version() tells the library's. */\n\
         #define DSS_VERSION_MAJOR {major}\n\
         #define DSS_VERSION_MINOR {minor}\n\
         #define DSS_VERSION_PATCH {patch}\n\
         #define DSS_VERSION \"{major}.{minor}.{patch}\"\n"
    )
}
