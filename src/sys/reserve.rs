//! Memory for a call that has begun when the system has none left.
//!
//! Rust ends the process where an allocation fails, and there is no way to tell a caller of it on the way. So what malloc(3) refuses
//! is taken from a reserve, which carries the calls that have begun to their end; and while half of it is in use, and
//! malloc still refuses, no other call begins ([`check`]).
//!
//! The reserve is a row of segments. A piece is cut off behind the last one of its segment, the last one can be given back, and a
//! segment whose pieces have all been given back is whole again: an atomic number for each is all there is to keep. Most pieces live no longer than a call. What stays,
//! such as what a handle was granted in that time, keeps its segment from being whole, which is why there are several.

use crate::model::error::{Code, Error};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::{Cell, UnsafeCell},
    ptr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

const SEGMENTS: usize = 8;
const HALF: usize = SEGMENTS / 2;
/// What glibc takes for a thread is less.
pub const FOR_THREAD: usize = 4096;
/// Memory that nobody has touched takes none from the system. One call needs some 10 KiB of it, and a long list of locks most.
const SEGMENT: usize = 1 << 17;

#[global_allocator]
static ALLOCATOR: WithReserve = WithReserve;

static RESERVE: Reserve = Reserve::new();

#[repr(align(4096))]
struct Memory(UnsafeCell<[[u8; SEGMENT]; SEGMENTS]>);

// SAFETY: each piece of it is given to one user at a time.
unsafe impl Sync for Memory {}

struct Reserve {
    memory: Memory,
    /// Of each segment how many bytes are cut off (the lower half), and how many pieces are in use (the upper).
    states: [AtomicU64; SEGMENTS],
    /// How many segments have pieces in use.
    in_use: AtomicUsize,
}

const ONE_PIECE: u64 = 1 << 32;
const TWO_PIECES: u64 = 2 * ONE_PIECE;

impl Reserve {
    const fn new() -> Reserve {
        Reserve {
            memory: Memory(UnsafeCell::new([[0; SEGMENT]; SEGMENTS])),
            states: [const { AtomicU64::new(0) }; SEGMENTS],
            in_use: AtomicUsize::new(0),
        }
    }

    fn holds(&self, piece: *mut u8) -> bool {
        piece.addr().wrapping_sub(self.memory.0.get().addr()) < SEGMENT * SEGMENTS
    }

    #[cold]
    fn cut(&self, layout: Layout) -> *mut u8 {
        let places = self.states.iter().enumerate();
        let found = places.into_iter().find_map(|(number, state)| Some((number, cut_from(state, layout)?)));
        let Some((number, (before, at))) = found else { return ptr::null_mut() };
        if before == 0 {
            self.in_use.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the piece lies in the segment.
        unsafe { self.memory.0.get().cast::<u8>().add(number * SEGMENT + at) }
    }

    #[cold]
    fn give_back(&self, piece: *mut u8, size: usize) {
        let offset = piece.addr() - self.memory.0.get().addr();
        let (state, at) = (&self.states[offset / SEGMENT], (offset % SEGMENT) as u64);
        let less = |state: u64| match (state, state & (ONE_PIECE - 1)) {
            (..TWO_PIECES, _) => 0,
            (_, end) if end == at + size as u64 => state - ONE_PIECE - size as u64,
            _ => state - ONE_PIECE,
        };
        let before = state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| Some(less(state)));
        if before.is_ok_and(|before| less(before) == 0) {
            self.in_use.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What the segment was before, and where in it the piece begins; None if there is no room.
fn cut_from(state: &AtomicU64, layout: Layout) -> Option<(u64, usize)> {
    let at = |state: u64| (state as u32 as usize).next_multiple_of(layout.align());
    let cut = |state: u64| {
        let end = at(state).checked_add(layout.size()).filter(|end| *end <= SEGMENT && layout.align() <= 4096)?;
        Some(((state & !(ONE_PIECE - 1)) + ONE_PIECE) | end as u64)
    };
    let before = state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, cut).ok()?;
    Some((before, at(before)))
}

/// malloc(3), and the reserve where that refuses.
struct WithReserve;

// SAFETY: a piece comes from the system's allocator or from the reserve, and goes back to the one that it is of.
unsafe impl GlobalAlloc for WithReserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        let piece = unsafe { System.alloc(layout) };
        if piece.is_null() { RESERVE.cut(layout) } else { piece }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        let mut piece = unsafe { System.alloc_zeroed(layout) };
        if piece.is_null() {
            piece = RESERVE.cut(layout);
            if !piece.is_null() {
                // SAFETY: the piece is as long as that, and new.
                unsafe { piece.write_bytes(0, layout.size()) };
            }
        }
        piece
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if RESERVE.holds(piece) {
            return RESERVE.give_back(piece, layout.size());
        }
        // SAFETY: as the caller says; and it is not the reserve's.
        unsafe { System.dealloc(piece, layout) }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !RESERVE.holds(piece) {
            // SAFETY: as the caller says; and it is not the reserve's.
            let longer = unsafe { System.realloc(piece, layout, size) };
            if !longer.is_null() {
                return longer;
            }
        }
        // SAFETY: the caller has seen to it that the size is one for this alignment.
        let other = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !other.is_null() {
            // SAFETY: both are as long as that, and the new one is nobody else's; the old one is given back once.
            unsafe {
                other.copy_from_nonoverlapping(piece, layout.size().min(size));
                self.dealloc(piece, layout);
            }
        }
        other
    }
}

