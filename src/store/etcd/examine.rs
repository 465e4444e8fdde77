//! How it stands with the members of an etcd cluster and the store on it.

use super::{
    api::number,
    codec::Keys,
    errors::Trouble,
    format,
    http::{Client, Repeat},
    one_try,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        uri::etcd::Etcd as Target,
    },
    store::health::{Finding, Level, size},
};
use serde_json::Value;
use std::{io, thread, time::Instant};

/// etcd's own default of --quota-backend-bytes, where it does not tell.
const QUOTA_DEFAULT: u64 = 2 << 30;
/// So much unused room is worth a defragmentation.
const UNUSED_MUCH: u64 = 256 << 20;

pub fn examine(target: &Target, deadline: Instant) -> Vec<Finding> {
    let client = match Client::new(target) {
        Ok(client) => client,
        Err(error) => return vec![Finding::failed("store", &error)],
    };
    let asked = ask_all(target, deadline);
    let mut findings = members(&asked);
    if findings.iter().any(|finding| finding.level == Level::Wrong) {
        return findings;
    }
    findings.insert(0, store(&client, target, deadline));
    let answers: Vec<&Value> = asked.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.as_ref()).collect();
    if answers.is_empty() {
        return findings;
    }
    findings.push(leader(&answers));
    findings.extend(space(&answers));
    findings.extend(alarms(&client, deadline));
    findings.extend(cluster(&client, target, deadline));
    findings.push(way(target));
    findings
}

fn store(client: &Client, target: &Target, deadline: Instant) -> Finding {
    let begun = clock::instant();
    match format::look(client, &Keys::new(&target.prefix), &target.prefix, one_try(deadline)) {
        Ok(true) => {
            let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
            Finding::fine("store", format!("prefix {}/, a question takes {took_ms:.1} ms", target.prefix))
        }
        Ok(false) => Finding::wrong(
            "store",
            format!("there is no store at prefix {}/ yet", target.prefix),
            "see that it is the prefix that the programs use; the first of them makes it",
        ),
        Err(error) => Finding::failed("store", &error),
    }
}

/// What each member says of itself. They are asked at the same time, so that silent ones use up no time of the others.
fn ask_all(target: &Target, deadline: Instant) -> Vec<(&str, Asked)> {
    thread::scope(|scope| {
        let ask = |endpoint| thread::Builder::new().spawn_scoped(scope, move || status(target, endpoint, deadline));
        let asked: Vec<_> = target.endpoints.iter().map(|endpoint| (&**endpoint, ask(endpoint))).collect();
        let no_answer = |why: String| Err(Error::new(Code::NoMemory, format!("a member could not be asked: {why}")));
        let answer = |asked: io::Result<thread::ScopedJoinHandle<'_, _>>| match asked {
            Ok(thread) => thread.join().unwrap_or_else(|_| no_answer("the one who asked it broke down".into())),
            Err(error) => no_answer(error.to_string()),
        };
        asked.into_iter().map(|(endpoint, asked)| (endpoint, answer(asked))).collect()
    })
}

/// The state of a member; None if it answers, but not to this user.
type Asked = Result<Option<Value>, Error>;

/// What one member says of itself.
fn status(target: &Target, endpoint: &str, deadline: Instant) -> Asked {
    let client = Client::new(&Target { endpoints: vec![endpoint.into()], ..target.clone() })?;
    match client.call("/v3/maintenance/status", "{}", Repeat::WhileSilent, one_try(deadline)) {
        Ok(status) => Ok(Some(status)),
        // Newer ones tell it to root alone.
        Err(Trouble::Refused(refusal)) if refusal.is_denied() => Ok(None),
        Err(trouble) => Err(trouble.error()),
    }
}

fn members(asked: &[(&str, Asked)]) -> Vec<Finding> {
    let some_answer = asked.iter().any(|(_, answer)| answer.is_ok());
    let member = |(endpoint, answer): &(&str, Asked)| match answer {
        Ok(Some(status)) => {
            let version = status["version"].as_str().unwrap_or("of no version");
            let errors: Vec<&str> =
                status["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            match errors[..] {
                [] if status["isLearner"].as_bool() == Some(true) => Finding::warning(
                    "member",
                    format!("{endpoint}: etcd {version}, a learner, which takes no requests for others"),
                    "name voting members in the connection string, or promote it",
                ),
                [] => Finding::fine("member", format!("{endpoint}: etcd {version}")),
                _ => Finding::warning("member", format!("{endpoint} says: {}", errors.join("; ")), "see its log"),
            }
        }
        Ok(None) => Finding::fine("member", format!("{endpoint} answers; the user may not ask for its state")),
        Err(error) if some_answer => {
            Finding::warning("member", error.text.clone(), "the others do its work; start it again")
        }
        Err(error) => Finding::failed("member", error),
    };
    asked.iter().map(member).collect()
}

fn leader(answers: &[&Value]) -> Finding {
    // A number of 64 bits, as text.
    let has_one = |status: &&Value| status["leader"].as_str().is_some_and(|leader| leader != "0");
    if !answers.iter().any(has_one) {
        return Finding::wrong(
            "leader",
            "the cluster has no leader: no majority of its members is there, and nothing can be locked",
            "start the members that are missing",
        );
    }
    Finding::fine("leader", "there is one")
}

