//! Stores: where the entries are kept. A store knows nothing of engines, handles or C.

pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use crate::model::{
    error::{Code, Error},
    request::{Outcome, Request},
    uri::Target,
};

/// What the engine asks of a store.
///
/// 1. `apply` does the requests of the batch in their order, each as [`crate::model::rules`] says, and answers each one
///    in its place. One request's refusal never undoes its neighbour.
/// 2. The batch is one transaction: nothing of it is visible before all of it is, and nothing of it after a
///    [`Fault::Busy`] or [`Fault::Failed`].
/// 3. An answer is given only when what it rests on is as durable as the store's settings promise.
/// 4. A batch of reads takes no lock that a writer needs.
/// 5. `apply` does not wait for other processes: where it would, it answers [`Fault::Busy`], and is asked again.
/// 6. After [`Fault::Unknown`] the same batch, with the same attempt ids, may be applied again.
/// 7. After `suspend` the store holds nothing that a fork would share; the next `apply` opens it again.
/// 8. Dropping a store closes it. No entry is released by that.
/// 9. `check` tells whether the store could be used at this moment; a new handle asks it of a store that is open.
pub trait Store: Send {
    fn apply(&mut self, batch: &[&Request]) -> Result<Vec<Outcome>, Fault>;
    fn suspend(&mut self);
    fn check(&mut self) -> Result<(), Fault>;
}

/// Why a whole batch was not done.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Somebody else is in the way at this moment; nothing changed.
    Busy(Error),
    /// It can't be done; nothing changed.
    Failed(Error),
    /// It may have been done.
    Unknown(Error),
}

/// A store that has been found but not opened: where its data is.
#[derive(Clone, Debug)]
pub enum Place {
    Memory {
        name: Box<[u8]>,
    },
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::place::Place),
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
}

impl Place {
    /// Finds the target's data, and makes the empty file where there is none yet.
    pub fn find(target: &Target) -> Result<Place, Error> {
        match target {
            Target::Memory { name } => Ok(Place::Memory { name: name.clone() }),
            #[cfg(feature = "sqlite")]
            Target::Sqlite { path, mode } => sqlite::place::Place::find(path, *mode).map(Place::Sqlite),
            #[cfg(not(feature = "sqlite"))]
            Target::Sqlite { .. } => {
                Err(Error::new(Code::Unsupported, "this libdss was built without the SQLite store"))
            }
        }
    }

    pub fn key(&self) -> Key {
        match self {
            Place::Memory { name } => Key::Memory { name: name.clone() },
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => Key::Sqlite { device: place.device, inode: place.inode },
        }
    }

    pub fn open(&self) -> Result<Box<dyn Store>, Fault> {
        match self {
            Place::Memory { .. } => Ok(Box::new(memory::Memory::default())),
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => Ok(Box::new(sqlite::Sqlite::open(place.clone())?)),
        }
    }

    /// Fails where a forked child can't reach the store that its parent opened.
    pub fn check_after_fork(&self) -> Result<(), Error> {
        match self {
            Place::Memory { .. } => {
                let text = "a memory: store stays with the process that opened it: open one of your own after fork";
                Err(Error::new(Code::Forked, text))
            }
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => place.check(),
        }
    }
}
