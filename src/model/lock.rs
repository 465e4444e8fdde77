//! What a store keeps of a lock: the entry of one that is held, or the trace of one that ended badly.

use super::name::{LockId, Note, Owner};
use crate::mutant;
use std::sync::Arc;

/// 128 bits that name one attempt of one call. They are stored with the entry that the attempt makes, so that a
/// retry after a lost answer recognises its own work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attempt(pub [u8; 16]);

/// A reading of the clock that leases are counted on. It only counts forward, in microseconds; it begins anew with each
/// boot of the host, so readings of different boots can't be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tick {
    pub boot: i64,
    pub us: i64,
}

/// How a grant of a lock came to its end. The numbers are what stores keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum End {
    /// By an unlock of its owner; also where there was no grant before.
    Unlocked = 0,
    Expired = 1,
    /// Without its owner: by an unlock by force, or a clean.
    Forced = 2,
    Transferred = 3,
    Resumed = 4,
}

impl End {
    pub fn of_number(number: i64) -> End {
        match number {
            1 => End::Expired,
            2 => End::Forced,
            3 => End::Transferred,
            4 => End::Resumed,
            _ => End::Unlocked,
        }
    }

    /// Whether what the lock protected may be half done.
    pub fn is_bad(self) -> bool {
        matches!(self, End::Expired | End::Forced)
    }
}

/// A lock that was granted, as the store keeps it. Times with `_us` are UTC in microseconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub owner: Owner,
    /// The fence: greater than that of every earlier grant of this lock id.
    pub token: u64,
    pub attempt: Attempt,
    pub taken_us: i64,
    pub refreshed_us: i64,
    /// When it was taken or last refreshed, on the clock of leases.
    pub leased: Tick,
    /// 0: it never expires.
    pub ttl_ms: u64,
    /// How the grant before this one ended.
    pub before: End,
    pub client: Arc<str>,
    pub note: Note,
}

impl Entry {
    /// How long the lease still runs, in microseconds; None if it never ends, and 0 or less if it is over. A lease ends
    /// with the boot of the host that it was counted in.
    pub fn left_us(&self, now: Tick) -> Option<i64> {
        match self.ttl_ms {
            0 => None,
            _ if self.leased.boot != now.boot => Some(0),
            ttl_ms => {
                let end = i128::from(self.leased.us) + i128::from(ttl_ms) * 1000;
                Some((end - i128::from(now.us)).clamp(i64::MIN.into(), i64::MAX.into()) as i64)
            }
        }
    }

    pub fn is_live(&self, now: Tick) -> bool {
        let ends_early_us = if mutant::on("lease_early") { 300_000 } else { 0 };
        self.left_us(now).is_none_or(|left| left > ends_early_us)
    }

    /// How long ago it was taken or last refreshed. The wall clock, which people set, is asked only about another boot.
    pub fn age_us(&self, now: Tick, now_us: i64) -> i64 {
        if self.leased.boot == now.boot {
            now.us.saturating_sub(self.leased.us)
        } else {
            now_us.saturating_sub(self.refreshed_us)
        }
    }
}

/// What a store keeps under a lock id. What is not there was unlocked, or never taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    Entry(Entry),
    /// Nobody holds the lock; its last grant ended so, and the next holder shall know.
    Trace {
        token: u64,
        end: End,
    },
}

/// Which locks a list shows, or a clean removes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Empty: any.
    pub id: Vec<u8>,
    pub id_is_prefix: bool,
    /// Empty: any.
    pub owner: Vec<u8>,
    pub owner_is_prefix: bool,
    pub min_age_ms: u64,
}

