//! The C interface as Rust tests use it, and the stores to run them on.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod calls;

use dss::ffi::{
    handle::{dss_fini, dss_handle, dss_init_uri},
    list::{dss_filter, dss_lock_clean, dss_lock_info, dss_lock_list},
    lock::{dss_lock, dss_lock_refresh, dss_lock_status, dss_unlock},
    lockv::{dss_grant, dss_lock_opts, dss_lock_refreshv, dss_lock_transfer, dss_lockv, dss_unlockv},
    state::{DSS_GUARD_LOCK, DSS_GUARD_VERSION, dss_get, dss_guard, dss_key_info, dss_list, dss_set},
    text::dss_last_error,
};
use std::{
    env,
    ffi::{CStr, CString, c_char, c_int, c_void},
    hash::{BuildHasher, RandomState},
    process, ptr,
    sync::atomic::{AtomicU32, Ordering},
};
use temp_dir::TempDir;

/// An open handle, closed when it is dropped.
pub struct Dss(dss_handle);

// SAFETY: a handle may be used from any number of threads at once.
unsafe impl Send for Dss {}
// SAFETY: as above.
unsafe impl Sync for Dss {}

/// What dss_lock_status gave: the owner and the timestamp in microseconds.
pub type Status = (Vec<u8>, i64);

impl Dss {
    pub fn open(uri: &str) -> Result<Dss, c_int> {
        let mut handle = dss_handle { dh_conn: ptr::null_mut() };
        let uri = CString::new(uri).unwrap();
        // SAFETY: the handle is ours, the string ends with NUL.
        match unsafe { dss_init_uri(&mut handle, uri.as_ptr()) } {
            0 => Ok(Dss(handle)),
            rc => Err(rc),
        }
    }

    pub fn lock(&self, id: &[u8], owner: &[u8]) -> c_int {
        let (id, owner) = (string(id), string(owner));
        // SAFETY: the handle is open, the strings end with NUL.
        unsafe { dss_lock(self.raw(), id.as_ptr(), owner.as_ptr()) }
    }

    pub fn refresh(&self, id: &[u8], owner: &[u8]) -> c_int {
        let (id, owner) = (string(id), string(owner));
        // SAFETY: as above.
        unsafe { dss_lock_refresh(self.raw(), id.as_ptr(), owner.as_ptr()) }
    }

    pub fn unlock(&self, id: &[u8], owner: Option<&[u8]>) -> c_int {
        let (id, owner) = (string(id), owner.map(string));
        let owner = owner.as_ref().map_or(ptr::null(), |owner| owner.as_ptr());
        // SAFETY: as above; the owner may be NULL.
        unsafe { dss_unlock(self.raw(), id.as_ptr(), owner) }
    }

    pub fn status(&self, id: &[u8]) -> Result<Status, c_int> {
        let id = string(id);
        let mut owner = ptr::null_mut();
        let mut time = libc::timeval { tv_sec: -1, tv_usec: -1 };
        // SAFETY: as above; the outputs are ours. The owner is a string from malloc, freed here.
        unsafe {
            match dss_lock_status(self.raw(), id.as_ptr(), &mut owner, &mut time) {
                0 => {
                    let name = CStr::from_ptr(owner).to_bytes().to_vec();
                    libc::free(owner.cast());
                    Ok((name, time.tv_sec * 1_000_000 + time.tv_usec))
                }
                rc => Err(rc),
            }
        }
    }

    /// What dss_lockv gave, and the grants.
    pub fn lockv(&self, ids: &[Vec<u8>], owner: &[u8], opts: &Opts) -> (c_int, Vec<dss_grant>) {
        let (strings, owner, note) = (strings(ids), string(owner), string(&opts.note));
        let pointers = pointers(&strings);
        let opts = dss_lock_opts {
            size: size_of::<dss_lock_opts>(),
            flags: opts.flags,
            ttl_ms: opts.ttl_ms,
            wait_ms: opts.wait_ms,
            note: note.as_ptr(),
        };
        let mut grants = vec![dss_grant::default(); ids.len()];
        // SAFETY: the handle is open, the strings end with NUL, the arrays are as long as said.
        let rc =
            unsafe { dss_lockv(self.raw(), pointers.as_ptr(), ids.len(), owner.as_ptr(), &opts, grants.as_mut_ptr()) };
        (rc, grants)
    }

