//! The calls of etcd's gateway that the store makes, typed.

use super::{
    errors::Trouble,
    http::{Client, Repeat},
};
use crate::model::error::{Code, Error};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Value, json};
use std::{fmt::Write, time::Instant};

/// The most operations in one list of a transaction: etcd's default.
pub const OPERATIONS_MAX: usize = 128;

/// One transaction: what must hold, what is done then, and what is read otherwise.
#[derive(Default)]
pub struct Txn {
    compare: List,
    success: List,
    failure: List,
}

#[derive(Default)]
struct List {
    text: String,
    count: usize,
}

impl List {
    /// Adds an item with these fields, if there is room.
    fn add(&mut self, open: &str, bytes: &[(&str, &[u8])], rest: &str) -> bool {
        if self.count == OPERATIONS_MAX {
            return false;
        }
        let out = &mut self.text;
        if self.count > 0 {
            out.push(',');
        }
        out.push_str(open);
        for (place, (name, value)) in bytes.iter().enumerate() {
            let _ = write!(out, "{}\"{name}\":\"", if place > 0 { "," } else { "" });
            BASE64.encode_string(value, out);
            out.push('"');
        }
        out.push_str(rest);
        self.count += 1;
        true
    }
}

impl Txn {
    /// If the key was put last at this revision; 0: if it is not there.
    pub fn if_modified(&mut self, key: &[u8], revision: i64) -> bool {
        let rest = format!(",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"{revision}\"}}");
        self.compare.add("{", &[("key", key)], &rest)
    }

    pub fn if_there(&mut self, key: &[u8]) -> bool {
        let rest = ",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"0\"}";
        self.compare.add("{", &[("key", key)], rest)
    }

    pub fn if_none(&mut self, key: &[u8], end: &[u8]) -> bool {
        let rest = ",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"}";
        self.compare.add("{", &[("key", key), ("range_end", end)], rest)
    }

    /// If there are keys in the range, and none is older than this revision.
    pub fn if_none_older(&mut self, key: &[u8], end: &[u8], revision: i64) -> bool {
        let least = revision - 1;
        let rest = format!(",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"{least}\"}}");
        self.compare.add("{", &[("key", key), ("range_end", end)], &rest)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> bool {
        let rest = match lease {
            0 => "}}".to_owned(),
            lease => format!(",\"lease\":\"{lease}\"}}}}"),
        };
        self.success.add("{\"request_put\":{", &[("key", key), ("value", value)], &rest)
    }

    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.success.add("{\"request_delete_range\":{", &[("key", key)], "}}")
    }

    pub fn get(&mut self, key: &[u8]) -> bool {
        self.success.add("{\"request_range\":{", &[("key", key)], "}}")
    }

    /// Of the keys in the range, the one that was made first.
    pub fn get_oldest(&mut self, key: &[u8], end: &[u8]) -> bool {
        self.success.add("{\"request_range\":{", &[("key", key), ("range_end", end)], OLDEST)
    }

    pub fn get_at(&mut self, key: &[u8], revision: i64) -> bool {
        self.success.add("{\"request_range\":{", &[("key", key)], &format!(",\"revision\":\"{revision}\"}}}}"))
    }

    /// Without the value.
    pub fn get_bare(&mut self, key: &[u8]) -> bool {
        self.success.add("{\"request_range\":{", &[("key", key)], BARE)
    }

    pub fn else_get(&mut self, key: &[u8]) -> bool {
        self.failure.add("{\"request_range\":{", &[("key", key)], "}}")
    }

    pub fn else_get_oldest(&mut self, key: &[u8], end: &[u8]) -> bool {
        self.failure.add("{\"request_range\":{", &[("key", key), ("range_end", end)], OLDEST)
    }

    pub fn else_get_bare(&mut self, key: &[u8]) -> bool {
        self.failure.add("{\"request_range\":{", &[("key", key)], BARE)
    }

    pub fn body(&self) -> String {
        let (compare, success, failure) = (&self.compare.text, &self.success.text, &self.failure.text);
        format!("{{\"compare\":[{compare}],\"success\":[{success}],\"failure\":[{failure}]}}")
    }
}

