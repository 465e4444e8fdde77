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
        name::{KEY_MAX, LOCK_ID_MAX, LockId, NOTE_MAX, Note, OWNER_MAX, Owner, StateKey, check_count, check_ids},
    },
    sys::{panics, reserve, signals::NotCancelled},
};
use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    slice,
    sync::atomic::{AtomicPtr, Ordering},
};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// What a function returns where it has not failed.
pub trait Answer {
    fn code(self) -> c_int;
}

impl Answer for () {
    fn code(self) -> c_int {
        0
    }
}

impl Answer for c_int {
    fn code(self) -> c_int {
        self
    }
}

/// Runs the body of an exported function. Gives its answer, or a negative errno.
pub fn call<T: Answer>(body: impl FnOnce() -> Result<T, Error>) -> c_int {
    if !reserve::admits_thread(|| LAST_ERROR.try_with(|_| ()).unwrap_or_default()) {
        return -libc::ENOMEM;
    }
    let _not_cancelled = NotCancelled::begin();
    contain(|| reserve::check().and_then(|()| body())).map_or_else(fail, T::code)
}

/// The same for a function that has nothing to return: whatever fails leaves no trace.
pub fn quiet_call(body: impl FnOnce() -> Result<(), Error>) {
    let _not_cancelled = NotCancelled::begin();
    let _ = contain(body);
}

fn contain<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    panics::contain(body).unwrap_or_else(|said| {
        let text = format!("a defect inside libdss was contained ({said}): close the handle, and please report it");
        Err(Error::new(Code::Defect, text))
    })
}

/// The same for a function that works on an open handle: inside the gate, once the handle is seen to be open.
///
/// # Safety
/// `raw` is NULL or points to a `struct dss_handle`.
pub unsafe fn with_handle<T: Answer>(
    raw: *const dss_handle,
    body: impl FnOnce(&Handle, &mut Inside) -> Result<T, Error>,
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
    panics::silence_ours();
    Ok(inside)
}

fn fail(error: Error) -> c_int {
    let rc = -error.code.errno();
    let text = CString::new(error.text.replace('\0', "\\x00")).unwrap_or_default();
    // A thread that is just ending has no place for the text any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    rc
}

/// The calling thread's last failure; valid until its next one.
pub fn last_error() -> *const c_char {
    if reserve::has_refused_thread() {
        return c"no memory for this thread's first call: free some, or raise the limit".as_ptr();
    }
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
pub unsafe fn key(text: *const c_char) -> Result<StateKey, Error> {
    // SAFETY: as the caller says.
    StateKey::new(unsafe { bytes("key", text, KEY_MAX) }?)
}

/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn owner(text: *const c_char) -> Result<Owner, Error> {
    // SAFETY: as the caller says.
    Owner::new(unsafe { bytes("lock_owner", text, OWNER_MAX) }?)
}

/// The owner, or None for NULL: whoever it is.
///
/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn any_owner(text: *const c_char) -> Result<Option<Owner>, Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller says.
    unsafe { owner(text) }.map(Some)
}

/// # Safety
/// `lock_ids` is NULL or points to `count` pointers, each of which is NULL or points to a string.
pub unsafe fn lock_ids(lock_ids: *const *const c_char, count: usize) -> Result<Vec<LockId>, Error> {
    if lock_ids.is_null() {
        return Err(Error::new(Code::Invalid, "lock_ids is NULL: give an array of lock ids"));
    }
    check_count(count)?;
    // SAFETY: as the caller says.
    let texts = unsafe { slice::from_raw_parts(lock_ids, count) };
    // SAFETY: as the caller says.
    let ids = texts.iter().map(|text| unsafe { lock_id(*text) }).collect::<Result<Vec<_>, _>>()?;
    check_ids(&ids)?;
    Ok(ids)
}

/// The tokens; none for NULL, which is as good as a 0 for each.
///
/// # Safety
/// `tokens` is NULL or points to `count` numbers.
pub unsafe fn tokens(tokens: *const u64, count: usize) -> Vec<u64> {
    if tokens.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller says.
    unsafe { slice::from_raw_parts(tokens, count) }.to_vec()
}