    pub fn refreshv(&self, ids: &[Vec<u8>], owner: &[u8], tokens: &[u64]) -> (c_int, Vec<dss_grant>) {
        let (strings, owner) = (strings(ids), string(owner));
        let pointers = pointers(&strings);
        let mut grants = vec![dss_grant::default(); ids.len()];
        // SAFETY: as above.
        let rc = unsafe {
            dss_lock_refreshv(
                self.raw(),
                pointers.as_ptr(),
                ids.len(),
                owner.as_ptr(),
                tokens.as_ptr(),
                grants.as_mut_ptr(),
            )
        };
        (rc, grants)
    }

    pub fn unlockv(&self, ids: &[Vec<u8>], owner: Option<&[u8]>, tokens: &[u64]) -> (c_int, Vec<c_int>) {
        let (strings, owner) = (strings(ids), owner.map(string));
        let pointers = pointers(&strings);
        let owner = owner.as_ref().map_or(ptr::null(), |owner| owner.as_ptr());
        let mut codes = vec![1; ids.len()];
        // SAFETY: as above; the owner may be NULL.
        let rc = unsafe {
            dss_unlockv(self.raw(), pointers.as_ptr(), ids.len(), owner, tokens.as_ptr(), codes.as_mut_ptr())
        };
        (rc, codes)
    }

    pub fn transfer(&self, id: &[u8], from: Option<&[u8]>, token: u64, to: &[u8]) -> (c_int, dss_grant) {
        let (id, from, to) = (string(id), from.map(string), string(to));
        let from = from.as_ref().map_or(ptr::null(), |from| from.as_ptr());
        let mut grant = dss_grant::default();
        // SAFETY: as above; the first owner may be NULL.
        let rc = unsafe { dss_lock_transfer(self.raw(), id.as_ptr(), from, token, to.as_ptr(), &mut grant) };
        (rc, grant)
    }

    /// What a list shows, or a clean has removed.
    pub fn list(&self, filter: &Filter, clean: bool) -> (c_int, Vec<Shown>) {
        let (id, owner) = (filter.id.as_deref().map(string), filter.owner.as_deref().map(string));
        let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let filter = dss_filter {
            size: size_of::<dss_filter>(),
            flags: filter.flags,
            lock_id: pointer(&id),
            lock_owner: pointer(&owner),
            min_age_ms: filter.min_age_ms,
        };
        let mut shown: Vec<Shown> = Vec::new();
        let call = if clean { dss_lock_clean } else { dss_lock_list };
        // SAFETY: as above; the callback gets the list that it fills.
        let rc = unsafe { call(self.raw(), &filter, Some(show), (&raw mut shown).cast()) };
        (rc, shown)
    }

    /// The value and its version.
    pub fn get(&self, key: &[u8]) -> Result<(Vec<u8>, u64), c_int> {
        let key = string(key);
        let (mut value, mut len, mut version) = (ptr::null_mut(), 1, 1);
        // SAFETY: as above; the outputs are ours. The value has as many bytes as said and a NUL, from malloc, freed here.
        unsafe {
            match dss_get(self.raw(), key.as_ptr(), &mut value, &mut len, &mut version) {
                0 => {
                    let bytes = std::slice::from_raw_parts(value.cast::<u8>(), len + 1).to_vec();
                    libc::free(value);
                    assert_eq!(bytes.last(), Some(&0));
                    Ok((bytes[..len].to_vec(), version))
                }
                rc => {
                    assert!(value.is_null() && len == 0 && version == 0);
                    Err(rc)
                }
            }
        }
    }

    /// Sets a value, or deletes it; guarded by a version, and by a lock and its token.
    pub fn set(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        version: Option<u64>,
        lock: Option<(&[u8], u64)>,
    ) -> (c_int, u64) {
        let (key, lock_id) = (string(key), lock.map(|(id, _)| string(id)));
        let guard = dss_guard {
            size: size_of::<dss_guard>(),
            flags: version.map_or(0, |_| DSS_GUARD_VERSION) | lock.map_or(0, |_| DSS_GUARD_LOCK),
            version: version.unwrap_or(7),
            lock_id: lock_id.as_ref().map_or(ptr::null(), |id| id.as_ptr()),
            token: lock.map_or(0, |(_, token)| token),
        };
        let (bytes, len) = value.map_or((ptr::null(), 0), |value| (value.as_ptr(), value.len()));
        let mut new = 1;
        // SAFETY: as above; the value is as long as said.
        let rc = unsafe { dss_set(self.raw(), key.as_ptr(), bytes.cast(), len, &guard, &mut new) };
        (rc, new)
    }

