//! The connection of a store to its server: made when it is needed, and made anew when it was lost.

use super::{
    arrays::{BOOLS, BYTEAS, INT8},
    batch,
    errors::{Trouble, no_answer},
    link::Link,
    schema,
    site::Site,
    state,
    statement::Statement,
    ways::{self, Way},
};
use crate::{clock, model::error::Error, store::contract::Missing};
use std::{
    fmt::Write,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A deadline that leaves time for one exchange.
pub fn patient(deadline: Instant) -> Instant {
    deadline.max(clock::instant() + PATIENCE)
}

pub struct Server {
    site: Arc<Site>,
    statements: Arc<Statements>,
    link: Option<Link>,
    /// It was of use before.
    is_old: bool,
    /// Why there is no link, and when to try again.
    hindrance: Option<Error>,
    pause: Duration,
    place: String,
    /// There was no store before.
    pub was_made: bool,
}

/// However little time a call has, one exchange gets so much.
pub const PATIENCE: Duration = Duration::from_millis(400);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
// Short against the time of a hasty call, which has to connect in what is left of it.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What is asked of the server, for a store in this schema.
pub struct Statements {
    schema: Box<str>,
    pub take_one: Statement,
    pub unlock_one: Statement,
    pub many: Statement,
    pub apply: Statement,
    pub set_one: Statement,
    pub set_many: Statement,
    pub read: Statement,
    pub look_up: Statement,
    pub stand: Statement,
}

impl Statements {
    pub fn of(schema: &str) -> Statements {
        let function = |function, types: &'static [u32]| {
            let places: Vec<String> = (1..=types.len()).map(|place| format!("${place}")).collect();
            Statement::new(&format!("SELECT {schema}.{function}({})", places.join(", ")), types)
        };
        let read = format!(
            "SELECT r_now_us, (r_lock).lock_id, (r_lock).owner, (r_lock).token, (r_lock).attempt, (r_lock).taken_us, \
             (r_lock).refreshed_us, (r_lock).leased_us, (r_lock).ttl_ms, (r_lock).ending::int8, (r_lock).client, \
             (r_lock).note FROM {schema}.look($1)"
        );
        Statements {
            schema: schema.into(),
            take_one: function("take_one", ways::TAKE_ONE),
            unlock_one: function("unlock_one", ways::UNLOCK_ONE),
            many: function("many", ways::MANY),
            apply: function("apply", batch::TYPES),
            set_one: function("set_one", state::SET_ONE),
            set_many: function("set_many", state::SET_MANY),
            read: Statement::new(&read, &[BYTEAS]),
            look_up: Statement::new(
                &format!("SELECT r_version, r_value FROM {schema}.look_up($1, $2)"),
                &[BYTEAS, INT8],
            ),
            stand: function("stand", &[BYTEAS, BYTEAS, BOOLS, INT8]),
        }
    }

    pub fn of_way(&self, way: Way) -> &Statement {
        match way {
            Way::TakeOne => &self.take_one,
            Way::UnlockOne => &self.unlock_one,
            Way::Many => &self.many,
            Way::Apply => &self.apply,
            Way::SetOne => &self.set_one,
            Way::SetMany => &self.set_many,
        }
    }

    pub fn resolve(&self, session: &[u8; 16], epoch: i64) -> String {
        format!("SELECT * FROM {}.resolve('{}', {epoch})", self.schema, bytea(session))
    }

    pub fn forget(&self, session: &[u8; 16]) -> String {
        format!("DELETE FROM {}.session WHERE session_id = '{}'", self.schema, bytea(session))
    }

    /// Waiters of these names give up.
    pub fn leave(&self, names: &[&[u8; 16]]) -> String {
        let names: Vec<String> = names.iter().map(|name| format!("'{}'", bytea(*name))).collect();
        let (schema, names) = (&self.schema, names.join(","));
        // In the order in which they are locked by others, else two could wait for each other.
        format!(
            "WITH mine AS (SELECT lock_id, name FROM {schema}.waiter WHERE name IN ({names}) \
             ORDER BY lock_id, name FOR UPDATE) \
             DELETE FROM {schema}.waiter w USING mine WHERE w.lock_id = mine.lock_id AND w.name = mine.name"
        )
    }
}

