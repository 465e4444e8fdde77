//! What servers answer, what stores keep, and what processes leave for each other: bytes that this process did not write.
#![no_main]

use dss::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => fuzzing::etcd_answer(rest),
        1 => fuzzing::etcd_record(rest),
        2 => fuzzing::postgres_answer(rest),
        _ => fuzzing::published(rest),
    }
});
