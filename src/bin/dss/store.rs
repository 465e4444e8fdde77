//! The store that the command works on.

use super::{
    args::Common,
    exit::{Exit, Failure},
    output,
};
use dss::{
    engine::{
        close,
        default_store::{Origin, choose, choose_and_prepare},
        gate::{self, Inside},
        handle::{self, Handle, Opening},
    },
    model::{
        error::{Code, Error, Shown},
        uri::{Target, Uri},
    },
    store::contract::Missing,
};
use std::{os::unix::ffi::OsStrExt, sync::Arc};

/// Which store is meant, and why.
pub struct Choice {
    pub uri: Uri,
    /// None: the command line says so.
    origin: Option<Origin>,
}

impl Choice {
    pub fn of(common: &Common) -> Result<Choice, Failure> {
        let (mut uri, origin) = match &common.uri {
            Some(uri) => (Uri::parse(uri.as_bytes())?, None),
            None => choose().map(|(uri, origin)| (uri, Some(origin)))?,
        };
        if matches!(uri.target, Target::Memory { .. }) {
            return Err(Failure::usage(
                "a memory: store ends with its process, which is this command: name a file, a PostgreSQL server or an \
                 etcd cluster by --uri or DSS_URI",
            ));
        }
        if let Some(timeout) = common.timeout {
            uri.timeout = timeout;
        }
        Ok(Choice { uri, origin })
    }

    /// What says that it is this store.
    pub fn reason(&self) -> &'static str {
        match self.origin {
            None => "--uri says so",
            Some(Origin::Environment) => "DSS_URI says so",
            Some(Origin::Site) => "/etc/dss/uri says so",
            Some(Origin::User) => "DSS_URI is not set, so the default was meant",
        }
    }
}

/// An open handle, closed when it is dropped.
pub struct Store {
    number: usize,
    /// Printable, and without passwords.
    pub name: String,
}

impl Store {
    /// Opens a store that is there. Nothing is made where there is none: a wrong name would be a
    /// new, empty store.
    pub fn existing(common: &Common, client: Option<Arc<str>>) -> Result<Store, Failure> {
        let choice = Choice::of(common)?;
        let opening = Opening { client, missing: Missing::Refuse };
        Store::open(&choice.uri, opening).map_err(|error| match error.code {
            Code::Missing => Failure::new(Exit::Unusable, format!("{}: {}", error.text, choice.reason())),
            _ => Failure::of_store(error),
        })
    }

    /// Opens a store, and says so if it has to be made.
    pub fn of_writer(common: &Common, client: Option<Arc<str>>) -> Result<Store, Failure> {
        let choice = Choice::of(common)?;
        if choice.origin == Some(Origin::User) {
            choose_and_prepare()?;
        }
        let opening = Opening { client, missing: Missing::Create };
        let store = Store::open(&choice.uri, opening).map_err(Failure::of_store)?;
        if store.call(|handle, _| Ok::<_, Error>(handle.has_made_store()))? {
            output::say(&format!("made a new store, {} ({})", store.name, choice.reason()));
        }
        Ok(store)
    }

    fn open(uri: &Uri, opening: Opening) -> Result<Store, Error> {
        let number = handle::open(uri, opening, &mut gate::enter()?)?;
        let mut store = Store { number, name: String::new() };
        store.name = store.call(|handle, _| Ok::<_, Error>(Shown(handle.uri().to_bytes()).to_string()))?;
        Ok(store)
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
        let _ = gate::enter().and_then(|mut inside| close(self.number, &mut inside));
    }
}
