//! The store that the command works on.

use super::{args::Common, exit::Failure};
use dss::{
    engine::{
        gate::{self, Inside},
        handle::{self, Handle, Opening},
    },
    ffi::handle::default_uri,
    model::{error::Error, uri::Uri},
};
use std::{os::unix::ffi::OsStrExt, sync::Arc};

/// An open handle, closed when it is dropped.
pub struct Store {
    number: usize,
}

/// The connection string of the command line or the environment.
pub fn uri(common: &Common) -> Result<Uri, Failure> {
    let mut uri = match &common.uri {
        Some(uri) => Uri::parse(uri.as_bytes())?,
        None => default_uri()?,
    };
    if let Some(timeout) = common.timeout {
        uri.timeout = timeout;
    }
    Ok(uri)
}

impl Store {
    pub fn open(common: &Common) -> Result<Store, Failure> {
        Store::open_as(common, None)
    }

    /// The same for locks that another process holds.
    pub fn open_as(common: &Common, client: Option<Arc<str>>) -> Result<Store, Failure> {
        let uri = uri(common)?;
        let number = handle::open(&uri, Opening { client }, &mut gate::enter()?).map_err(Failure::of_store)?;
        Ok(Store { number })
    }

    /// One call.
    pub fn call<T, E>(&self, call: impl FnOnce(&Handle, &mut Inside) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        let mut inside = gate::enter()?;
        let handle = handle::find(self.number, &inside)?;
        call(&handle, &mut inside)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = gate::enter().and_then(|mut inside| handle::close(self.number, &mut inside));
    }
}
