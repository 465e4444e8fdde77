//! Whether the store is well, in plain words, and what to do if not.

use super::{
    args::{Common, Doctor},
    exit::{Exit, Failure},
    holder, locks, names, output,
    store::{Choice, Store},
    system,
};
use dss::{
    engine::{Ask, list::Listed},
    model::{
        error::{Code, Error},
        lock::Filter,
        name::LockId,
    },
    store::{
        contract::Missing,
        health::{Finding, Level, seconds},
        open::Place,
    },
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// As programs that watch services take it.
const WARNING: u8 = 1;
const WRONG: u8 = 2;

/// A look at the whole store that takes longer keeps nobody waiting, but says that something is slow.
const SLOW: Duration = Duration::from_secs(2);
/// How many old locks are named.
const NAMED_MOST: usize = 3;

pub fn doctor(common: &Common, doctor: &Doctor) -> Result<Exit, Failure> {
    let choice = Choice::of(common)?;
    let findings = examine(common, doctor, &choice);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine);
    show(common, &choice, &findings, worst)?;
    Ok(match worst {
        Level::Fine => Exit::Done,
        Level::Warning => Exit::Chosen(WARNING),
        Level::Wrong => Exit::Chosen(WRONG),
    })
}

fn examine(common: &Common, doctor: &Doctor, choice: &Choice) -> Vec<Finding> {
    let mut findings = match Place::find(&choice.uri.target, Missing::Refuse) {
        Ok(place) => place.examine(Instant::now() + choice.uri.timeout),
        Err(error) if error.code == Code::Missing => {
            let text = format!("{}: {}", error.text, choice.reason());
            let cure =
                "see that --uri or DSS_URI says what the programs use; the first of them that opens the store makes it";
            vec![Finding::wrong("store", text, cure)]
        }
        Err(error) => vec![Finding::failed("store", &error)],
    };
    let is_useless = |finding: &Finding| finding.about == "store" && finding.level == Level::Wrong;
    if findings.iter().any(is_useless) {
        return findings;
    }
    match Store::existing(common, None) {
        Ok(store) => findings.extend(in_use(&store, doctor)),
        // What was found before says so already, as a rule.
        Err(failure) if findings.iter().all(|finding| finding.level != Level::Wrong) => {
            findings.push(Finding::wrong("store", failure.text, ""));
        }
        Err(_) => {}
    }
    findings
}

fn in_use(store: &Store, doctor: &Doctor) -> Vec<Finding> {
    let mut findings = match Census::of(store, doctor.stale) {
        Ok(census) => census.findings(doctor.stale),
        Err(error) => vec![Finding::failed("locks", &error)],
    };
    if doctor.write {
        findings.push(write(store));
    }
    findings
}

/// What a look at all locks shows.
#[derive(Default)]
struct Census {
    count: u64,
    old: u64,
    /// The first of them: id, owner, age, and whether its process is there.
    named: Vec<String>,
    /// How far in the future the newest refresh was, and whose.
    ahead: Option<(u64, String)>,
    took: Duration,
}

impl Census {
    fn of(store: &Store, stale: Duration) -> Result<Census, Error> {
        let (begun, mut census) = (Instant::now(), Census::default());
        store.call(|handle, inside| {
            let note = |listed: &Listed<'_>| {
                census.note(listed, stale);
                0
            };
            handle.list(Filter::default(), note, inside)
        })?;
        census.took = begun.elapsed();
        Ok(census)
    }

    fn note(&mut self, listed: &Listed<'_>, stale: Duration) {
        let entry = listed.entry;
        let age_us = output::now_us().saturating_sub(entry.refreshed_us);
        self.count += 1;
        let ahead_s = (-age_us / 1_000_000).max(0) as u64;
        if ahead_s > self.ahead.as_ref().map_or(4, |(most, _)| *most) {
            self.ahead = Some((ahead_s, entry.client.to_string()));
        }
        if Duration::from_micros(age_us.max(0) as u64) < stale {
            return;
        }
        self.old += 1;
        if self.named.len() < NAMED_MOST {
            let (id, owner) = (output::shown(listed.id.as_bytes()), output::shown(entry.owner.as_bytes()));
            let gone = holder::is_gone(&entry.client, entry.taken_us).map_or(String::new(), |text| format!(", {text}"));
            self.named.push(format!("{id} of {owner}{gone} ({})", seconds(age_us as u64 / 1_000_000)));
        }
    }

    fn findings(self, stale: Duration) -> Vec<Finding> {
        let age = seconds(stale.as_secs());
        let more = if self.old as usize > self.named.len() { ", ..." } else { "" };
        let locks = if self.old == 0 {
            Finding::fine("locks", format!("{} held, none of them untouched for {age}", self.count))
        } else {
            Finding::warning(
                "locks",
                format!("{} of {} not touched for {age}: {}{more}", self.old, self.count, self.named.join(", ")),
                format!(
                    "dss list --min-age {}s; where nobody is at work any more: dss clean --min-age ...",
                    stale.as_secs()
                ),
            )
        };
        let mut findings = vec![locks];
        if self.took > SLOW {
            let text = format!("to look at all locks took {:.1} s", self.took.as_secs_f64());
            findings.push(Finding::warning(
                "answers",
                text,
                "see what the disk, the server or the network is busy with",
            ));
        }
        if let Some((ahead_s, client)) = self.ahead {
            findings.push(Finding::warning(
                "clock",
                format!("{client} has touched a lock {} in the future: the clocks of hosts differ", seconds(ahead_s)),
                "let a time service (chrony, ntpd) set them; leases and tokens do not depend on it",
            ));
        }
        findings
    }
}

