//! What every exported function stands behind: no panic, signal or cancellation passes it, and whatever fails becomes a
//! negative errno and a text. Also the conversions from C's pointers, each of which names its rule.

use super::handle::dss_handle;
use crate::{
    engine::{
        gate::{self, Inside},
        handle::{self, Handle},
    },
    model::{
        error::{Code, Error},
        name::{LOCK_ID_MAX, LockId, OWNER_MAX, Owner},
    },
    sys::signals::NotCancelled,
};
use once_cell::sync::OnceCell;
use std::{
    cell::{Cell, RefCell},
    ffi::{CStr, CString, c_char, c_int, c_void},
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicPtr, Ordering},
};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
    /// Whether a panic in this thread is ours to contain.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of an exported function. Gives 0 or a negative errno.
pub fn call(body: impl FnOnce() -> Result<(), Error>) -> c_int {
    let _not_cancelled = NotCancelled::begin();
    contain(body).map_or_else(fail, |()| 0)
}

/// The same for a function that has nothing to return: whatever fails leaves no trace.
pub fn quiet_call(body: impl FnOnce() -> Result<(), Error>) {
    let _not_cancelled = NotCancelled::begin();
    let _ = contain(body);
}

fn contain(body: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let before = IN_CALL.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    IN_CALL.set(before);
    result.unwrap_or_else(|panic| Err(contained(panic.as_ref())))
}

/// The same for a function that works on an open handle: inside the gate, once the handle is seen to be open.
///
/// # Safety
/// `raw` is NULL or points to a `struct dss_handle`.
pub unsafe fn with_handle(
    raw: *const dss_handle,
    body: impl FnOnce(&Handle, &mut Inside) -> Result<(), Error>,
) -> c_int {
    call(|| {
        // SAFETY: as the caller says.
        let number = unsafe { conn_of(raw) }.map_or(0, |conn| conn.load(Ordering::Acquire) as usize);
        if number == 0 {
            return Err(handle::not_open());
        }
        let mut inside = enter()?;
        let handle = handle::find(number, &inside)?;
        let result = body(&handle, &mut inside);
        // The last user of a closed handle closes its store, which is work to be done inside.
        drop(handle);
        result
    })
}

/// The handle's one field, which another thread may be reading or closing at the same time.
///
/// # Safety
/// `raw` is NULL or points to a `struct dss_handle`, which lives at least as long as what is returned.
pub unsafe fn conn_of<'a>(raw: *const dss_handle) -> Option<&'a AtomicPtr<c_void>> {
    // SAFETY: the struct has one pointer, of the size and alignment of AtomicPtr. All of the library's accesses to it are
    // atomic, and the contract forbids the host to touch it.
    unsafe { raw.cast::<AtomicPtr<c_void>>().as_ref() }
}

/// Enters the gate. What is set up on first use is set up inside, where no fork can cut it off.
pub fn enter() -> Result<Inside, Error> {
    let inside = gate::enter()?;
    silence_our_panics();
    Ok(inside)
}

fn fail(error: Error) -> c_int {
    let rc = -error.code.errno();
    let text = CString::new(error.text.replace('\0', "\\x00")).unwrap_or_default();
    // A thread that is just ending has no place for the text any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    rc
}

fn contained(panic: &(dyn std::any::Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = format!(
        "a defect inside libdss was contained ({}): close the handle, and please report it",
        said.unwrap_or("no text")
    );
    Error::new(Code::Defect, text)
}

/// Rust reports a panic on standard error before anyone can catch it. Ours are reported to the caller instead; those of
/// other Rust code that uses this crate are left as they are.
fn silence_our_panics() {
    static DONE: OnceCell<()> = OnceCell::new();
    DONE.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IN_CALL.try_with(Cell::get).unwrap_or(false) {
                before(info);
            }
        }));
    });
}

/// The calling thread's last failure; valid until its next one.
pub fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn lock_id(text: *const c_char) -> Result<LockId, Error> {
    // SAFETY: as the caller says.
    LockId::new(unsafe { bytes("lock_id", text, LOCK_ID_MAX) }?)
}

/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn owner(text: *const c_char) -> Result<Owner, Error> {
    // SAFETY: as the caller says.
    Owner::new(unsafe { bytes("lock_owner", text, OWNER_MAX) }?)
}

/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a [u8], Error> {
    if text.is_null() {
        return Err(Error::new(Code::Invalid, format!("{name} is NULL: give a string")));
    }
    // SAFETY: not NULL, so it points to a string, as the caller says.
    Ok(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The string's bytes; of a string longer than `max`, which is refused, only one more than that.
unsafe fn bytes<'a>(name: &str, text: *const c_char, max: usize) -> Result<&'a [u8], Error> {
    if text.is_null() {
        return Err(Error::new(Code::Invalid, format!("{name} is NULL: give a name of 1 to {max} bytes")));
    }
    // SAFETY: not NULL, so it points to a string, as the caller says; strnlen reads no byte behind its NUL.
    Ok(unsafe { std::slice::from_raw_parts(text.cast(), libc::strnlen(text, max + 1)) })
}

/// A copy in memory from malloc(3), which the host frees.
pub fn malloc_string(bytes: &[u8]) -> Result<*mut c_char, Error> {
    // SAFETY: malloc may be asked for any size.
    let copy = unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>();
    if copy.is_null() {
        return Err(Error::new(Code::NoMemory, "no memory for the owner's name: free some and ask again"));
    }
    // SAFETY: the copy has room for the bytes and one more, and is nobody else's.
    unsafe {
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        copy.add(bytes.len()).write(0);
    }
    Ok(copy.cast())
}
