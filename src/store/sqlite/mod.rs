//! The SQLite store: the processes of one host share one file.

mod connection;
#[allow(unsafe_code)]
pub mod errors;
#[allow(unsafe_code)]
mod file_locks;
mod header;
mod network;
pub mod place;
mod schema;
#[allow(unsafe_code)]
mod statement;
#[allow(unsafe_code)]
mod vfs;
mod watch;

use super::{Fault, Store};
use crate::model::{
    error::Code,
    request::{Outcome, Request},
};
use connection::Connection;
use place::Place;

/// A store's file, and the connection to it while there is one.
pub struct Sqlite {
    place: Place,
    connection: Option<Connection>,
    /// A flush failed. What is in the file may not be on the disk, and no answer may rest on it until a transaction
    /// has written and flushed again: a second flush that succeeds proves nothing about the first one's data.
    in_doubt: bool,
}

impl Sqlite {
    pub fn open(place: Place) -> Result<Sqlite, Fault> {
        let connection = Connection::open(&place)?;
        Ok(Sqlite { place, connection: Some(connection), in_doubt: false })
    }

    fn connection(&mut self) -> Result<&mut Connection, Fault> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            gone => {
                self.place.check().map_err(Fault::Failed)?;
                Ok(gone.insert(Connection::open(&self.place)?))
            }
        }
    }

    /// After a failure of the disk or of the file, nothing that SQLite remembers is relied on.
    fn drop_if_damaged(&mut self, result: &Result<Vec<Outcome>, Fault>) {
        let Err(Fault::Failed(error)) = result else { return };
        let damaged = [Code::Io, Code::NotAStore, Code::Moved, Code::Unreachable, Code::NoMemory, Code::Defect];
        if damaged.contains(&error.code) {
            self.connection = None;
        }
    }
}

impl Store for Sqlite {
    fn apply(&mut self, batch: &[&Request]) -> Result<Vec<Outcome>, Fault> {
        let in_doubt = self.in_doubt;
        let connection = self.connection().map_err(after_init)?;
        if !in_doubt && batch.iter().all(|request| request.is_read()) {
            let result = connection.read(batch);
            self.drop_if_damaged(&result);
            return result;
        }
        let result = connection.write(batch, in_doubt);
        match &result {
            Ok(_) => self.in_doubt = false,
            // The connection stays: it knows that the transaction did not happen, and the next one writes over it.
            Err(Fault::Unknown(_)) => self.in_doubt = true,
            Err(_) => self.drop_if_damaged(&result),
        }
        result
    }

    fn check(&mut self) -> Result<(), Fault> {
        self.connection()?.check()
    }

    fn suspend(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close_quickly();
        }
    }
}

/// The store was open once: what would be a refusal at init is a store out of reach now.
fn after_init(fault: Fault) -> Fault {
    match fault {
        Fault::Failed(error) => Fault::Failed(error.after_init()),
        other => other,
    }
}
