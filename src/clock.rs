//! The one module that reads a clock.

use crate::{model::lock::Tick, mutant, sys};
use std::{
    fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// UTC in microseconds since 1970.
pub fn now_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

/// The monotonic clock, for how long a call may take.
pub fn instant() -> Instant {
    Instant::now()
}

/// The clock of leases, as this process sees it: microseconds since the host's boot, also those that it slept through.
/// Nobody sets it.
pub fn boot_us() -> i64 {
    if mutant::on("boot_clock") { now_us() } else { sys::boot_us() }
}

/// The clock of leases, as all processes of the host see it.
#[derive(Clone, Copy, Debug)]
pub struct LeaseClock {
    boot: i64,
    /// What a time namespace (time_namespaces(7)) adds for its processes.
    offset_us: i64,
}

impl LeaseClock {
    pub fn of_host() -> LeaseClock {
        LeaseClock { boot: boot_number(), offset_us: namespace_offset_us() }
    }

    pub fn now(&self) -> Tick {
        Tick { boot: self.boot, us: boot_us() - self.offset_us }
    }
}

/// Half of the random id that the kernel takes at each boot: as good as the whole at telling two boots apart.
fn boot_number() -> i64 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if mutant::on("boot_id") {
        return 1;
    }
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0) as i64
}

/// The kernel shows the offsets of the namespace that children will be in; only after unshare(2) is that another one than
/// the process's own, and then the first namespace of all is the one that it was in, as good as always.
fn namespace_offset_us() -> i64 {
    let namespace = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    if namespace("time") != namespace("time_for_children") || mutant::on("time_namespace") {
        return 0;
    }
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    offsets.lines().find_map(offset_of_boottime).unwrap_or(0)
}

/// A line of /proc/PID/timens_offsets: `boottime      86400         0`, seconds and nanoseconds.
fn offset_of_boottime(line: &str) -> Option<i64> {
    let mut words = line.split_ascii_whitespace();
    if !matches!(words.next(), Some("boottime" | "7")) {
        return None;
    }
    let seconds: i64 = words.next()?.parse().ok()?;
    let nanoseconds: i64 = words.next()?.parse().ok()?;
    Some(seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        assert_eq!(offset_of_boottime("monotonic           0         0"), None);
        assert_eq!(offset_of_boottime("boottime        86400      5000"), Some(86_400_000_005));
        assert_eq!(offset_of_boottime("boottime           -1         0"), Some(-1_000_000));
        assert_eq!(offset_of_boottime("boottime"), None);
    }

    #[test]
    fn the_clock_of_leases_goes_on() {
        let clock = LeaseClock::of_host();
        let before = clock.now();
        assert!(before.boot != 0 && before.us > 0);
        assert!(clock.now().us >= before.us && clock.now().boot == before.boot);
    }
}
