//! Running a command while locks are held.
//!
//! Two processes stand behind the command. This one holds the locks and has them renewed; the other one, the watcher, is its parent
//! and knows from memory that both share until when the leases last. The watcher stops the command, and all that it has started,
//! before the store may grant the locks to others: when they were not renewed in time, and when this process has died or was
//! stopped.

#[allow(unsafe_code)]
mod process;
mod watcher;

use super::{
    args::{Common, OnLost, Run},
    exit::{Exit, Failure},
    locks, names, output,
    store::Store,
    system,
};
use dss::{
    engine::{Ask, Granted, events::Kind},
    model::{
        lock::End,
        name::{LockId, Note, Owner},
    },
};
pub use process::boot_us;
use process::{Shared, Signal, Signals};
use std::{os::fd::AsFd, time::Duration};
use watcher::{Order, Watcher};

/// What this command says where the one that it runs can't.
const LOST: u8 = 122;
const FAILED: u8 = 125;

/// How often the watcher is told until when the leases last; more often where they are short.
const LOOK: Duration = Duration::from_millis(250);

pub fn run(common: &Common, run: &Run) -> Result<Exit, Failure> {
    let failed = |failure: Failure| Failure { exit: Exit::Chosen(FAILED), ..failure };
    let usage = |failure: Failure| if failure.exit == Exit::Usage { failure } else { failed(failure) };
    let (ids, owner) = (names::ids(&run.ids)?, names::owner_of_process(&run.owner)?);
    let ttl_ms = locks::ttl_ms(Some(run.ttl))?;
    // Should the watcher be killed, what it watched is ours, and is not left to itself.
    process::adopt_orphans().map_err(|error| failed(error.into()))?;
    // Before there are threads, which a fork would leave behind.
    let shared = Shared::new(ttl_ms, stops(run.on_lost)).map_err(|error| failed(error.into()))?;
    let watcher = Watcher::start(&shared, &run.command).map_err(|error| failed(error.into()))?;
    system::note_interruptions();
    // After the fork, so that the command does not inherit it: a warning that can't be written ends
    // nothing.
    system::survive_failed_writes();
    let store = Store::of_writer(common, None).map_err(usage)?;
    let ask = Ask {
        ids: ids.clone(),
        owner: owner.clone(),
        ttl_ms,
        wait: locks::patience(&run.waiting),
        note: note_of(run)?,
        any: run.any,
        resume: false,
        keep: true,
    };
    let taken = match locks::take(&store, ask) {
        Ok(grants) => ids.into_iter().zip(grants).filter_map(|(id, grant)| Some((id, grant?))).collect(),
        Err(failure) => return Err(not_acquired(failure, run)),
    };
    let held = Held { store, taken, owner, shared };
    // What comes after this is for the command, what came before was meant for the wait.
    let signals = Signals::of_the_command().map_err(|error| failed(error.into()))?;
    if system::was_interrupted() {
        held.release()?;
        return Ok(Exit::Interrupted);
    }
    let ended = held.supervise(watcher, &signals, ttl_ms).map_err(|error| failed(error.into()));
    held.release()?;
    ended
}

fn stops(on_lost: OnLost) -> Option<bool> {
    match on_lost {
        OnLost::Term => Some(true),
        OnLost::Kill => Some(false),
        OnLost::None => None,
    }
}

fn not_acquired(failure: Failure, run: &Run) -> Failure {
    let exit = match failure.exit {
        Exit::Held | Exit::TimedOut => Exit::Chosen(run.conflict_exit_code),
        Exit::Interrupted | Exit::Usage => failure.exit,
        _ => Exit::Chosen(FAILED),
    };
    Failure { exit, ..failure }
}

/// The one that was given, or the command, as far as there is room for it.
fn note_of(run: &Run) -> Result<Note, Failure> {
    if run.note.is_some() {
        return names::note(&run.note);
    }
    let command = run.command.join(std::ffi::OsStr::new(" "));
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(&*command);
    Ok(Note::new(&bytes[..bytes.len().min(200)])?)
}

/// The locks while they are held.
struct Held {
    store: Store,
    taken: Vec<(LockId, Granted)>,
    owner: Owner,
    shared: Shared,
}

