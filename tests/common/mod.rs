//! The C interface as Rust tests use it, and the stores to run them on.
#![allow(dead_code, reason = "each test program uses a part of it")]

use dss::ffi::{
    handle::{dss_fini, dss_handle, dss_init_uri},
    lock::{dss_lock, dss_lock_refresh, dss_lock_status, dss_unlock},
    text::dss_last_error,
};
use std::{
    env,
    ffi::{CStr, CString, c_int},
    ptr,
};
use tempfile::TempDir;

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
    let chosen = env::var("DSS_TEST_STORES").unwrap_or_else(|_| "sqlite,memory".into());
    chosen.split(',').map(str::to_owned).collect()
}

pub fn fresh(kind: &str) -> Store {
    let folder = tempfile::tempdir().unwrap();
    let uri = match kind {
        "sqlite" => format!("sqlite:{}/dss.db", folder.path().display()),
        "memory" => format!("memory:{}", folder.path().display()),
        other => panic!("DSS_TEST_STORES names an unknown store: {other}"),
    };
    Store { kind: kind.into(), uri, _folder: folder }
}
