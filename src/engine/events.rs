//! What happened to kept locks, until the host asks for it.

use crate::{
    model::{
        error::{Code, Error},
        lock::End,
        name::LockId,
    },
    sys::events::Signpost,
};
use std::{collections::VecDeque, mem, os::fd::RawFd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Not renewed for two thirds of its ttl.
    AtRisk,
    /// Renewed again.
    Safe,
    Lost(End),
    /// Lost in a forked child: only its parent, which took the lock, renews it.
    Forked,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub kind: Kind,
    pub id: LockId,
    pub token: u64,
    pub left_ms: i64,
}

/// A host that never asks shall not lose its memory to this: then the oldest go.
const EVENTS_MAX: usize = 65_536;

#[derive(Default)]
pub struct Events {
    waiting: VecDeque<Event>,
    /// Raised while any wait; made when the host asks for it.
    signpost: Option<Signpost>,
}

impl Events {
    pub fn push(&mut self, event: Event) {
        if event.kind == Kind::AtRisk {
            self.forget_an_earlier_risk(&event);
        }
        if self.waiting.len() == EVENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(event);
        self.signpost.iter().for_each(Signpost::raise);
    }

    /// A lock that is at risk and safe again, time after time, takes room for one such turn.
    fn forget_an_earlier_risk(&mut self, event: &Event) {
        let same = |other: &Event| other.id == event.id && other.token == event.token;
        if self.waiting.iter().any(|other| same(other) && other.kind == Kind::Safe) {
            self.waiting.retain(|other| !same(other));
        }
    }

    /// For a forked child, which has an event descriptor of its own. The parent's stays open: its
    /// number may stand in a poll set of the host, and must not become that of another file.
    /// Nothing is allocated.
    pub fn leave_descriptor_to_parent(&mut self) {
        mem::forget(self.signpost.take());
    }

    /// Drops the [`Kind::Forked`] event of a lock, if it still waits.
    pub fn forget_forked(&mut self, id: &LockId) {
        self.waiting.retain(|event| event.kind != Kind::Forked || event.id != *id);
        self.lower_if_none_waits();
    }

    pub fn pop(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front();
        self.lower_if_none_waits();
        event
    }

    fn lower_if_none_waits(&self) {
        if self.waiting.is_empty() {
            self.signpost.iter().for_each(Signpost::lower);
        }
    }

    pub fn fd(&mut self) -> Result<RawFd, Error> {
        if let Some(signpost) = self.signpost.as_ref().filter(|signpost| signpost.is_there()) {
            return Ok(signpost.fd());
        }
        let signpost = Signpost::new().map_err(|error| {
            let code = error.raw_os_error().map_or(Code::Io, Code::of_errno);
            Error::new(code, format!("no descriptor for events can be had: {error}"))
        })?;
        if !self.waiting.is_empty() {
            signpost.raise();
        }
        Ok(self.signpost.insert(signpost).fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, token: u64) -> Event {
        Event { kind, id: LockId::new(b"drive3").unwrap(), token, left_ms: 0 }
    }

    #[test]
    fn what_is_never_read_takes_bounded_room() {
        let mut events = Events::default();
        for _ in 0..1000 {
            events.push(event(Kind::AtRisk, 1));
            events.push(event(Kind::Safe, 1));
        }
        events.push(event(Kind::AtRisk, 1));
        events.push(event(Kind::Lost(End::Expired), 1));
        let kinds: Vec<Kind> = std::iter::from_fn(|| events.pop()).map(|event| event.kind).collect();
        assert_eq!(kinds, [Kind::AtRisk, Kind::Lost(End::Expired)]);
        (0..EVENTS_MAX as u64 + 10).for_each(|token| events.push(event(Kind::Lost(End::Forced), token)));
        assert_eq!(events.pop().unwrap().token, 10, "the oldest go first");
    }
}
