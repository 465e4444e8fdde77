//! The one module that reads a clock.

use crate::{model::lock::Tick, mutant, sys};
use std::{
    fs, io,
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
    /// Fails where the system does not tell now what it would tell another process: with another boot's number, the leases of
    /// all others would be over for this one, and its own for them.
    pub fn of_host() -> io::Result<LeaseClock> {
        Ok(LeaseClock { boot: boot_number()?, offset_us: namespace_offset_us()? })
    }

    /// For leases that no other process sees.
    pub fn of_process() -> LeaseClock {
        LeaseClock { boot: 1, offset_us: 0 }
    }

    pub fn now(&self) -> Tick {
        Tick { boot: self.boot, us: boot_us() - self.offset_us }
    }
}

/// What /proc tells; nothing where it is not mounted, or does not have that. Whatever else fails passes by.
fn of_proc<T: Default>(told: io::Result<T>) -> io::Result<T> {
    match told {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        told => told,
    }
}

/// Half of the random id that the kernel takes at each boot: as good as the whole at telling two boots apart.
fn boot_number() -> io::Result<i64> {
    let text = of_proc(fs::read_to_string("/proc/sys/kernel/random/boot_id"))?;
    if mutant::on("boot_id") {
        return Ok(1);
    }
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    Ok(u64::from_str_radix(&digits, 16).unwrap_or(0) as i64)
}

/// The kernel shows the offsets of the namespace that children will be in; only after unshare(2) is that another one than
/// the process's own, and then the first namespace of all is the one that it was in, as good as always.
fn namespace_offset_us() -> io::Result<i64> {
    let namespace = |name| of_proc(fs::read_link(format!("/proc/self/ns/{name}")));
    if namespace("time")? != namespace("time_for_children")? || mutant::on("time_namespace") {
        return Ok(0);
    }
    let offsets = of_proc(fs::read_to_string("/proc/self/timens_offsets"))?;
    Ok(offsets.lines().find_map(offset_of_boottime).unwrap_or(0))
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
        let clock = LeaseClock::of_host().unwrap();
        let before = clock.now();
        assert!(before.boot != 0 && before.us > 0);
        assert!(clock.now().us >= before.us && clock.now().boot == before.boot);
    }
}
