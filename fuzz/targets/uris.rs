//! Connection strings: each is taken apart or refused, and what is taken apart can be shown.
#![no_main]

use dss::model::uri::{Target, Uri};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match Uri::parse(bytes) {
        Err(error) => assert!(!error.text.is_empty() && !error.text.contains('\0')),
        Ok(uri) => {
            assert!(!uri.shown().is_empty() || matches!(uri.target, Target::Postgres(_)));
            // No word becomes a file.
            let is_file = matches!(uri.target, Target::Sqlite { .. });
            assert!(!is_file || bytes.starts_with(b"sqlite:") || bytes.contains(&b'/'));
        }
    }
    if std::env::var_os("DSS_FUZZ_PLANTED").is_some() && bytes.starts_with(b"etcd://dss!") {
        panic!("the planted defect");
    }
});
