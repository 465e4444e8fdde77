//! Locks in etcd as one writes them without libdss, for the benchmark: the bare transaction, and the recipe of etcd's
//! concurrency package with a lease and a key of a waiter. The client is libdss's own, ureq and `serde_json` on a connection that
//! is kept. benches/etcd.c is the other side of the C interface at the end.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::ffi::{CStr, c_char, c_int};
use ureq::Agent;

const EIO: c_int = -5;
const EEXIST: c_int = -17;
const ENOLCK: c_int = -37;

/// How long a lease lasts in the recipe; it is never renewed, since no round is that long.
const TTL_S: &str = "120";

/// A worker's connection.
pub struct Client {
    agent: Agent,
    server: String,
    /// What the last lock was made with.
    revision: String,
    lease: String,
}

type Answer = Result<Value, ureq::Error>;

impl Client {
    fn connect(uri: &str) -> Client {
        let server = uri.replacen("etcd://", "http://", 1);
        Client { agent: Agent::new_with_defaults(), server, revision: String::new(), lease: String::new() }
    }

    fn call(&self, path: &str, body: &Value) -> Answer {
        let request = self.agent.post(format!("{}/v3/{path}", self.server)).content_type("application/json");
        let text = request.send(body.to_string())?.into_body().read_to_vec()?;
        serde_json::from_slice(&text).map_err(|error| ureq::Error::Io(error.into()))
    }

    /// Puts the key if there is none, and reads it otherwise.
    fn lock(&mut self, id: &str, owner: &str) -> Result<bool, ureq::Error> {
        let key = coded(&format!("bare/{id}"));
        let answer = self.call(
            "kv/txn",
            &json!({
                "compare": [{ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }],
                "success": [{ "request_put": { "key": key, "value": coded(owner) } }],
                "failure": [{ "request_range": { "key": key } }],
            }),
        )?;
        self.revision = text(&answer["header"]["revision"]);
        Ok(answer["succeeded"] == true)
    }

    /// Deletes the key if it is the one that was put.
    fn unlock(&mut self, id: &str) -> Result<bool, ureq::Error> {
        let key = coded(&format!("bare/{id}"));
        let answer = self.call(
            "kv/txn",
            &json!({
                "compare": [{ "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": self.revision }],
                "success": [{ "request_delete_range": { "key": key } }],
                "failure": [{ "request_range": { "key": key } }],
            }),
        )?;
        Ok(answer["succeeded"] == true)
    }

    fn grant(&mut self) -> Result<(), ureq::Error> {
        self.lease = text(&self.call("lease/grant", &json!({ "TTL": TTL_S }))?["ID"]);
        Ok(())
    }

    /// Puts the key of a waiter, with the lease, and looks who came first.
    fn wait(&mut self, id: &str, owner: &str) -> Result<bool, ureq::Error> {
        let key = coded(&format!("wait/{id}/{}", self.lease));
        self.call("kv/put", &json!({ "key": key, "value": coded(owner), "lease": self.lease }))?;
        let first = self.call(
            "kv/range",
            &json!({
                "key": coded(&format!("wait/{id}/")), "range_end": coded(&format!("wait/{id}0")),
                "sort_order": "ASCEND", "sort_target": "CREATE", "limit": "1",
            }),
        )?;
        Ok(first["kvs"][0]["key"] == *key)
    }

    fn leave(&mut self, id: &str) -> Result<bool, ureq::Error> {
        let key = coded(&format!("wait/{id}/{}", self.lease));
        Ok(self.call("kv/deleterange", &json!({ "key": key }))?["deleted"] == "1")
    }

    fn revoke(&mut self) -> Result<bool, ureq::Error> {
        self.call("lease/revoke", &json!({ "ID": self.lease })).map(|_| true)
    }
}

fn coded(name: &str) -> String {
    BASE64.encode(name)
}

/// The gateway gives 64-bit numbers as text.
fn text(number: &Value) -> String {
    number.as_str().unwrap_or("0").to_owned()
}

fn rc(done: Result<bool, ureq::Error>, otherwise: c_int) -> c_int {
    match done {
        Ok(true) => 0,
        Ok(false) => otherwise,
        Err(error) => {
            eprintln!("etcd: {error}");
            EIO
        }
    }
}

/// # Safety
/// It ends with NUL.
unsafe fn string<'a>(name: *const c_char) -> &'a str {
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default()
}

/// Gives NULL after a failure, of which stderr tells.
///
/// # Safety
/// The string ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcd_bare_open(uri: *const c_char) -> *mut Client {
    // SAFETY: as the caller says.
    let mut client = Client::connect(unsafe { string(uri) });
    // For those who take one lease for all; others do not use it.
    match rc(client.grant().map(|()| true), EIO) {
        0 => Box::into_raw(Box::new(client)),
        _ => std::ptr::null_mut(),
    }
}

/// # Safety
/// The client is one of `etcd_bare_open`, and not closed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcd_bare_close(client: *mut Client) {
    // SAFETY: as the caller says.
    let mut client = unsafe { Box::from_raw(client) };
    let _ = client.revoke();
}

/// Functions of C that call one of the client, with a lock's id and an owner.
macro_rules! calls {
    ($($name:ident = $call:expr, otherwise $otherwise:expr;)*) => {$(
        /// # Safety
        /// The client is one of `etcd_bare_open`, and not closed yet; the strings end with NUL.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(client: *mut Client, id: *const c_char, owner: *const c_char) -> c_int {
            let call: fn(&mut Client, &str, &str) -> Result<bool, ureq::Error> = $call;
            // SAFETY: as the caller says.
            let (client, id, owner) = unsafe { (&mut *client, string(id), string(owner)) };
            rc(call(client, id, owner), $otherwise)
        }
    )*};
}

calls! {
    etcd_bare_lock = |client, id, owner| client.lock(id, owner), otherwise EEXIST;
    etcd_bare_unlock = |client, id, _| client.unlock(id), otherwise ENOLCK;
    etcd_session_lock = |client, id, owner| client.wait(id, owner), otherwise EEXIST;
    etcd_session_unlock = |client, id, _| client.leave(id), otherwise ENOLCK;
    etcd_lease_lock = |client, id, owner| client.grant().and_then(|()| client.wait(id, owner)), otherwise EEXIST;
    etcd_lease_unlock = |client, _, _| client.revoke(), otherwise ENOLCK;
}
