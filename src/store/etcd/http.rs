//! Requests to the JSON gateway of one of the servers: which one, how long, how often, and as whom.

use super::{
    errors::{self, Trouble},
    refusal::{self, Weight},
    transport::{self, Names, Ready, Sockets},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        uri::etcd::Etcd as Target,
    },
    mutant,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use ureq::{
    Agent,
    http::Response,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
    unversioned::transport::{Connector, RustlsConnector},
};

/// How often one is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// Until the time is up, whatever became of the request: asking twice does no harm.
    Always,
    /// Until it may have been done.
    UntilSent,
    /// As always, but not where all servers have refused.
    WhileSilent,
}

/// The connections to the servers of one store. Threads may use it at the same time.
pub struct Client {
    agent: Agent,
    tls: bool,
    endpoints: Vec<Box<str>>,
    /// The one that has answered last.
    good: AtomicUsize,
    login: Option<Login>,
}

struct Login {
    user: Box<str>,
    password_file: PathBuf,
    token: Mutex<Option<Arc<str>>>,
}

/// A pause between two rounds of tries.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_millis(300);
/// How often servers may hang up on the first request.
const HANGS_UP_MOST: usize = 5;
/// How long one server is waited for where there are others.
const ONE_OF_MANY: Duration = Duration::from_millis(2500);
/// The longest answer that is read.
const ANSWER_MOST: u64 = 1 << 26;

impl Client {
    pub fn new(target: &Target) -> Result<Client, Error> {
        let login = target.user.as_ref().zip(target.password_file.as_ref());
        let login = login.map(|(user, password_file)| Login {
            user: user.clone(),
            password_file: password_file.clone(),
            token: Mutex::default(),
        });
        let agent = agent(target, Sockets::default())?;
        let (tls, endpoints) = (target.tls, target.endpoints.clone());
        Ok(Client { agent, tls, endpoints, good: AtomicUsize::new(0), login })
    }

