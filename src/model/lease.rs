//! Leases: how long one may be, and when its holder has to stop.

use super::error::{Code, Error};

/// The shortest lease.
pub const TTL_MIN_MS: u64 = 1000;
/// The longest lease: 366 days.
pub const TTL_MAX_MS: u64 = 366 * 86_400_000;

pub fn check_ttl(ttl_ms: u64) -> Result<(), Error> {
    if ttl_ms != 0 && !(TTL_MIN_MS..=TTL_MAX_MS).contains(&ttl_ms) {
        let text = format!(
            "ttl_ms is {ttl_ms}: give {TTL_MIN_MS} to {TTL_MAX_MS} (a second to 366 days), or 0 for a lock that never \
             expires"
        );
        return Err(Error::new(Code::OutOfRange, text));
    }
    Ok(())
}

/// The end of a lease as its holder counts it: from before the request left, so it is never later than the store's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(Option<i64>);

impl Deadline {
    pub fn of(asked_us: i64, ttl_ms: u64) -> Deadline {
        Deadline((ttl_ms != 0).then(|| asked_us.saturating_add_unsigned(ttl_ms.saturating_mul(1000))))
    }

    /// The time left in whole milliseconds; None if less than one is, and i64::MAX if the lease never ends.
    pub fn left_ms(self, now_us: i64) -> Option<i64> {
        match self.0 {
            None => Some(i64::MAX),
            Some(end_us) => Some(end_us.saturating_sub(now_us) / 1000).filter(|left| *left > 0),
        }
    }

    /// When the lease ends, on the holder's clock.
    pub fn end_us(self) -> Option<i64> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        for good in [0, 1000, 31_622_400_000] {
            assert!(check_ttl(good).is_ok(), "{good}");
        }
        for bad in [1, 999, 31_622_400_001, u64::MAX] {
            assert_eq!(check_ttl(bad).unwrap_err().code, Code::OutOfRange, "{bad}");
        }
    }

    #[test]
    fn a_deadline_is_never_told_as_zero() {
        let deadline = Deadline::of(5_000_000, 1000);
        assert_eq!(deadline.left_ms(5_000_000), Some(1000));
        assert_eq!(deadline.left_ms(5_999_000), Some(1));
        assert_eq!(deadline.left_ms(5_999_001), None);
        assert_eq!(deadline.left_ms(i64::MAX), None);
        assert_eq!(Deadline::of(0, 0).left_ms(i64::MAX), Some(i64::MAX));
    }
}
