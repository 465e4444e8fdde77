//! `memory:` that does what a script says.

use crate::{
    engine::commit::engine::Engine,
    model::{
        error::{Code, Error},
        request::{Outcome, Request},
        state::KeyInfo,
    },
    shared::{combiner::PublicationList, wait_queue::Waiters},
    store::{
        contract::{Fault, Pages, Scan, Snapshot, Store},
        memory::Memory,
        pulse::Pulse,
    },
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

/// What the store does with a batch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Deed {
    Apply,
    Busy,
    Fail,
    /// No answer comes until the time is up.
    Silence,
    /// The batch is applied, but the answer is lost.
    LoseAnswer,
    /// The batch is lost, and nobody can tell.
    LoseRequest,
    Panic,
}

#[derive(Default)]
pub struct Script {
    pub deeds: VecDeque<Deed>,
    /// What is done when the script is at its end.
    pub then: Option<Deed>,
    pub batches: Vec<usize>,
}

/// `memory:` behind a script, which the test keeps in its hands.
pub struct Scripted {
    pub memory: Memory,
    pub script: Arc<Mutex<Script>>,
    pub publications: Option<Arc<PublicationList>>,
    pub sets_apart: bool,
}

impl Store for Scripted {
    fn apply(&mut self, batch: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        let deed = {
            let mut script = self.script.lock().unwrap();
            script.batches.push(batch.len());
            script.deeds.pop_front().or(script.then).unwrap_or(Deed::Apply)
        };
        let error = |code| Error::new(code, "as the script says");
        let sets = batch.iter().filter(|request| matches!(request, Request::Set(_))).count();
        assert!(!self.sets_apart || sets == 0 || sets == batch.len(), "values and locks in one batch");
        match deed {
            Deed::Apply => self.memory.apply(batch, deadline),
            Deed::Busy => Err(Fault::Busy(error(Code::Busy))),
            Deed::Fail => Err(Fault::Failed(error(Code::NoSpace))),
            Deed::Silence => {
                thread::sleep(deadline.saturating_duration_since(Instant::now()));
                Err(Fault::Failed(error(Code::Unreachable)))
            }
            Deed::LoseAnswer => {
                self.memory.apply(batch, deadline)?;
                Err(Fault::Unknown(error(Code::Io)))
            }
            Deed::LoseRequest => Err(Fault::Unknown(error(Code::Io))),
            Deed::Panic => panic!("as the script says"),
        }
    }

    fn list(&mut self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        self.memory.list(scan, deadline)
    }

    fn keys(&mut self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        self.memory.keys(prefix, deadline)
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.memory.waiters()
    }

    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        self.memory.pulse()
    }

    fn publications(&mut self) -> Option<Arc<PublicationList>> {
        self.publications.clone()
    }

    fn check(&mut self, _: Instant) -> Result<(), Fault> {
        Ok(())
    }

    fn sets_apart(&self) -> bool {
        self.sets_apart
    }
}

pub fn engine(deeds: &[Deed], then: Deed) -> (Engine, Arc<Mutex<Script>>) {
    engine_of(deeds, then, false)
}

pub fn engine_of(deeds: &[Deed], then: Deed, sets_apart: bool) -> (Engine, Arc<Mutex<Script>>) {
    let script = Script { deeds: deeds.iter().copied().collect(), then: Some(then), batches: Vec::new() };
    let script = Arc::new(Mutex::new(script));
    let store = Scripted { memory: Memory::default(), script: script.clone(), publications: None, sets_apart };
    (Engine::new(Box::new(store)), script)
}
