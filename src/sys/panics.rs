//! A defect of ours ends neither the host nor a line on its standard error.

use once_cell::sync::OnceCell;
use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
};

thread_local! {
    /// Whether a panic in this thread is ours to contain.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body. A panic in it is an error, with what it said.
pub fn contain<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    let before = OURS.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    OURS.set(before);
    result.map_err(|panic| said(panic.as_ref()))
}

/// Runs what is the host's, in the middle of what is ours.
pub fn of_host<T>(body: impl FnOnce() -> T) -> T {
    let before = OURS.replace(false);
    let result = body();
    OURS.set(before);
    result
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}

/// Rust reports a panic on standard error before anyone can catch it. Ours are reported to the caller instead; those of
/// other Rust code that uses this crate are left as they are.
pub fn silence_ours() {
    static DONE: OnceCell<()> = OnceCell::new();
    DONE.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !OURS.try_with(Cell::get).unwrap_or(false) {
                before(info);
            }
        }));
    });
}