const BARE: &str = ",\"keys_only\":true}}";
const OLDEST: &str = ",\"limit\":\"1\",\"sort_order\":\"ASCEND\",\"sort_target\":\"CREATE\"}}";

/// What a transaction, or a range, has found.
#[derive(Debug)]
pub struct Answer {
    pub revision: i64,
    pub succeeded: bool,
    /// What each of the reads found, in their order.
    pub found: Vec<Vec<Pair>>,
}

/// A key and what is known of it.
#[derive(Debug)]
pub struct Pair {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub created: i64,
    pub modified: i64,
}

pub struct Range<'a> {
    pub key: &'a [u8],
    pub end: &'a [u8],
    pub limit: usize,
    /// 0: now.
    pub revision: i64,
}

/// A lease as it was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    pub id: i64,
    pub ttl_ms: u64,
}

impl Client {
    /// A transaction that is done once. After [`Trouble::Lost`] it may have been.
    pub fn write(&self, txn: &Txn, deadline: Instant) -> Result<Answer, Trouble> {
        answer(&self.call("/v3/kv/txn", &txn.body(), Repeat::UntilSent, deadline)?)
    }

    /// A transaction that may be done several times.
    pub fn read(&self, txn: &Txn, deadline: Instant) -> Result<Answer, Trouble> {
        self.read_again(txn, Repeat::Always, deadline)
    }

    pub fn read_again(&self, txn: &Txn, repeat: Repeat, deadline: Instant) -> Result<Answer, Trouble> {
        answer(&self.call("/v3/kv/txn", &txn.body(), repeat, deadline)?)
    }

    pub fn range(&self, range: &Range<'_>, deadline: Instant) -> Result<Answer, Trouble> {
        let coded = |bytes: &[u8]| {
            let mut text = String::new();
            BASE64.encode_string(bytes, &mut text);
            text
        };
        let (limit, revision) = (range.limit.to_string(), range.revision.to_string());
        let body =
            json!({ "key": coded(range.key), "range_end": coded(range.end), "limit": limit, "revision": revision });
        let value = self.call("/v3/kv/range", &body.to_string(), Repeat::Always, deadline)?;
        let pairs = pairs(&value).ok_or_else(unreadable)?;
        Ok(Answer { revision: number(&value["header"]["revision"]), succeeded: true, found: vec![pairs] })
    }