/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn note(text: *const c_char) -> Result<Note, Error> {
    if text.is_null() {
        return Ok(Note::default());
    }
    // SAFETY: as the caller says.
    Note::new(unsafe { bytes("note", text, NOTE_MAX) }?)
}

/// A name to compare with, or its first bytes; empty for NULL: any.
///
/// # Safety
/// `text` is NULL or points to a string that ends with NUL.
pub unsafe fn pattern(name: &str, text: *const c_char, is_prefix: bool, max: usize) -> Result<Vec<u8>, Error> {
    if text.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: as the caller says.
    let bytes = unsafe { bytes(name, text, max) }?;
    match bytes.len() {
        0 if !is_prefix => Err(Error::new(Code::Invalid, format!("{name} is empty: give a name, or NULL for any"))),
        length if length > max => {
            Err(Error::new(Code::TooLong, format!("{name} is longer than {max} bytes: nothing has such a name")))
        }
        _ => Ok(bytes.to_vec()),
    }
}

/// A string for C. What is kept in a store has no NUL in it, unless the file was damaged: there it ends.
pub fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The largest size that a caller's struct may say it has: more is no size but chance.
const STRUCT_MAX: usize = 4096;

/// A copy of a struct that begins with its size, as the caller's compiler knew it. One that is larger than ours must have
/// nothing but zeros where we know of no field.
///
/// # Safety
/// `given` points to as many bytes as its first field says, but at least to that field; T is made of numbers and pointers.
pub unsafe fn sized<T: Copy>(name: &str, given: *const T) -> Result<T, Error> {
    let known = size_of::<T>();
    // SAFETY: the struct begins with its size.
    let size = unsafe { given.cast::<usize>().read() };
    if !(known..=STRUCT_MAX).contains(&size) {
        let text = format!("{name}->size is {size}: set it to sizeof(*{name}), which is {known}");
        return Err(Error::new(Code::Invalid, text));
    }
    // SAFETY: the caller's struct has that many bytes, of which ours are the first.
    let more = unsafe { slice::from_raw_parts(given.cast::<u8>().add(known), size - known) };
    if more.iter().any(|byte| *byte != 0) {
        let text =
            format!("{name} uses fields that this libdss ({}) does not know: update it", env!("CARGO_PKG_VERSION"));
        return Err(Error::new(Code::Invalid, text));
    }
    // SAFETY: as above.
    Ok(unsafe { given.read() })
}

/// Refuses flags that this version does not know.
pub fn check_flags(name: &str, flags: u64, known: u64) -> Result<(), Error> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(Error::new(Code::Invalid, format!("{name}->flags has unknown bits: {unknown:#x}"))),
    }
}

/// Writes an output that the caller may have left out.
///
/// # Safety
/// `output` is NULL or points to writable memory of its type.
pub unsafe fn put<T>(output: *mut T, value: T) {
    if !output.is_null() {
        // SAFETY: as the caller says; the old value needs no drop, being C's.
        unsafe { output.write(value) };
    }
}

/// Writes one element of an array that the caller may have left out.
///
/// # Safety
/// `output` is NULL or points to writable memory for more than `place` elements.
pub unsafe fn put_at<T>(output: *mut T, place: usize, value: T) {
    if !output.is_null() {
        // SAFETY: as the caller says.
        unsafe { output.add(place).write(value) };
    }
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

/// A copy in memory from malloc(3), which the host frees, with a NUL behind it.
pub fn malloc_copy(bytes: &[u8], what: &str) -> Result<*mut c_char, Error> {
    // SAFETY: malloc may be asked for any size.
    let copy = unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>();
    if copy.is_null() {
        return Err(Error::new(Code::NoMemory, format!("no memory for {what}: free some and ask again")));
    }
    // SAFETY: the copy has room for the bytes and one more, and is nobody else's.
    unsafe {
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        copy.add(bytes.len()).write(0);
    }
    Ok(copy.cast())
}