    /// The keys that begin so, their versions and the lengths of their values.
    pub fn keys(&self, prefix: &[u8]) -> Vec<(Vec<u8>, u64, usize)> {
        let prefix = string(prefix);
        let mut keys: Vec<(Vec<u8>, u64, usize)> = Vec::new();
        // SAFETY: as above; the callback gets the list that it fills.
        assert_eq!(unsafe { dss_list(self.raw(), prefix.as_ptr(), Some(show_key), (&raw mut keys).cast()) }, 0);
        keys
    }

    fn raw(&self) -> *mut dss_handle {
        ptr::from_ref(&self.0).cast_mut()
    }
}

impl Drop for Dss {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { dss_fini(&mut self.0) };
    }
}

/// How to take locks.
#[derive(Clone, Debug, Default)]
pub struct Opts {
    pub flags: u64,
    pub ttl_ms: u64,
    pub wait_ms: i64,
    pub note: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub flags: u64,
    pub id: Option<Vec<u8>>,
    pub owner: Option<Vec<u8>>,
    pub min_age_ms: u64,
}

/// A lock as a list shows it, but for its times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    pub id: Vec<u8>,
    pub owner: Vec<u8>,
    pub note: Vec<u8>,
    pub token: u64,
    pub ttl_ms: u64,
}

unsafe extern "C" fn show_key(info: *const dss_key_info, arg: *mut c_void) -> c_int {
    // SAFETY: the library passes a key whose string is valid now, and what the caller gave it.
    unsafe {
        let (info, keys) = (&*info, &mut *arg.cast::<Vec<(Vec<u8>, u64, usize)>>());
        keys.push((CStr::from_ptr(info.key).to_bytes().to_vec(), info.version, info.len));
    }
    0
}

unsafe extern "C" fn show(info: *const dss_lock_info, arg: *mut c_void) -> c_int {
    // SAFETY: the library passes a lock whose strings are valid now, and what the caller gave it.
    unsafe {
        let (info, shown) = (&*info, &mut *arg.cast::<Vec<Shown>>());
        let text = |text: *const c_char| CStr::from_ptr(text).to_bytes().to_vec();
        let (id, owner, note) = (text(info.lock_id), text(info.lock_owner), text(info.note));
        shown.push(Shown { id, owner, note, token: info.token, ttl_ms: info.ttl_ms });
    }
    0
}

fn strings(ids: &[Vec<u8>]) -> Vec<CString> {
    ids.iter().map(|id| string(id)).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).collect()
}

fn string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap()
}

pub fn last_error() -> String {
    // SAFETY: never NULL, and copied at once.
    unsafe { CStr::from_ptr(dss_last_error()) }.to_str().unwrap().to_owned()
}

/// A fresh store of one kind; its folder goes with it.
pub struct Store {
    pub kind: String,
    pub uri: String,
    _folder: TempDir,
}

/// The kinds of store that the tests run on: all, or those in $DSS_TEST_STORES.
pub fn kinds() -> Vec<String> {
    let chosen = env::var("DSS_TEST_STORES").unwrap_or_else(|_| "sqlite,memory,postgres,etcd".into());
    chosen.split(',').map(str::to_owned).collect()
}

pub fn fresh(kind: &str) -> Store {
    let folder = TempDir::new().unwrap();
    let uri = match kind {
        "sqlite" => format!("sqlite:{}/dss.db", folder.path().display()),
        "memory" => format!("memory:{}", folder.path().display()),
        "postgres" => format!("{}?schema={}", server("DSS_TEST_POSTGRES"), unused_name()),
        "etcd" => format!("{}/{}", server("DSS_TEST_ETCD"), unused_name()),
        other => panic!("DSS_TEST_STORES names an unknown store: {other}"),
    };
    Store { kind: kind.into(), uri, _folder: folder }
}

/// Where the server of the tests is.
fn server(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!(
            "${variable} is not set. Run the tests beside servers: scripts/servers.sh run postgres etcd -- cargo \
             test, or name the stores to test, as in DSS_TEST_STORES=sqlite,memory"
        )
    })
}

/// The name of a part of a server that nobody else has.
fn unused_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let random = RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
    format!("t_{}_{random:016x}", process::id())
}
