//! The one module that reads a clock.

use crate::{model::lock::Tick, mutant, sys};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
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

/// The monotonic clock as the kernel read it last, some milliseconds ago at most: a fifth of the price.
pub fn coarse_ms() -> i64 {
    sys::coarse_ms()
}

/// The clock of leases, as this process sees it: microseconds since the host's boot, also those that it slept through.
/// Nobody sets it.
pub fn boot_us() -> i64 {
    if mutant::on("boot_clock") { now_us() } else { sys::boot_us() }
}

/// A process that can't read the kernel's boot id.
const BOOT_UNKNOWN: i64 = 0;
/// Readings of one moment may differ by so much between processes: time namespaces round.
const SKEW_US: i64 = 1_000_000;

/// The clock of leases, as all processes of the host see it.
#[derive(Clone, Copy, Debug)]
pub struct LeaseClock {
    boot: i64,
    /// What a time namespace (time_namespaces(7)) adds for its processes.
    offset_us: i64,
}

impl LeaseClock {
    /// Fails if the system does not say what a time namespace adds: leases would end early, for
    /// this process or for others.
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

    pub fn knows_boot(&self) -> bool {
        self.boot != BOOT_UNKNOWN
    }

    /// Decides whether a reading that another process stored is of this boot, if one of the two
    /// does not know its boot. Call it after the reading was read: only then does a clock that is
    /// behind it prove another boot. Without that proof the reading is of this boot, since a doubt
    /// must not end a lease.
    pub fn resolve(&self, stored: Tick) -> Tick {
        let both_known = stored.boot != BOOT_UNKNOWN && self.knows_boot();
        if both_known || mutant::on("boot_doubt") {
            return stored;
        }
        let is_behind = self.now().us.saturating_add(SKEW_US) < stored.us && !mutant::on("boot_behind");
        Tick { boot: if is_behind { !self.boot } else { self.boot }, us: stored.us }
    }
}

/// None if the file does not exist.
fn if_exists<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Half of the random id that the kernel takes at each boot: as good as the whole at telling two
/// boots apart. Unknown if /proc is not mounted, or if what is there is not the kernel's own file:
/// containers mount an id of theirs over it.
fn boot_number() -> io::Result<i64> {
    let file = if_exists(File::open("/proc/sys/kernel/random/boot_id"))?;
    if mutant::on("boot_id") {
        return Ok(1);
    }
    let Some(mut file) = file else { return Ok(BOOT_UNKNOWN) };
    let kind_is_proc = sys::is_proc(&file)? || mutant::on("boot_id_kind");
    let is_mounted = sys::is_mount_point(&file)? && !mutant::on("boot_id_mounted");
    if !kind_is_proc || is_mounted {
        return Ok(BOOT_UNKNOWN);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    Ok(u64::from_str_radix(&digits, 16).map_or(BOOT_UNKNOWN, |number| number as i64))
}

/// Fails if it can't be known.
fn namespace_offset_us() -> io::Result<i64> {
    let namespace = |name| if_exists(fs::read_link(format!("/proc/self/ns/{name}")));
    let Some(own) = namespace("time")? else {
        // A kernel without time namespaces, or a process without /proc.
        let adds_nothing = namespace("mnt")?.is_some() || sys::is_in_first_time_namespace()?;
        return if adds_nothing || mutant::on("time_unknown") { Ok(0) } else { Err(unknown_offset()) };
    };
    let first = format!("time:[{}]", sys::FIRST_TIME_NAMESPACE);
    if own.as_os_str() == first.as_str() || mutant::on("time_namespace") {
        return Ok(0);
    }
    // The kernel shows the offsets of the namespace that children will be in: after unshare(2),
    // another one.
    if Some(own) != namespace("time_for_children")? && !mutant::on("time_of_children") {
        return Err(unknown_offset());
    }
    let offsets = fs::read_to_string("/proc/self/timens_offsets")?;
    offsets.lines().find_map(offset_of_boottime).ok_or_else(unknown_offset)
}

fn unknown_offset() -> io::Error {
    let text = "this process may be in a time namespace whose offset it can't read: mount /proc; after \
                unshare(CLONE_NEWTIME), open the store in a child process";
    io::Error::new(ErrorKind::NotFound, text)
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
        assert!(before.us > 0);
        assert!(clock.now().us >= before.us && clock.now().boot == before.boot);
    }

    /// A container's boot id was not the kernel's, and a live lease of the host was over for it.
    #[test]
    fn a_doubt_ends_no_lease() {
        let (known, unknown) = (LeaseClock { boot: 7, offset_us: 0 }, LeaseClock { boot: BOOT_UNKNOWN, offset_us: 0 });
        let us = known.now().us;
        let is_of_this_boot = |clock: &LeaseClock, stored| clock.resolve(stored).boot == clock.boot;
        for (clock, boot) in [(&known, BOOT_UNKNOWN), (&unknown, 7), (&unknown, BOOT_UNKNOWN)] {
            for us in [i64::MIN, 0, us, us + SKEW_US] {
                assert!(is_of_this_boot(clock, Tick { boot, us }), "{boot} {us}");
            }
            for us in [us + 3600 * 1_000_000, i64::MAX] {
                assert!(!is_of_this_boot(clock, Tick { boot, us }), "{boot} {us}");
            }
        }
        for boot in [7, 8] {
            for us in [0, i64::MAX] {
                assert_eq!(known.resolve(Tick { boot, us }), Tick { boot, us });
            }
        }
    }
}
