//! Is there an order? The search goes through a history once, from call to return to call, and keeps every state of the world
//! that can be reached so far.
//!
//! It is Lowe's search that orders an operation no sooner than it must ("Testing for linearizability", 2017): at each return, and
//! for each world, operations that are under way are done in every order until the one that returns is among them. It needs no
//! more memory for a longer history. Two rules keep the worlds few, and neither can hide an order:
//!
//! - An operation that changes nothing is done as soon as its answer fits: it never stands in another one's way.
//! - Of two worlds with the same state, the one in which fewer operations of unknown outcome were used up is enough: whatever
//!   the other can do later, it can do too.

use super::{
    NEVER, Op,
    model::{State, only_looks, steps},
};
use std::collections::HashMap;

/// Why a history is no good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No order explains the answer of the operation of this place; the worlds that were left before it returned.
    NoOrder { place: usize, states: Vec<State> },
    /// More worlds than the search may keep: nothing is known, and that is no pass.
    GaveUp { place: usize },
}

/// One way in which things may have gone until now.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    state: State,
    /// The operations under way that are done already, in order.
    done: Vec<u32>,
    /// The operations of unknown outcome that were used up, in order.
    used: Vec<u32>,
}

/// Worlds, without those that another one makes needless.
#[derive(Default)]
struct Worlds {
    /// What was used up, for each state and what is done.
    used: HashMap<(State, Vec<u32>), Vec<Vec<u32>>>,
    count: usize,
}

impl Worlds {
    /// Whether it was news.
    fn add(&mut self, world: &World) -> bool {
        let alike = self.used.entry((world.state, world.done.clone())).or_default();
        if alike.iter().any(|used| is_part(used, &world.used)) {
            return false;
        }
        let before = alike.len();
        alike.retain(|used| !is_part(&world.used, used));
        self.count -= before - alike.len();
        self.count += 1;
        alike.push(world.used.clone());
        true
    }

    fn list(self) -> Vec<World> {
        let worlds = self.used.into_iter().flat_map(|((state, done), all)| {
            all.into_iter().map(move |used| World { state, done: done.clone(), used })
        });
        worlds.collect()
    }
}

/// Whether each element of the first is in the second; both are in order.
fn is_part(part: &[u32], whole: &[u32]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|element| rest.any(|other| other == element))
}

fn with(set: &[u32], element: u32) -> Vec<u32> {
    let mut set = set.to_vec();
    set.insert(set.partition_point(|other| *other < element), element);
    set
}

/// The operations that may be done at a moment.
#[derive(Default)]
struct UnderWay {
    answered: Vec<u32>,
    unknown: Vec<u32>,
}

struct Search<'a> {
    ops: &'a [Op],
    under_way: UnderWay,
    /// How many worlds it may keep.
    limit: usize,
}

/// Looks for an order of the operations of one name; tells the most worlds that it kept at once.
pub fn check(ops: &[Op], limit: usize) -> Result<usize, Fault> {
    let mut search = Search { ops, under_way: UnderWay::default(), limit };
    let mut worlds = vec![World { state: State::default(), done: Vec::new(), used: Vec::new() }];
    let mut most = 1;
    for (_, returns, place) in events(ops) {
        if !returns {
            match ops[place].returned {
                NEVER => search.under_way.unknown.push(place as u32),
                _ => search.under_way.answered.push(place as u32),
            }
            continue;
        }
        let after = search.until_done(&worlds, place)?;
        most = most.max(after.len());
        if after.is_empty() {
            let mut states: Vec<State> = worlds.iter().map(|world| world.state).collect();
            states.dedup();
            return Err(Fault::NoOrder { place, states });
        }
        worlds = after;
        search.under_way.answered.retain(|other| *other as usize != place);
    }
    Ok(most)
}

/// Calls and returns in the order of time; of those at one time calls come first, so that they overlap.
fn events(ops: &[Op]) -> Vec<(u64, bool, usize)> {
    let calls = ops.iter().enumerate().map(|(place, op)| (op.called, false, place));
    let returns = ops.iter().enumerate().map(|(place, op)| (op.returned, true, place));
    let mut events: Vec<_> = calls.chain(returns.filter(|(time, ..)| *time != NEVER)).collect();
    events.sort_unstable();
    events
}

impl Search<'_> {
    /// The worlds in which the operation of this place has been done, and has returned.
    fn until_done(&self, worlds: &[World], place: usize) -> Result<Vec<World>, Fault> {
        let (mut seen, mut found) = (Worlds::default(), Worlds::default());
        let mut left: Vec<World> = worlds.iter().map(|world| self.with_looks(world.clone())).collect();
        while let Some(world) = left.pop() {
            if let Ok(at) = world.done.binary_search(&(place as u32)) {
                let mut world = world;
                world.done.remove(at);
                found.add(&world);
                continue;
            }
            for next in self.next(&world) {
                if seen.add(&next) {
                    left.push(next);
                }
            }
            if seen.count + found.count > self.limit {
                return Err(Fault::GaveUp { place });
            }
        }
        Ok(found.list())
    }

    /// The worlds that are one operation further.
    fn next<'a>(&'a self, world: &'a World) -> impl Iterator<Item = World> + 'a {
        let answered = self.under_way.answered.iter().filter(|place| world.done.binary_search(place).is_err());
        let unknown = self.under_way.unknown.iter().filter(|place| world.used.binary_search(place).is_err());
        let after = |place: &u32| steps(world.state, *place as usize, &self.ops[*place as usize]);
        let answered = answered.flat_map(move |place| {
            after(place).map(|state| {
                self.with_looks(World { state, done: with(&world.done, *place), used: world.used.clone() })
            })
        });
        let unknown = unknown.flat_map(move |place| {
            after(place).map(|state| {
                self.with_looks(World { state, done: world.done.clone(), used: with(&world.used, *place) })
            })
        });
        answered.chain(unknown)
    }

    /// The same world, after all operations under way that fit it and change nothing.
    fn with_looks(&self, mut world: World) -> World {
        for place in &self.under_way.answered {
            if world.done.binary_search(place).is_err()
                && only_looks(world.state, *place as usize, &self.ops[*place as usize])
            {
                world.done = with(&world.done, *place);
            }
        }
        world
    }
}