thread_local! {
    /// Whether this thread has made a call. It needs no destructor, and so no memory.
    static HAS_CALLED: Cell<bool> = const { Cell::new(false) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the first call of this thread may begin. What is to be done at the thread's end has to be registered, for which glibc takes
/// memory itself, and ends the process if there is none: so that is done now, by `register`.
pub fn admits_thread(register: impl FnOnce()) -> bool {
    if HAS_CALLED.get() {
        return true;
    }
    let admitted = room_for_thread();
    if admitted {
        register();
    }
    HAS_CALLED.set(admitted);
    REFUSED.set(!admitted);
    admitted
}

/// Whether the last call of this thread was not even begun.
pub fn has_refused_thread() -> bool {
    REFUSED.get()
}

/// Without a text, which would need memory.
fn room_for_thread() -> bool {
    // SAFETY: malloc may be asked for any size, and what it gives is given back.
    unsafe {
        let piece = std::hint::black_box(libc::malloc(FOR_THREAD));
        libc::free(piece);
        !piece.is_null()
    }
}

/// Whether a call may begin: there is memory, or enough of the reserve.
pub fn check() -> Result<(), Error> {
    match RESERVE.in_use.load(Ordering::Relaxed) {
        0..HALF => Ok(()),
        _ => room_for(SEGMENT),
    }
}

/// Whether the system has so much memory: for what is too large for the reserve.
pub fn room_for(size: usize) -> Result<(), Error> {
    let Ok(layout) = Layout::from_size_align(size.max(1), 1) else { return Err(none_left(size)) };
    // SAFETY: the size is not 0, and what is allocated is given back at once.
    unsafe {
        let piece = std::hint::black_box(System.alloc(layout));
        if piece.is_null() {
            return Err(none_left(size));
        }
        System.dealloc(piece, layout);
    }
    Ok(())
}

fn none_left(size: usize) -> Error {
    Error::new(Code::NoMemory, format!("no memory: malloc(3) has refused {size} bytes; free some, or raise the limit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_whole_again_when_all_is_given_back() {
        static OWN: Reserve = Reserve::new();
        let reserve = &OWN;
        let layout = Layout::from_size_align(1000, 64).unwrap();
        for _ in 0..3 {
            let pieces: Vec<_> = (0..SEGMENTS * (SEGMENT / 1024)).map(|_| reserve.cut(layout)).collect();
            assert!(pieces.iter().all(|piece| reserve.holds(*piece) && piece.addr() % 64 == 0));
            let mut sorted: Vec<_> = pieces.iter().map(|piece| piece.addr()).collect();
            sorted.sort_unstable();
            assert!(sorted.windows(2).all(|two| two[1] - two[0] >= 1000));
            assert_eq!(reserve.in_use.load(Ordering::Relaxed), SEGMENTS);
            assert!(reserve.cut(Layout::from_size_align(SEGMENT / 2, 1).unwrap()).is_null());
            pieces.into_iter().for_each(|piece| reserve.give_back(piece, 1000));
            assert_eq!(reserve.in_use.load(Ordering::Relaxed), 0);
        }
        assert!(reserve.cut(Layout::from_size_align(SEGMENT + 1, 1).unwrap()).is_null());
    }
}
