//! Gives the shared library its SONAME, and keeps it mapped.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets the version's parts");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdss.so.{major}");
    // The code of a thread's exit and of fork lives in the library: it must stay mapped after dlclose(3).
    if env::var_os("CARGO_FEATURE_MUTANTS").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