/// Bytes as a literal.
pub fn bytea(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Server {
    /// Connects, and makes the schema where there is none, or refuses to. Here a refusal ends it at
    /// once.
    pub fn open(
        site: &Arc<Site>,
        statements: Arc<Statements>,
        missing: Missing,
        deadline: Instant,
    ) -> Result<Server, Error> {
        let (site, link, hindrance, pause) = (site.clone(), None, None, FIRST_PAUSE);
        let place = String::new();
        let mut server = Server { site, statements, link, is_old: false, hindrance, pause, place, was_made: false };
        let mut link = server.site.connect(deadline)?;
        server.was_made = schema::make(&mut link, &server.site.target.schema, missing, deadline)?;
        server.place = link.place().to_owned();
        server.link = Some(link);
        server.prepare(deadline)?;
        Ok(server)
    }

    /// A connection that works, as far as one can know. Tries until the deadline to make one.
    pub fn link(&mut self, deadline: Instant) -> Result<(&mut Link, Arc<Statements>), Error> {
        while self.link.is_none() {
            if self.hindrance.is_some() {
                self.pause(deadline);
                if clock::instant() >= deadline {
                    return Err(self.hindrance.clone().unwrap_or_else(|| no_answer(&self.place)));
                }
            }
            if let Err(error) = self.connect(deadline) {
                // A try that the end of the time has cut short tells less than the one before.
                let before = self.hindrance.take().filter(|_| clock::instant() >= deadline);
                self.disconnect(before.unwrap_or(error));
            }
        }
        let statements = self.statements.clone();
        match &mut self.link {
            Some(link) => Ok((link, statements)),
            None => Err(no_answer(&self.place)),
        }
    }

    /// Sleeps before a new try, for longer each time until an answer comes.
    pub fn pause(&mut self, deadline: Instant) {
        let left = deadline.saturating_duration_since(clock::instant());
        thread::sleep(self.pause.min(left));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn connect(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut link = self.site.connect(deadline)?;
        schema::look(&mut link, &self.site.target.schema, deadline)?;
        self.place = link.place().to_owned();
        self.link = Some(link);
        self.is_old = false;
        (self.hindrance, self.pause) = (None, FIRST_PAUSE);
        Ok(())
    }

    /// A pooler has led us to a server process that does not know the statements: they are prepared there. Where that happens
    /// again and again, they are sent as text from now on.
    pub fn prepare_again(&mut self) {
        const OFTEN: u32 = 3;
        if let Some(link) = &mut self.link
            && link.forgets() >= OFTEN
        {
            link.send_text();
        }
    }

    /// All statements, so that each call is one exchange. A connection that is made later, when a call has little time left, is given
    /// them when they are used.
    fn prepare(&mut self, deadline: Instant) -> Result<(), Error> {
        let statements = self.statements.clone();
        let Some(link) = &mut self.link else { return Ok(()) };
        let Statements { take_one, unlock_one, many, apply, set_one, set_many, read, look_up, stand, .. } =
            &*statements;
        for statement in [take_one, unlock_one, many, apply, set_one, set_many, read, look_up, stand] {
            link.prepare(statement, deadline).map_err(|trouble| match trouble {
                Trouble::Unsent(error) | Trouble::Lost(error) => error,
                Trouble::Refused { state, text } => schema::refused(state, &text),
            })?;
        }
        Ok(())
    }

    /// The connection is of no use any more.
    pub fn disconnect(&mut self, why: Error) {
        self.link = None;
        self.hindrance = Some(why);
        if self.is_old {
            // It worked until now: the first try to connect again need not wait.
            (self.is_old, self.pause) = (false, Duration::ZERO);
        } else if self.pause.is_zero() {
            self.pause = FIRST_PAUSE;
        }
    }

    /// Whether the connection has been of use before, so that another one may lead to another server.
    pub fn is_old(&mut self) -> bool {
        self.is_old
    }

    /// To be said when an answer has come.
    pub fn was_of_use(&mut self) {
        (self.is_old, self.pause) = (true, FIRST_PAUSE);
    }

    /// The connection that there is, if any.
    pub fn open_link(&mut self) -> Option<(&mut Link, Arc<Statements>)> {
        let statements = self.statements.clone();
        self.link.as_mut().map(|link| (link, statements))
    }

    pub fn place(&self) -> &str {
        &self.place
    }
}
