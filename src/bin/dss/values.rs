//! What stands under keys.

use super::{
    args::{Common, Get, Keys, Set},
    exit::{Exit, Failure},
    locks::unprinted,
    names, output,
    store::Store,
    system,
};
use dss::{
    engine::state::Unwritten,
    model::state::{Fence, Guard, VALUE_MAX},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

pub fn get(common: &Common, get: &Get) -> Result<Exit, Failure> {
    let key = names::key(&get.key)?;
    let store = Store::existing(common, None)?;
    let value =
        store.call(|handle, inside| handle.get(key, inside)).map_err(|error| Failure::in_store(error, &store))?;
    let version = value.stamp.version;
    if common.json {
        let content = match std::str::from_utf8(&value.bytes) {
            Ok(text) => json!({"key": name_of(&get.key), "version": version.to_string(), "value": text}),
            Err(_) => json!({"key": name_of(&get.key), "version": version.to_string(), "hex": hex(&value.bytes)}),
        };
        output::print_json(&store.name, "value", content)?;
    } else if get.version {
        output::print(&format!("{version}\n"))?;
    } else {
        // As it was written, to the byte.
        let mut out = io::stdout().lock();
        out.write_all(&value.bytes)?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn name_of(typed: &std::ffi::OsStr) -> String {
    output::shown(typed.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn set(common: &Common, set: &Set) -> Result<Exit, Failure> {
    let (key, bytes) = (names::key(&set.key)?, bytes_of(set)?);
    if bytes.as_ref().is_some_and(|bytes| bytes.len() > VALUE_MAX) {
        return Err(Failure::usage(format!("the value is too long: it may have {VALUE_MAX} bytes")));
    }
    let lock = match (&set.lock, set.token) {
        (Some(id), Some(token)) => Some(Fence { id: names::id(id)?, token }),
        _ => None,
    };
    let guard = Guard { version: set.if_version, lock };
    system::survive_failed_writes();
    let store = Store::of_writer(common, None)?;
    let written = store.call(|handle, inside| handle.set(key, bytes.map(Into::into), guard, inside).map_err(Not));
    let version = written.map_err(|Not(unwritten)| Failure::in_store(unwritten.error, &store))?;
    let answer = if common.json {
        output::document(&store.name, "written", json!({"key": name_of(&set.key), "version": version.to_string()}))
    } else if common.quiet || set.delete {
        return Ok(Exit::Done);
    } else {
        format!("{version}\n")
    };
    output::answer(&answer).map_err(|error| {
        let text = format!("{}; version {version} of {} was written", unprinted(&error), name_of(&set.key));
        Failure::new(Exit::Other, text)
    })?;
    Ok(Exit::Done)
}

/// So that what fails before the call is of the same kind.
struct Not(Unwritten);

impl From<dss::model::error::Error> for Not {
    fn from(error: dss::model::error::Error) -> Not {
        Not(error.into())
    }
}

fn bytes_of(set: &Set) -> Result<Option<Vec<u8>>, Failure> {
    match (&set.value, &set.file) {
        (Some(value), _) => Ok(Some(value.as_bytes().to_vec())),
        (None, Some(path)) if path == Path::new("-") => read(&mut io::stdin().lock(), "standard input").map(Some),
        (None, Some(path)) => {
            let name = path.display().to_string();
            let mut file = File::open(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
            read(&mut file, &name).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// No more than a value may have and one byte, which says that it is too long.
fn read(from: &mut impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(VALUE_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Ok(bytes)
}

pub fn keys(common: &Common, keys: &Keys) -> Result<Exit, Failure> {
    let store = Store::existing(common, None)?;
    let prefix = keys.prefix.as_ref().map_or(&b""[..], |prefix| prefix.as_bytes());
    let (mut list, mut text) = (Vec::new(), String::new());
    store.call(|handle, inside| {
        let show = |info: &dss::model::state::KeyInfo| {
            let key = output::shown(info.key.as_bytes());
            if common.json {
                list.push(json!({"key": key, "version": info.version.to_string(), "bytes": info.len}));
            } else if common.quiet {
                text += &format!("{key}\n");
            } else {
                text += &format!("{:>20}  {:>8}  {key}\n", info.version, info.len);
            }
            0
        };
        handle.keys(prefix, show, inside)
    })?;
    if common.json {
        output::print_json(&store.name, "keys", Value::Array(list))?;
    } else if common.quiet {
        output::print(&text)?;
    } else if text.is_empty() {
        output::say(&format!("there are no such keys in {}", store.name));
    } else {
        output::print(&format!("{:>20}  {:>8}  KEY\n{text}", "VERSION", "BYTES"))?;
    }
    Ok(Exit::Done)
}
