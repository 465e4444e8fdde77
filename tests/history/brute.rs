//! The same question, answered by trying every order of every choice of the operations: as plain as can be, for short histories.

use super::{
    NEVER, Op,
    model::{State, steps},
};

pub fn has_order(ops: &[Op]) -> bool {
    has_order_from(State::default(), ops, &mut vec![false; ops.len()])
}

fn has_order_from(state: State, ops: &[Op], done: &mut Vec<bool>) -> bool {
    let left = |done: &[bool]| (0..ops.len()).filter(|place| !done[*place]).collect::<Vec<_>>();
    let places = left(done);
    // What has no answer may be left out.
    if places.iter().all(|place| ops[*place].returned == NEVER) {
        return true;
    }
    places.iter().any(|place| {
        // Another one that is not done has returned before this one was called.
        if places.iter().any(|other| ops[*other].returned < ops[*place].called) {
            return false;
        }
        done[*place] = true;
        let found = steps(state, *place, &ops[*place]).any(|state| has_order_from(state, ops, done));
        done[*place] = false;
        found
    })
}
