//! Which store a connection string names: the only place that knows all of them.

#[cfg(feature = "etcd")]
use super::etcd;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{
    contract::{Fault, Missing, Store},
    health::Finding,
    memory,
};
use crate::model::{
    error::{Code, Error},
    uri::{self, Target},
};
use std::time::Instant;

/// A store that has been found but not opened: where its data is.
#[derive(Clone, Debug)]
pub enum Place {
    Memory {
        name: Box<[u8]>,
    },
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::place::Place),
    #[cfg(feature = "postgres")]
    Postgres(uri::postgres::Postgres),
    #[cfg(feature = "etcd")]
    Etcd(uri::etcd::Etcd),
}

/// What tells one store from another: places of equal keys are one store, with one engine in this process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    Memory {
        name: Box<[u8]>,
    },
    #[cfg(feature = "sqlite")]
    Sqlite {
        device: u64,
        inode: u64,
    },
    #[cfg(feature = "postgres")]
    Postgres(uri::postgres::Postgres),
    #[cfg(feature = "etcd")]
    Etcd(uri::etcd::Etcd),
}

impl Key {
    /// Whether the store is at the other end of a connection.
    pub fn is_remote(&self) -> bool {
        match self {
            Key::Memory { .. } => false,
            #[cfg(feature = "sqlite")]
            Key::Sqlite { .. } => false,
            #[cfg(feature = "postgres")]
            Key::Postgres(_) => true,
            #[cfg(feature = "etcd")]
            Key::Etcd(_) => true,
        }
    }
}

impl Place {
    /// Finds the target's data. Of a file that is missing an empty one is made, or it is refused.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables, reason = "of files"))]
    pub fn find(target: &Target, missing: Missing) -> Result<Place, Error> {
        match target {
            Target::Memory { name } => Ok(Place::Memory { name: name.clone() }),
            #[cfg(feature = "sqlite")]
            Target::Sqlite { path, mode } => match missing {
                Missing::Create => sqlite::place::Place::find(path, *mode).map(Place::Sqlite),
                Missing::Refuse => sqlite::place::Place::find_finished(path).map(Place::Sqlite),
            },
            #[cfg(not(feature = "sqlite"))]
            Target::Sqlite { .. } => Err(absent("SQLite")),
            #[cfg(feature = "postgres")]
            Target::Postgres(target) => Ok(Place::Postgres(target.clone())),
            #[cfg(not(feature = "postgres"))]
            Target::Postgres(_) => Err(absent("PostgreSQL")),
            #[cfg(feature = "etcd")]
            Target::Etcd(target) => Ok(Place::Etcd(target.clone())),
            #[cfg(not(feature = "etcd"))]
            Target::Etcd(_) => Err(absent("etcd")),
        }
    }

    pub fn key(&self) -> Key {
        match self {
            Place::Memory { name } => Key::Memory { name: name.clone() },
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => Key::Sqlite { device: place.device, inode: place.inode },
            #[cfg(feature = "postgres")]
            Place::Postgres(target) => Key::Postgres(target.clone()),
            #[cfg(feature = "etcd")]
            Place::Etcd(target) => Key::Etcd(target.clone()),
        }
    }

    /// A connection string without passwords; a file by its full path.
    pub fn uri(&self) -> Vec<u8> {
        match self {
            Place::Memory { name } => uri::text::of_memory(name),
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => uri::text::of_file(&place.path),
            #[cfg(feature = "postgres")]
            Place::Postgres(target) => target.text(),
            #[cfg(feature = "etcd")]
            Place::Etcd(target) => target.text(),
        }
    }

    /// Whether the store is at the other end of a connection.
    pub fn is_remote(&self) -> bool {
        self.key().is_remote()
    }

    #[cfg_attr(not(any(feature = "postgres", feature = "etcd")), expect(unused_variables, reason = "of connections"))]
    pub fn open(&self, missing: Missing, deadline: Instant) -> Result<Box<dyn Store>, Fault> {
        match self {
            Place::Memory { .. } => Ok(Box::new(memory::Memory::default())),
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => Ok(Box::new(sqlite::Sqlite::open(place.clone())?)),
            #[cfg(feature = "postgres")]
            Place::Postgres(target) => Ok(Box::new(postgres::Postgres::open(target, missing, deadline)?)),
            #[cfg(feature = "etcd")]
            Place::Etcd(target) => Ok(Box::new(etcd::Etcd::open(target, missing, deadline)?)),
        }
    }

    /// Looks at the store from this host, opens it for itself and changes nothing in it, until the deadline at most (and a moment for each question). It is to be asked while
    /// this process has no handle of the store.
    #[cfg_attr(not(any(feature = "postgres", feature = "etcd")), expect(unused_variables, reason = "of connections"))]
    pub fn examine(&self, deadline: Instant) -> Vec<Finding> {
        match self {
            Place::Memory { .. } => {
                vec![Finding::fine("store", "it is in the memory of the process that opens it, and ends with it")]
            }
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => sqlite::examine::examine(place),
            #[cfg(feature = "postgres")]
            Place::Postgres(target) => postgres::examine::examine(target, deadline),
            #[cfg(feature = "etcd")]
            Place::Etcd(target) => etcd::examine::examine(target, deadline),
        }
    }

    /// Fails where a forked child can't reach the store that its parent opened.
    pub fn check_after_fork(&self) -> Result<(), Error> {
        #[cfg(feature = "sqlite")]
        if let Place::Sqlite(place) = self {
            return place.check();
        }
        self.check_shared()
    }

    /// Fails if the store is in the memory of one process. Does no I/O.
    pub fn check_shared(&self) -> Result<(), Error> {
        if let Place::Memory { .. } = self {
            let text = "a memory: store stays with the process that opened it: open one of your own after fork";
            return Err(Error::new(Code::Forked, text));
        }
        Ok(())
    }
}

#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "etcd")))]
fn absent(store: &str) -> Error {
    let text = format!("this libdss was built without the {store} store: use another one, or a build that has it");
    Error::new(Code::Unsupported, text)
}
