//! The leases of etcd that entries live with.

use super::{api::Granted, errors::Trouble, http::Client};
use crate::{clock, sys};
use std::time::{Duration, Instant};

/// A lease that was made for a lock which turned out to be held: the next try for one of the same length may have it.
struct Spare {
    lease: Granted,
    ttl_s: u64,
    made: Instant,
}

#[derive(Default)]
pub struct Leases {
    spare: Option<Spare>,
}

/// For how long a spare lease is kept.
const SPARE_FOR: Duration = Duration::from_secs(1);

/// How long one is waited for that nobody needs any more: it ends by itself too.
pub const REVOKED_WITHIN: Duration = Duration::from_millis(500);

impl Leases {
    /// A lease of at least that length, which begins now.
    pub fn grant(&mut self, client: &Client, ttl_ms: u64, deadline: Instant) -> Result<Granted, Trouble> {
        let ttl_s = ttl_ms.div_ceil(1000);
        let spare = self.spare.take_if(|spare| spare.ttl_s == ttl_s);
        if let Some(spare) = spare
            && spare.made + SPARE_FOR > clock::instant()
            && let Some(lease) = client.keep_alive(spare.lease.id, deadline)?
        {
            return Ok(lease);
        }
        client.grant(random_id()?, ttl_s, deadline)
    }

    /// Gives back leases that were not needed.
    pub fn give_back(&mut self, client: &Client, unused: Vec<(Granted, u64)>, deadline: Instant) {
        for (lease, ttl_ms) in unused {
            let spare = Spare { lease, ttl_s: ttl_ms.div_ceil(1000), made: clock::instant() };
            if let Some(former) = self.spare.replace(spare) {
                revoke(client, former.lease.id, deadline);
            }
        }
    }

    pub fn close(&mut self, client: &Client, deadline: Instant) {
        self.spare.take().iter().for_each(|spare| revoke(client, spare.lease.id, deadline));
    }
}

/// One try: whatever becomes of it, no lock lives with this lease any more.
pub fn revoke(client: &Client, id: i64, deadline: Instant) {
    let _ = client.revoke(id, deadline.min(clock::instant() + REVOKED_WITHIN));
}

/// Chosen here, so that a lost answer leaves no lease of unknown number.
pub fn random_id() -> Result<i64, Trouble> {
    match sys::random_bytes() {
        Ok(bytes) => Ok((i64::from_ne_bytes(bytes) & i64::MAX).max(1)),
        Err(error) => {
            use crate::model::error::{Code, Error};
            let text = format!("the kernel gives no random numbers: {error}");
            Err(Trouble::NotSent(Error::new(Code::Io, text)))
        }
    }
}