    /// Makes the lease of this number; harmless where it was made already.
    pub fn grant(&self, id: i64, ttl_s: u64, deadline: Instant) -> Result<Granted, Trouble> {
        let body = json!({ "ID": id.to_string(), "TTL": ttl_s.to_string() }).to_string();
        match self.call("/v3/lease/grant", &body, Repeat::Always, deadline) {
            Ok(value) => Ok(Granted { id, ttl_ms: number(&value["TTL"]).max(0) as u64 * 1000 }),
            // An earlier try has made it, and its answer was lost.
            Err(Trouble::Refused(refusal)) if refusal.is_lease_taken() => {
                self.keep_alive(id, deadline)?.ok_or(Trouble::Refused(refusal))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Starts the lease anew; None if it is over.
    pub fn keep_alive(&self, id: i64, deadline: Instant) -> Result<Option<Granted>, Trouble> {
        let body = json!({ "ID": id.to_string() }).to_string();
        let value = match self.call("/v3/lease/keepalive", &body, Repeat::Always, deadline) {
            Err(Trouble::Refused(refusal)) if refusal.is_no_lease() => return Ok(None),
            other => other?,
        };
        let ttl_s = number(&value["result"]["TTL"]);
        Ok((ttl_s > 0).then_some(Granted { id, ttl_ms: ttl_s as u64 * 1000 }))
    }

    /// How long the lease still runs, in whole seconds; 0 or less if it is over.
    pub fn left_s(&self, id: i64, deadline: Instant) -> Result<i64, Trouble> {
        let body = json!({ "ID": id.to_string() }).to_string();
        match self.call("/v3/lease/timetolive", &body, Repeat::Always, deadline) {
            Err(Trouble::Refused(refusal)) if refusal.is_no_lease() => Ok(-1),
            other => Ok(number(&other?["TTL"])),
        }
    }

    pub fn revoke(&self, id: i64, deadline: Instant) -> Result<(), Trouble> {
        let body = json!({ "ID": id.to_string() }).to_string();
        match self.call("/v3/lease/revoke", &body, Repeat::Always, deadline) {
            Err(Trouble::Refused(refusal)) if refusal.is_no_lease() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Refuses servers that are too old.
    pub fn check_version(&self, deadline: Instant) -> Result<(), Trouble> {
        let asked = self.call("/v3/maintenance/status", "{}", Repeat::WhileSilent, deadline);
        let value = match asked {
            // Before 3.4 the gateway had another path.
            Err(Trouble::NotSent(error)) if error.text.contains("status 404") => {
                return Err(Trouble::NotSent(Error::new(Code::Unsupported, error.text)));
            }
            // Newer ones tell it to root alone.
            Err(Trouble::Refused(refusal)) if refusal.is_denied() => return Ok(()),
            other => other?,
        };
        let version = value["version"].as_str().unwrap_or_default();
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version_is = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version_is < (3, 4) { Err(too_old(self.endpoint(), version)) } else { Ok(()) }
    }
}

fn too_old(endpoint: &str, version: &str) -> Trouble {
    let text = format!("etcd at {endpoint} is of version {version}: libdss needs 3.4 or newer");
    Trouble::NotSent(Error::new(Code::Unsupported, text))
}

/// 64-bit numbers come as text, and 0 not at all.
pub fn number(value: &Value) -> i64 {
    value.as_str().map_or_else(|| value.as_i64().unwrap_or(0), |text| text.parse().unwrap_or(0))
}

pub(super) fn answer(value: &Value) -> Result<Answer, Trouble> {
    let responses = value["responses"].as_array().map_or(&[][..], |list| &list[..]);
    let ranges = responses.iter().map(|response| &response["response_range"]).filter(|range| range.is_object());
    let found = ranges.map(pairs).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
    let succeeded = value["succeeded"].as_bool().unwrap_or(false);
    Ok(Answer { revision: number(&value["header"]["revision"]), succeeded, found })
}

fn pairs(range: &Value) -> Option<Vec<Pair>> {
    let pairs = range["kvs"].as_array().map_or(&[][..], |list| &list[..]);
    pairs.iter().map(pair).collect()
}

pub fn pair(value: &Value) -> Option<Pair> {
    let bytes = |name: &str| BASE64.decode(value[name].as_str().unwrap_or_default()).ok();
    let (created, modified) = (number(&value["create_revision"]), number(&value["mod_revision"]));
    Some(Pair { key: bytes("key")?, value: bytes("value")?, created, modified })
}

fn unreadable() -> Trouble {
    let text = "the server answers with keys that are no base64: see that it is an etcd";
    Trouble::Lost(Error::new(Code::Unreachable, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_as_much_as_etcd_does() {
        let mut txn = Txn::default();
        assert!((0..OPERATIONS_MAX).all(|_| txn.get(b"k")) && !txn.get(b"k"));
        assert!(serde_json::from_str::<Value>(&txn.body()).is_ok());
    }

    #[test]
    fn answers_are_read() {
        let text = r#"{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_put":{}},
            {"response_range":{"kvs":[{"key":"YQ==","create_revision":"2","mod_revision":"5"}],"count":"1"}},
            {"response_range":{"header":{"revision":"7"}}}]}"#;
        let read = answer(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!((read.revision, read.succeeded, read.found.len()), (7, true, 2));
        let first = &read.found[0][0];
        assert_eq!((&first.key[..], first.created, first.modified, first.value.len()), (&b"a"[..], 2, 5, 0));
        assert!(read.found[1].is_empty());
    }
}