fn space(answers: &[&Value]) -> Vec<Finding> {
    let bytes = |status: &Value, name: &str| number(&status[name]).max(0) as u64;
    let Some(fullest) = answers.iter().max_by_key(|status| bytes(status, "dbSize")) else { return Vec::new() };
    let (all, used, told) = (bytes(fullest, "dbSize"), bytes(fullest, "dbSizeInUse"), bytes(fullest, "dbSizeQuota"));
    let quota = if told == 0 { QUOTA_DEFAULT } else { told };
    let of = if told == 0 { format!("{} (the default)", size(quota)) } else { size(quota) };
    let text = format!("{} of {of} are taken, {} of them in use", size(all), size(used));
    vec![if used * 5 > quota * 4 {
        Finding::warning(
            "space",
            text,
            "compact the history (--auto-compaction-retention), or raise --quota-backend-bytes",
        )
    } else if all * 5 > quota * 4 || all - used.min(all) > UNUSED_MUCH {
        Finding::warning("space", text, "etcdctl defrag, one member after the other")
    } else {
        Finding::fine("space", text)
    }]
}

fn alarms(client: &Client, deadline: Instant) -> Vec<Finding> {
    let asked = client.call("/v3/maintenance/alarm", "{\"action\":\"GET\"}", Repeat::Always, one_try(deadline));
    let Ok(answer) = asked else { return Vec::new() };
    let alarms = answer["alarms"].as_array().into_iter().flatten();
    let finding = |alarm: &Value| match alarm["alarm"].as_str() {
        Some("NOSPACE") => Finding::wrong(
            "alarm",
            "NOSPACE: the quota is used up, and etcd takes no writes",
            "compact and defragment it, or raise --quota-backend-bytes; then etcdctl alarm disarm",
        ),
        kind => {
            Finding::wrong("alarm", format!("{}: see etcd's manual", kind.unwrap_or("unknown")), "etcdctl alarm list")
        }
    };
    let mut findings: Vec<Finding> = alarms.map(finding).collect();
    findings.dedup_by(|one, other| one.text == other.text);
    if findings.is_empty() {
        findings.push(Finding::fine("alarm", "none"));
    }
    findings
}

/// Whether others take over when a member is lost, and whether this host knows them.
fn cluster(client: &Client, target: &Target, deadline: Instant) -> Option<Finding> {
    let answer = client.call("/v3/cluster/member/list", "{}", Repeat::Always, one_try(deadline)).ok()?;
    let voters =
        answer["members"].as_array()?.iter().filter(|member| member["isLearner"].as_bool() != Some(true)).count();
    Some(match voters {
        1 => Finding::warning("cluster", "it has one member: while that is away, nothing can be locked", "run three"),
        _ if target.endpoints.len() == 1 => Finding::warning(
            "cluster",
            format!("it has {voters} members, and the connection string names one"),
            "name them all, so that another is asked when that one is away",
        ),
        _ => Finding::fine("cluster", format!("{voters} members, of which {} may be away", (voters - 1) / 2)),
    })
}

fn way(target: &Target) -> Finding {
    let is_local = |endpoint: &str| {
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    };
    if target.tls {
        Finding::fine("way", "encrypted (TLS)")
    } else if target.endpoints.iter().all(|endpoint| is_local(endpoint)) {
        Finding::fine("way", "it does not leave this host")
    } else {
        Finding::warning("way", "names and passwords go over the network unencrypted", "add tls=on and cacert=FILE")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_members_say_is_weighed() {
        let status = |value: Value| ("h:1", Ok(Some(value)));
        let fine = status(json!({"version": "3.5.9"}));
        let silent = ("h:2", Err(Error::new(Code::Unreachable, "no answer")));
        let level = |asked: &[(&str, Asked)]| members(asked).iter().map(|finding| finding.level).max();
        assert_eq!(level(std::slice::from_ref(&fine)), Some(Level::Fine));
        assert_eq!(level(&[fine.clone(), silent.clone()]), Some(Level::Warning));
        assert_eq!(level(&[silent]), Some(Level::Wrong));
        // A login that fails is no sign that all is well.
        assert_eq!(level(&[("h:1", Err(Error::new(Code::Denied, "no login")))]), Some(Level::Wrong));
        assert_eq!(level(&[("h:1", Ok(None))]), Some(Level::Fine));
        assert_eq!(level(&[fine, status(json!({"isLearner": true}))]), Some(Level::Warning));
        assert_eq!(leader(&[&json!({"leader": "0"}), &json!({})]).level, Level::Wrong);
        assert_eq!(leader(&[&json!({}), &json!({"leader": "18446744073709551615"})]).level, Level::Fine);
    }

    #[test]
    fn space_is_weighed() {
        let level = |all: u64, used: u64, quota: u64| {
            let told =
                json!({"dbSize": all.to_string(), "dbSizeInUse": used.to_string(), "dbSizeQuota": quota.to_string()});
            space(&[&told])[0].clone()
        };
        assert_eq!(level(1 << 20, 1 << 20, 0).level, Level::Fine);
        assert_eq!(level(2 << 30, 2 << 30, 0).level, Level::Warning);
        assert_eq!(level(2 << 30, 2 << 30, 8 << 30).level, Level::Fine);
        assert!(level(1 << 30, 1 << 20, 8 << 30).cure.contains("defrag"));
    }
}
