//! The language in which libraries tell what went wrong.

use std::{marker::PhantomData, ptr, sync::OnceLock};

/// As long as it is there, this thread's messages are English, whatever the program has set.
pub struct English {
    former: libc::locale_t,
    /// It belongs to the thread.
    _thread: PhantomData<*const ()>,
}

pub fn english() -> English {
    static PLAIN: OnceLock<usize> = OnceLock::new();
    // SAFETY: the name is a string; the locale is kept for ever.
    let plain =
        *PLAIN.get_or_init(|| unsafe { libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), ptr::null_mut()) } as usize);
    // SAFETY: a locale, or NULL, which changes nothing.
    let former = unsafe { libc::uselocale(plain as libc::locale_t) };
    English { former, _thread: PhantomData }
}

impl Drop for English {
    fn drop(&mut self) {
        // SAFETY: what this thread had before.
        unsafe { libc::uselocale(self.former) };
    }
}