/// Takes a lock that nobody else names, and releases it.
fn write(store: &Store) -> Finding {
    let id = format!("dss-doctor/{}/{}", system::host_name().display(), std::process::id());
    let begun = Instant::now();
    match lock_and_unlock(store, &id) {
        Ok(()) => Finding::fine(
            "writes",
            format!("a lock and its unlock take {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0),
        ),
        Err(failure) => Finding::wrong("writes", failure.text, ""),
    }
}

fn lock_and_unlock(store: &Store, id: &str) -> Result<(), Failure> {
    // Should we be killed in between, it ends by itself.
    const TTL_MS: u64 = 10_000;
    let (id, owner) = (LockId::new(id.as_bytes())?, names::owner_of_process(&None)?);
    let ask = Ask {
        ids: vec![id.clone()],
        owner: owner.clone(),
        ttl_ms: TTL_MS,
        wait: Some(Duration::ZERO),
        note: names::note(&None)?,
        any: false,
        resume: false,
        keep: false,
    };
    locks::take(store, ask)?;
    let released = store.call(|handle, inside| handle.unlockv(vec![id], Some(owner), Vec::new(), inside))?;
    match released.into_iter().next() {
        Some(Err(error)) if error.code != Code::NoLock => Err(error.into()),
        _ => Ok(()),
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::Fine => "fine",
        Level::Warning => "warning",
        Level::Wrong => "wrong",
    }
}

fn show(common: &Common, choice: &Choice, findings: &[Finding], worst: Level) -> Result<(), Failure> {
    if common.json {
        let check = |finding: &Finding| {
            let cure = (!finding.cure.is_empty()).then_some(&finding.cure);
            json!({"about": finding.about, "state": name_of(finding.level), "text": finding.text, "cure": cure})
        };
        let checks: Vec<Value> = findings.iter().map(check).collect();
        let content = json!({"state": name_of(worst), "checks": checks});
        return Ok(output::print_json(&choice.uri.shown(), "doctor", content)?);
    }
    let bad = findings.iter().filter(|finding| finding.level != Level::Fine).count();
    let all = if findings.len() == 1 { "1 check".to_owned() } else { format!("{} checks", findings.len()) };
    // Programs that watch services show the first line.
    let mut text = match bad {
        0 => format!("dss: fine: {all}\n"),
        _ => format!("dss: {}: {bad} of {all}\n", name_of(worst)),
    };
    if common.quiet {
        text.clear();
    }
    let mut shown: Vec<&Finding> =
        findings.iter().filter(|finding| !common.quiet || finding.level != Level::Fine).collect();
    shown.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    shown.iter().for_each(|finding| text += &line(finding));
    Ok(output::print(&text)?)
}

fn line(finding: &Finding) -> String {
    let colour = match finding.level {
        Level::Fine => None,
        Level::Warning => Some("33"),
        Level::Wrong => Some("31"),
    };
    let state = output::coloured(&format!("{:<8}", name_of(finding.level)), colour);
    let cure = if finding.cure.is_empty() { String::new() } else { format!("{:23}-> {}\n", "", finding.cure) };
    format!("{state} {:<13} {}\n{cure}", finding.about, finding.text)
}
