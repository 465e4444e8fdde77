//! What the engine does when the process forks: see [`gate`].

use super::{gate, handle, keepalive, registry};
use crate::mutant;

/// Run when the library is loaded.
#[used]
#[allow(unsafe_code)]
// SAFETY: the loader calls what stands in this section, one function pointer, with arguments that C
// may leave unread.
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = watch_forks;

extern "C" fn watch_forks() {
    gate::watch_forks(gate::Hooks { before: registry::suspend_all, in_child });
}

fn in_child() {
    if !mutant::on("fork_keeper") {
        keepalive::forget_thread();
    }
    if !mutant::on("fork_holdings") {
        handle::forget_parent();
    }
    registry::drop_inherited();
}
