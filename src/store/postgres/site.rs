//! Where the servers of a store are. libpq can try several hosts one after the other, but gives the first silent one all of the
//! time that there is; so they are tried here, each with a share of it.

use super::link::Link;
use crate::{
    clock,
    model::{
        error::{Code, Error},
        uri::postgres::Postgres as Target,
    },
};
use std::{
    ffi::{CStr, CString},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

pub struct Site {
    pub target: Target,
    /// Which of its hosts was the right one last.
    last: AtomicUsize,
}

/// One of several hosts: keywords of libpq and their values.
pub type Host = Vec<(&'static CStr, CString)>;

impl Site {
    pub fn new(target: &Target) -> Site {
        Site { target: target.clone(), last: AtomicUsize::new(0) }
    }

    pub fn connect(&self, deadline: Instant) -> Result<Link, Error> {
        // What the environment and service files add to the connection string, libpq knows.
        let mut link = Link::begin(&self.target, &[])?;
        let hosts = hosts_of(|keyword| link.setting(keyword));
        if hosts.len() < 2 {
            return link.finish(deadline).map(|()| link);
        }
        drop(link);
        let (first, count) = (self.last.load(Ordering::Relaxed), hosts.len());
        let mut failures: Vec<Error> = Vec::new();
        for tried in 0..count {
            let place = (first + tried) % count;
            let left = deadline.saturating_duration_since(clock::instant());
            let share = clock::instant() + left / (count - tried) as u32;
            let connected =
                Link::begin(&self.target, &hosts[place]).and_then(|mut link| link.finish(share).map(|()| link));
            match connected {
                Ok(link) => {
                    self.last.store(place, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(error) if !matches!(error.code, Code::Unreachable | Code::ReadOnly) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(all_failed(&failures))
    }
}

/// Each host with its address and port. libpq's manual, "Specifying Multiple Hosts": as many of each, or one port for all. None where
/// there is but one, or the lists do not fit together.
fn hosts_of(setting: impl Fn(&CStr) -> Option<String>) -> Vec<Host> {
    let lists = [c"host", c"hostaddr", c"port"].map(|keyword| (keyword, setting(keyword).unwrap_or_default()));
    let items = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
    let lists = lists.map(|(keyword, list)| (keyword, items(&list)));
    let count = lists[0].1.len().max(lists[1].1.len());
    if lists.iter().any(|(_, items)| items.len() != count && items.len() != 1) {
        return Vec::new();
    }
    let host = |place: usize| -> Host {
        let value = |items: &[String]| items.get(place).or(items.first()).cloned().unwrap_or_default();
        let pairs = lists.iter().map(|(keyword, items)| (*keyword, value(items)));
        let given = pairs.filter(|(_, value)| !value.is_empty());
        let mut host: Host = given.filter_map(|(keyword, value)| Some((keyword, CString::new(value).ok()?))).collect();
        // An empty one would be the default; the list must not come back.
        for keyword in [c"host", c"hostaddr", c"port"] {
            if !host.iter().any(|(known, _)| *known == keyword) {
                host.push((keyword, CString::default()));
            }
        }
        host
    };
    (0..count).map(host).collect()
}

fn all_failed(failures: &[Error]) -> Error {
    let only_standbys = failures.iter().any(|failure| failure.code == Code::ReadOnly);
    let code = if only_standbys { Code::ReadOnly } else { Code::Unreachable };
    let texts: Vec<&str> = failures.iter().map(|failure| &failure.text[..]).collect();
    Error::new(code, texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(host: &str, hostaddr: &str, port: &str) -> Vec<String> {
        let setting = |keyword: &CStr| {
            let value = match keyword.to_bytes() {
                b"host" => host,
                b"hostaddr" => hostaddr,
                _ => port,
            };
            Some(value.to_owned())
        };
        let text = |host: Host| {
            let value =
                |keyword| host.iter().find(|(known, _)| *known == keyword).unwrap().1.to_str().unwrap().to_owned();
            format!("{} {} {}", value(c"host"), value(c"hostaddr"), value(c"port"))
        };
        hosts_of(setting).into_iter().map(text).collect()
    }

    #[test]
    fn hosts_are_told_apart() {
        assert_eq!(hosts("a,b", "", "1,2"), ["a  1", "b  2"]);
        assert_eq!(hosts("a,,c", "", "5432"), ["a  5432", "  5432", "c  5432"]);
        assert_eq!(hosts("", "1.1.1.1,2.2.2.2", ""), [" 1.1.1.1 ", " 2.2.2.2 "]);
        assert_eq!(hosts("a", "", "1").len(), 1);
        assert_eq!(hosts("a,b", "", "1,2,3").len(), 0);
    }

    #[test]
    fn standbys_alone_are_told_from_no_server() {
        let failure = |code| Error::new(code, "why");
        assert_eq!(all_failed(&[failure(Code::Unreachable), failure(Code::ReadOnly)]).code, Code::ReadOnly);
        assert_eq!(all_failed(&[failure(Code::Unreachable)]).code, Code::Unreachable);
    }
}