    /// The server that has answered last.
    pub fn endpoint(&self) -> &str {
        &self.endpoints[self.good.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// Sends a request until there is an answer, or no use in it.
    pub fn call(&self, path: &str, body: &str, repeat: Repeat, deadline: Instant) -> Result<Value, Trouble> {
        let count = self.endpoints.len();
        let (mut pause, mut failures, mut silences, mut disconnects, mut logins) = (PAUSE, 0, 0, 0, 0);
        loop {
            let place = self.good.load(Ordering::Relaxed) % count;
            let trouble = match self.exchange(place, path, body, deadline) {
                Err(Trouble::Refused(refusal)) => match refusal.weigh() {
                    Weight::Token if self.login.is_some() && logins < 3 => {
                        logins += 1;
                        self.forget_token();
                        continue;
                    }
                    Weight::Definite | Weight::Token => return Err(Trouble::Refused(refusal)),
                    Weight::Again => Trouble::NotSent(refusal.error()),
                    Weight::Unclear => Trouble::Lost(refusal.error()),
                },
                Err(trouble) => trouble,
                Ok(answer) => return Ok(answer),
            };
            let _ = self.good.compare_exchange(place, (place + 1) % count, Ordering::Relaxed, Ordering::Relaxed);
            let was_sent = matches!(trouble, Trouble::Lost(_));
            failures += 1;
            silences += usize::from(trouble.error().text.contains(errors::TIME_IS_UP));
            disconnects += usize::from(was_sent);
            // One that hangs up may do so always, as a server that wants TLS does, or be about to end.
            let rounds = if disconnects == 0 { 1 } else { HANGS_UP_MOST };
            let all_refuse = failures >= count * rounds && silences == 0 && repeat == Repeat::WhileSilent;
            if all_refuse || clock::instant() >= deadline || (was_sent && repeat == Repeat::UntilSent) {
                return Err(trouble);
            }
            if failures % count == 0 {
                if clock::instant() + pause >= deadline {
                    return Err(trouble);
                }
                thread::sleep(pause);
                pause = (pause * 3 / 2).min(PAUSE_LONGEST);
            }
        }
    }

    /// One request to one server, and its answer.
    fn exchange(&self, place: usize, path: &str, body: &str, deadline: Instant) -> Result<Value, Trouble> {
        let deadline = match self.endpoints.len() {
            1 => deadline,
            // Enough is left for another one.
            _ => {
                let left = deadline.saturating_duration_since(clock::instant());
                deadline.min(clock::instant() + ONE_OF_MANY.min(left / 2))
            }
        };
        let token = self.token(place, deadline)?;
        self.post(place, path, body, token.as_deref(), deadline)
    }

    fn post(
        &self,
        place: usize,
        path: &str,
        body: &str,
        token: Option<&str>,
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        let endpoint = &self.endpoints[place];
        let trouble = |error: ureq::Error| {
            let was_sent = transport::was_sent() && !errors::is_alert(&error);
            let error = errors::unreachable(endpoint, &error, self.tls);
            if was_sent { Trouble::Lost(error) } else { Trouble::NotSent(error) }
        };
        transport::begin(deadline);
        let answer = send(&self.agent, self.tls, endpoint, path, body, token).map_err(trouble)?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().into_with_config().limit(ANSWER_MOST).read_to_vec().map_err(trouble)?;
        match refusal::read(endpoint, status, &bytes) {
            Some(answer) => answer.map_err(Trouble::Refused),
            None => Err(nonsense(endpoint, status, &bytes)),
        }
    }

    /// The token of the user, if there is one to be.
    fn token(&self, place: usize, deadline: Instant) -> Result<Option<Arc<str>>, Trouble> {
        let Some(login) = &self.login else { return Ok(None) };
        let known = login.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let password = first_line(&login.password_file).map_err(Trouble::NotSent)?;
        let body = serde_json::json!({ "name": &*login.user, "password": password }).to_string();
        let answer = self.post(place, "/v3/auth/authenticate", &body, None, deadline);
        let answer = answer.map_err(|trouble| match trouble {
            // To ask for a token changes nothing.
            Trouble::Lost(error) => Trouble::NotSent(error),
            Trouble::Refused(refusal) if refusal.weigh() == Weight::Unclear && !mutant::on("login_in_doubt") => {
                Trouble::NotSent(refusal.error())
            }
            other => other,
        })?;
        let token: Option<Arc<str>> = answer["token"].as_str().map(Into::into);
        *login.token.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        Ok(token)
    }

    fn forget_token(&self) {
        if let Some(login) = &self.login {
            *login.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Begins a stream from the server that has answered last, on a connection of its own.
    pub fn stream(
        &self,
        agent: &Agent,
        path: &str,
        body: &str,
        deadline: Instant,
    ) -> Option<ureq::BodyReader<'static>> {
        let place = self.good.load(Ordering::Relaxed) % self.endpoints.len();
        let token = self.token(place, deadline).ok()?;
        transport::begin(deadline);
        let answer = send(agent, self.tls, &self.endpoints[place], path, body, token.as_deref()).ok()?;
        (answer.status() == 200).then(|| answer.into_body().into_reader())
    }
}

/// A proxy between may answer for a server that has the request: only what can't be etcd's is surely not done.
fn nonsense(endpoint: &str, status: u16, body: &[u8]) -> Trouble {
    let error = errors::nonsense(endpoint, status, body);
    if (400..500).contains(&status) { Trouble::NotSent(error) } else { Trouble::Lost(error) }
}

fn send(
    agent: &Agent,
    tls: bool,
    endpoint: &str,
    path: &str,
    body: &str,
    token: Option<&str>,
) -> Result<Response<ureq::Body>, ureq::Error> {
    let scheme = if tls { "https" } else { "http" };
    let mut request = agent.post(format!("{scheme}://{endpoint}{path}")).content_type("application/json");
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    request.send(body)
}

/// Timeouts are the transport's; what the environment says about proxies is for programs, not for a library.
pub fn agent(target: &Target, sockets: Sockets) -> Result<Agent, Error> {
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("libdss/", env!("CARGO_PKG_VERSION")))
        .input_buffer_size(1 << 15)
        .output_buffer_size(1 << 15)
        .max_idle_age(Duration::from_secs(3600))
        .tls_config(tls_config(target)?);
    let connector = ().chain(sockets).chain(RustlsConnector::default()).chain(Ready);
    Ok(Agent::with_parts(builder.build(), connector, Names))
}

fn tls_config(target: &Target) -> Result<TlsConfig, Error> {
    let mut config = TlsConfig::builder();
    if let Some(path) = &target.cacert {
        config = config.root_certs(RootCerts::new_with_certs(&certificates("cacert", path)?));
    }
    if let (Some(cert), Some(key)) = (&target.cert, &target.key) {
        let chain = certificates("cert", cert)?;
        let key = PrivateKey::from_pem(&read("key", key)?).map_err(|_| no_pem("key", key, "private key"))?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(config.build())
}

fn certificates(option: &str, path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let pem = read(option, path)?;
    let items = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = items.collect();
    if found.is_empty() { Err(no_pem(option, path, "certificate")) } else { Ok(found) }
}

fn no_pem(option: &str, path: &Path, what: &str) -> Error {
    Error::new(Code::Invalid, format!("{option}={} holds no {what} in PEM: name a file that does", path.display()))
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| {
        let code = Code::of_errno(error.raw_os_error().unwrap_or(libc::EIO));
        Error::new(code, format!("{option}={} can't be read: {error}", path.display()))
    })
}

fn first_line(path: &Path) -> Result<String, Error> {
    let bytes = read("password_file", path)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).map_err(|_| {
        Error::new(Code::Invalid, format!("password_file={}: its first line is no UTF-8 text", path.display()))
    })
}