impl Filter {
    /// Whether it lets every lock through.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty() && self.owner.is_empty() && self.min_age_ms == 0
    }

    pub fn matches(&self, id: &LockId, entry: &Entry, now: Tick, now_us: i64) -> bool {
        let fits = |pattern: &[u8], prefix: bool, name: &[u8]| {
            pattern.is_empty() || if prefix { name.starts_with(pattern) } else { name == pattern }
        };
        let age_us = i128::from(entry.age_us(now, now_us));
        fits(&self.id, self.id_is_prefix, id.as_bytes())
            && fits(&self.owner, self.owner_is_prefix, entry.owner.as_bytes())
            && (self.min_age_ms == 0 || age_us >= i128::from(self.min_age_ms) * 1000)
    }

    /// Whether no id from this one on can match: lists go up the ids.
    pub fn is_beyond(&self, id: &LockId) -> bool {
        let id = id.as_bytes();
        match self.id_is_prefix {
            _ if self.id.is_empty() => false,
            true => id > &self.id[..] && !id.starts_with(&self.id),
            false => id > &self.id[..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(owner: &str, us: i64, ttl_ms: u64) -> Entry {
        Entry {
            owner: Owner::new(owner.as_bytes()).unwrap(),
            token: 1,
            attempt: Attempt([1; 16]),
            taken_us: 0,
            refreshed_us: 0,
            leased: Tick { boot: 1, us },
            ttl_ms,
            before: End::Unlocked,
            client: "".into(),
            note: Note::default(),
        }
    }

    #[test]
    fn a_lease_ends_on_time_or_with_the_boot() {
        let lease = entry("a", 1_000_000, 1000);
        let at = |boot, us| lease.left_us(Tick { boot, us });
        assert_eq!(at(1, 1_000_000), Some(1_000_000));
        assert_eq!(at(1, 1_999_999), Some(1));
        assert!(lease.is_live(Tick { boot: 1, us: 1_999_999 }) && !lease.is_live(Tick { boot: 1, us: 2_000_000 }));
        assert_eq!(at(2, 0), Some(0));
        assert!(!lease.is_live(Tick { boot: 2, us: 0 }));
        assert_eq!(entry("a", 0, 0).left_us(Tick { boot: 9, us: i64::MAX }), None);
        assert_eq!(entry("a", i64::MAX, u64::MAX).left_us(Tick { boot: 1, us: i64::MIN }), Some(i64::MAX));
    }

    #[test]
    fn an_age_is_told_by_the_clock_that_nobody_sets() {
        let held = entry("a", 5_000_000, 0);
        assert_eq!(held.age_us(Tick { boot: 1, us: 7_000_000 }, 3_600_000_000), 2_000_000);
        assert_eq!(held.age_us(Tick { boot: 2, us: 0 }, 3_600_000_000), 3_600_000_000);
    }

    #[test]
    fn filters_choose() {
        let now = Tick { boot: 1, us: 10_000_000 };
        let id = |name: &str| LockId::new(name.as_bytes()).unwrap();
        let matches = |filter: &Filter, name: &str| filter.matches(&id(name), &entry("mover-1", 0, 0), now, 0);
        let exact = Filter { id: b"drive".to_vec(), ..Filter::default() };
        assert!(matches(&exact, "drive") && !matches(&exact, "drive3"));
        assert!(exact.is_beyond(&id("drive3")) && !exact.is_beyond(&id("drive")) && !exact.is_beyond(&id("a")));
        let prefix = Filter { id_is_prefix: true, ..exact };
        assert!(matches(&prefix, "drive3") && !matches(&prefix, "tape"));
        assert!(prefix.is_beyond(&id("drivf")) && !prefix.is_beyond(&id("drive3")) && !prefix.is_beyond(&id("a")));
        let owner = Filter { owner: b"mover-1".to_vec(), ..Filter::default() };
        assert!(matches(&owner, "x") && !matches(&Filter { owner: b"mover".to_vec(), ..owner.clone() }, "x"));
        assert!(matches(&Filter { owner: b"mover".to_vec(), owner_is_prefix: true, ..owner }, "x"));
        assert!(matches(&Filter { min_age_ms: 10_000, ..Filter::default() }, "x"));
        assert!(!matches(&Filter { min_age_ms: 10_001, ..Filter::default() }, "x"));
        assert!(Filter::default().is_empty() && matches(&Filter::default(), "x"));
    }
}