impl Held {
    /// Lets the command run to its end.
    fn supervise(&self, mut watcher: Watcher, signals: &Signals, ttl_ms: u64) -> std::io::Result<Exit> {
        self.tell_deadline();
        watcher.tell(&Order::Go { variables: self.variables() })?;
        let look = LOOK.min(Duration::from_millis(ttl_ms / 24));
        loop {
            let ready = process::wait(&[watcher.socket.as_fd(), signals.as_fd()], look)?;
            if ready[0] {
                return Ok(match watcher.ended() {
                    Some(_) if self.shared.was_stopped() => Exit::Chosen(LOST),
                    Some(code) => Exit::Chosen(code),
                    None => {
                        output::say("the watcher of the command was killed, so the command is, too");
                        process::Descendants::kill_all();
                        Exit::Chosen(FAILED)
                    }
                });
            }
            if ready[1] {
                self.forward(signals.next()?);
            }
            self.tell_deadline();
            self.hear(&mut watcher)?;
        }
    }

    /// What the terminal sends reaches the command by itself, as it is of the same process group.
    fn forward(&self, signal: Signal) {
        if let (false, Some(child)) = (signal.is_of_kernel, self.shared.child()) {
            process::send(child, signal.number);
        }
    }

    /// Until when all of the leases last.
    fn tell_deadline(&self) {
        let now_us = process::boot_us();
        let left = self.taken.iter().map(|(id, granted)| {
            self.store.call(|handle, inside| handle.left_ms(id, granted.token, inside)).unwrap_or(0)
        });
        self.shared.set_deadline(now_us.saturating_add(left.min().unwrap_or(0).saturating_mul(1000)));
    }

    /// Says what happened to the locks, and tells the watcher at once if one is gone.
    fn hear(&self, watcher: &mut Watcher) -> std::io::Result<()> {
        while let Ok(Some(event)) = self.store.call(|handle, inside| handle.next_event(inside)) {
            let id = output::shown(event.id.as_bytes());
            match event.kind {
                Kind::AtRisk => output::say(&format!(
                    "lock {id} could not be renewed; its lease ends in {}",
                    output::span(event.left_ms.max(0) as u64)
                )),
                Kind::Safe => output::say(&format!("lock {id} is renewed again")),
                Kind::Lost(end) => self.lose(&id, reason(end), watcher)?,
                Kind::Forked => self.lose(&id, "only the process that this one was forked from renews it", watcher)?,
            }
        }
        Ok(())
    }

    fn lose(&self, id: &str, reason: &str, watcher: &mut Watcher) -> std::io::Result<()> {
        output::say(&format!("lock {id} is lost: {reason}"));
        self.shared.lose();
        watcher.tell(&Order::Look)
    }

    fn variables(&self) -> Vec<(&'static str, Vec<u8>)> {
        let ids: Vec<&[u8]> = self.taken.iter().map(|(id, _)| id.as_bytes()).collect();
        let tokens: Vec<String> = self.taken.iter().map(|(_, granted)| granted.token.to_string()).collect();
        vec![
            ("DSS_LOCK_ID", ids.join(&b'\n')),
            ("DSS_LOCK_TOKEN", tokens.join("\n").into_bytes()),
            ("DSS_LOCK_OWNER", self.owner.as_bytes().to_vec()),
        ]
    }

    /// What is lost is not ours to release, and was told before.
    fn release(&self) -> Result<(), Failure> {
        let (ids, tokens) = self.taken.iter().map(|(id, granted)| (id.clone(), granted.token)).unzip();
        let released = self.store.call(|handle, inside| handle.unlockv(ids, Some(self.owner.clone()), tokens, inside));
        if let Err(error) = released {
            output::say(&format!("the locks end with their leases, for they can't be released: {}", error.text));
        }
        Ok(())
    }
}

fn reason(end: End) -> &'static str {
    match end {
        End::Expired => "its lease ran out before it could be renewed",
        End::Forced => "somebody removed it by force",
        End::Transferred => "somebody gave it to another owner",
        End::Resumed => "another process of this owner took it over",
        End::Unlocked => "another process of this owner released it",
    }
}
