//! The grants that a forked child inherits. Its handle does not hold them, and only its parent
//! renews those that it keeps.

use super::{Holdings, Inherited};
use crate::{
    engine::events::{Event, Kind},
    model::{
        error::{Code, Error},
        name::LockId,
    },
    mutant,
};
use std::mem;

impl Holdings {
    /// The holdings of a forked child, made from those of its parent: it holds nothing, the events
    /// of the parent stay with the parent, and each lock that the parent keeps gives one event. A
    /// child passes on what it has inherited itself.
    pub fn in_forked_child(mut self) -> Holdings {
        if mutant::on("fork_lost") {
            return self;
        }
        let mut child = Holdings::default();
        if mutant::on("fork_pending") {
            child.events = mem::take(&mut self.events);
        }
        if !mutant::on("fork_twice") {
            child.inherited = self.inherited;
        }
        for (id, held) in self.held {
            // A refresh in this process makes a grant known to it again, but does not renew it from
            // then on.
            let kept_before = child.inherited.get(&id).is_some_and(|former| former.kept && former.token == held.token);
            let kept = kept_before || self.kept.contains_key(&id);
            child.inherited.insert(id, Inherited { token: held.token, kept });
        }
        for (id, inherited) in child.inherited.iter().filter(|(_, inherited)| inherited.kept) {
            let (id, token) = (id.clone(), inherited.token);
            child.events.push(Event { kind: Kind::Forked, id, token, left_ms: 0 });
        }
        child
    }

    /// This process has taken or released the lock by a grant with this token. With `took_over` it
    /// has itself ended the grant before, which is then no loss to report.
    pub(super) fn end_inherited(&mut self, id: &LockId, token: u64, took_over: bool) {
        let Some(inherited) = self.inherited.remove(id) else { return };
        if (took_over || inherited.token == token) && !mutant::on("fork_retaken") {
            self.events.forget_forked(id);
        }
    }

    /// Why this process has no time left for a grant that it inherited; None if it inherited no
    /// such grant.
    pub fn inherited_error(&self, id: &LockId, token: u64) -> Option<Error> {
        let inherited = self.inherited.get(id).filter(|inherited| token == 0 || token == inherited.token)?;
        let text = match inherited.kept {
            true => format!(
                "lock {id} is kept by a process that this one was forked from, and only that process \
                 renews it: take it anew in this process with DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE"
            ),
            false => format!(
                "lock {id} was taken before this process was forked, and this process has not \
                 refreshed it; the fork itself ended no lock: dss_lock_refresh tells whether it is \
                 still held, and makes its time known in this process"
            ),
        };
        Some(Error::new(Code::NoLock, text))
    }
}
