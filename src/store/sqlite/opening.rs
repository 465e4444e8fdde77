//! What must hold of a file before it is used as a store.

use super::{
    beside::Beside,
    errors::Failure,
    header::{self, Header},
    paths::{self, PathText},
    place::Place,
    schema,
    stop::Stop,
    vfs,
};
use crate::{
    model::error::{Code, Error},
    mutant,
    store::contract::Fault,
    sys::{self, byte_lock},
};
use rusqlite::{Connection as Sql, FileControl};
use std::io;

/// A byte whose lock is the right to make a store of an empty file. SQLite never locks it, far
/// behind the end of any file.
const MAKING: libc::off_t = 1 << 62;

/// Of the processes that find a file in which no store is ready, one makes it, and the others wait: if all of them tried
/// at once, each would have the file locked for another's commit. The right ends when what is returned is dropped.
pub fn make_alone(place: &Place, path: &str) -> Result<Option<Beside>, Fault> {
    let failed = |error: io::Error| Fault::Failed(paths::at(&place.path, "can't be opened", &error));
    if header::look(&place.path).map_err(failed)? != Header::Unfinished {
        return Ok(None);
    }
    let beside = Beside::open(&place.path, libc::O_RDWR).map_err(failed)?;
    let file = beside.descriptor().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    if byte_lock::try_lock(file.marked, MAKING).map_err(failed)? {
        // One who was killed while it took back an unfinished store has left an empty file, of which the disk may not know yet. For
        // SQLite its journal is of no use then: it removes it, and after a power cut the pages are there again without it.
        if !mutant::on("unflushed_file") {
            beside.file().sync_all().map_err(failed)?;
        }
        return Ok(Some(beside));
    }
    let text = format!("{path}: another opener of the file has the lock under which the store is made in it");
    Err(Fault::Busy(Error::new(Code::Busy, text)))
}

/// Sees to it that SQLite opened the very file that was found, and that it is a store; makes the tables of a new one.
fn admit(sql: &Sql, place: &Place, path: &str) -> Result<(), Stop> {
    let refused = |code, text: String| Err(Stop::Refused(Error::new(code, text)));
    let mut moved = 0;
    let asked = sql.file_control(Some(c"main"), FileControl::HasMoved(&mut moved));
    place.check()?;
    if moved != 0 {
        return refused(Code::Moved, format!("{path} was replaced while it was opened: open it again"));
    }
    let prepared = asked.and_then(|()| schema::configure(sql)).and_then(|()| schema::prepare(sql));
    let id = prepared.and_then(|()| Ok((sql.is_readonly(c"main")?, schema::application_id(sql)?)));
    match id.map_err(|error| Failure::on(sql, &error))? {
        (true, _) => {
            sys::check_writable(&place.path).map_err(|error| paths::at(&place.path, "can't be written", &error))?;
            // It is the file's header that says otherwise.
            refused(Code::NotAStore, format!("{path} has a damaged header: restore it"))
        }
        (false, schema::APPLICATION_ID) => Ok(()),
        (false, _) => refused(Code::NotAStore, format!("{path} is another program's database: give another path")),
    }
}

/// Opens the file in SQLite, and has it open the log and the index.
pub fn open_sql(place: &Place, path: &str) -> Result<Sql, Fault> {
    let sql = vfs::connect(&place.path).map_err(|error| not_opened(&error, place, path))?;
    admit(&sql, place, path).map_err(|stop| seen_anew(stop.fault(path), place))?;
    Ok(sql)
}

/// Where the file can't be written, that is why.
fn not_opened(error: &rusqlite::Error, place: &Place, path: &str) -> Fault {
    let failure = Failure::at_open(error);
    match sys::check_writable(&place.path) {
        Err(cause) => Fault::Failed(paths::at(&place.path, "can't be written", &cause)),
        Ok(()) => failure.fault(path),
    }
}

/// SQLite takes a file that it can't look at for one that was moved.
fn seen_anew(fault: Fault, place: &Place) -> Fault {
    let Fault::Failed(error) = fault else { return fault };
    if error.code != Code::Moved {
        return Fault::Failed(error);
    }
    Fault::Failed(
        place.check().err().unwrap_or_else(|| {
            Error::new(Code::Io, format!("{} could not be looked at: try again", place.path.shown()))
        }),
    )
}
