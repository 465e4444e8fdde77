//! Connection strings: whatever they are, they are taken apart or refused.
#![no_main]

use dss::model::uri::Uri;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = Uri::parse(bytes) {
        assert!(!error.text.is_empty() && !error.text.contains('\0'));
    }
    if std::env::var_os("DSS_FUZZ_PLANTED").is_some() && bytes.starts_with(b"etcd://dss!") {
        panic!("the planted defect");
    }
});
