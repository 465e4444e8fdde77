//! Tells at the price of one read whether this process is the one that made the mark: the kernel clears the page on which it
//! stands in every child that gets a copy of its parent's memory (madvise(2), MADV_WIPEONFORK), however it was made.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

/// NULL where the kernel has no such pages.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// Makes the page, once and before there are other threads.
pub fn prepare() {
    let length = size_of::<AtomicU64>();
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which stays for as long as the process; both calls round the length up to a page.
    unsafe {
        let page = libc::mmap(ptr::null_mut(), length, access, kind, -1, 0);
        if page != libc::MAP_FAILED && libc::madvise(page, length, libc::MADV_WIPEONFORK) == 0 {
            PAGE.store(page.cast(), Ordering::Release);
        }
    }
}

fn word() -> Option<&'static AtomicU64> {
    // SAFETY: NULL, or a page that is never unmapped, on its boundary.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

pub fn make() {
    word().iter().for_each(|word| word.store(1, Ordering::Release));
}

/// None where it can't be told.
pub fn is_there() -> Option<bool> {
    word().map(|word| word.load(Ordering::Acquire) == 1)
}
