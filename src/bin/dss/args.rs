//! What can be said on the command line. dss(1) is the manual; a test compares the two.

use clap::{Args as Group, Parser, Subcommand};
use clap_complete::Shell;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Named locks and small fenced state, in a store that processes and hosts share.
#[derive(Parser)]
#[command(
    name = "dss",
    version,
    about,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  dss run --lock drive3 -- tape-mover drive3   run a command while the lock is held
  dss list                                     who holds what, since when
  dss status drive3                            exit code 0 if it is held, 3 if not
  dss unlock --force drive3                    free it, whoever holds it

Exit codes: 0 done, 1 held, 2 usage, 3 not found, 4 not yours, 5 timed out,
6 store down, 7 store unusable, 8 outcome unknown, 9 other. dss(1) and dss(7) tell more.")]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Group)]
pub struct Common {
    /// The store: a path, sqlite:/path/file.db, postgresql://..., or etcd://... [default: $DSS_URI, else the file of dss_init(3)]
    #[arg(long, global = true, value_name = "STORE")]
    pub uri: Option<OsString>,
    /// How long a call may try to reach the store, such as 500ms or 10s
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Print JSON, in the schema of dss(1)
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub json: bool,
    /// Print nothing but what was asked for; the exit code tells the rest
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Take locks, all of them or none
    Lock(Lock),
    /// Release locks
    Unlock(Unlock),
    /// Begin the leases of locks anew
    Refresh(Refresh),
    /// Tell who holds these locks
    Status(Status),
    /// Show the locks that are held
    List(List),
    /// Remove locks of owners who are gone
    Clean(Clean),
    /// Give a lock to another owner, with no gap
    Transfer(Transfer),
    /// Print what stands under a key
    Get(Get),
    /// Write, or delete, what stands under a key
    Set(Set),
    /// Show keys
    Keys(Keys),
    /// Run a command while locks are held
    Run(Run),
    /// Tell when locks change hands
    Watch(Watch),
    /// Tell whether the store is well, and what to do if not
    Doctor(Doctor),
    /// Print figures in the text format of Prometheus
    Stats(Stats),
    /// Print a completion script for a shell
    Completions { shell: Shell },
}

/// How locks are waited for.
#[derive(Group)]
pub struct Waiting {
    /// Wait at most so long; without it, for ever
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Do not wait
    #[arg(short, long, visible_alias = "nonblock", conflicts_with = "wait")]
    pub no_wait: bool,
}

#[derive(Group)]
#[command(after_help = "\
Examples:
  dss lock drive3 --owner mover.1 --wait 10s
  dss lock drive1 drive2 drive3 --any          one of them, whichever is free first
  token=$(dss --quiet lock drive3 --ttl 1m)    the token is all that is printed")]
pub struct Lock {
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<OsString>,
    #[command(flatten)]
    pub waiting: Waiting,
    /// In whose name [default: $DSS_LOCK_OWNER, else user@host]
    #[arg(short, long)]
    pub owner: Option<OsString>,
    /// A lease: the lock ends by itself after that time unless it is refreshed
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// A text for people who look at the list
    #[arg(long)]
    pub note: Option<OsString>,
    /// Take exactly one of the locks, the first that is free
    #[arg(long)]
    pub any: bool,
    /// Take over what this owner holds already, with a new token
    #[arg(long)]
    pub resume: bool,
    /// The process that lists show as the holder [default: the one that called this command]
    #[arg(long, value_name = "PID")]
    pub client_pid: Option<u32>,
}

#[derive(Group)]
pub struct Unlock {
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<OsString>,
    /// Whose locks [default: $DSS_LOCK_OWNER, else user@host]
    #[arg(short, long)]
    pub owner: Option<OsString>,
    /// Whoever holds them
    #[arg(short, long, conflicts_with = "owner")]
    pub force: bool,
    /// Only if this is the lock's token; once for each lock
    #[arg(long)]
    pub token: Vec<u64>,
}

#[derive(Group)]
pub struct Refresh {
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<OsString>,
    /// Whose locks [default: $DSS_LOCK_OWNER, else user@host]
    #[arg(short, long)]
    pub owner: Option<OsString>,
    /// Only if this is the lock's token; once for each lock
    #[arg(long)]
    pub token: Vec<u64>,
}

#[derive(Group)]
pub struct Status {
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<OsString>,
}

/// Which locks.
#[derive(Group)]
pub struct Which {
    /// Locks whose ids begin so
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<OsString>,
    /// Locks of owners whose names begin so
    #[arg(short, long, value_name = "PREFIX")]
    pub owner: Option<OsString>,
    /// Locks that nobody took or refreshed for so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub min_age: Option<Duration>,
}

#[derive(Group)]
pub struct List {
    #[command(flatten)]
    pub which: Which,
    /// Show the list again every second, or every so many, in place
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, require_equals = true,
          default_missing_value = "1s")]
    pub watch: Option<Duration>,
}

#[derive(Group)]
#[command(after_help = "\
Examples:
  dss clean --owner mover. --min-age 1h        asks before it removes anything
  dss clean scratch/ --yes")]
pub struct Clean {
    #[command(flatten)]
    pub which: Which,
    /// All locks of the store
    #[arg(long, conflicts_with_all = ["prefix", "owner", "min_age"])]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Group)]
pub struct Transfer {
    #[arg(value_name = "ID")]
    pub id: OsString,
    /// The new owner
    #[arg(long)]
    pub to: OsString,
    /// Whose lock it is [default: $DSS_LOCK_OWNER, else user@host]
    #[arg(short, long)]
    pub owner: Option<OsString>,
    /// Whoever holds it
    #[arg(short, long, conflicts_with = "owner")]
    pub force: bool,
    /// Only if this is the lock's token
    #[arg(long)]
    pub token: Option<u64>,
    /// The process that lists show as the holder [default: none]
    #[arg(long, value_name = "PID")]
    pub client_pid: Option<u32>,
}

#[derive(Group)]
pub struct Get {
    pub key: OsString,
    /// Print the version instead of the value
    #[arg(long)]
    pub version: bool,
}

#[derive(Group)]
#[command(after_help = "\
Examples:
  dss set drive3/position 17
  dss set drive3/position 18 --if-version 1795692637134378
  dss set drive3/position 18 --lock drive3 --token \"$DSS_LOCK_TOKEN\"
  mt status | dss set drive3/status --file -")]
pub struct Set {
    pub key: OsString,
    /// The value
    #[arg(required_unless_present_any = ["file", "delete"], conflicts_with_all = ["file", "delete"])]
    pub value: Option<OsString>,
    /// Take the value from a file, or with - from standard input
    #[arg(long, conflicts_with = "delete")]
    pub file: Option<PathBuf>,
    /// Delete what stands there
    #[arg(long)]
    pub delete: bool,
    /// Only if this is the version that stands there; 0: if nothing does
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
    /// Only while this lock is held with --token
    #[arg(long, value_name = "ID", requires = "token")]
    pub lock: Option<OsString>,
    #[arg(long, requires = "lock")]
    pub token: Option<u64>,
}

#[derive(Group)]
pub struct Keys {
    /// Keys that begin so
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<OsString>,
}

#[derive(Group)]
pub struct Watch {
    /// Locks whose ids begin so
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<OsString>,
    /// How often to look
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub interval: Duration,
}

#[derive(Group)]
#[command(after_help = "\
Examples:
  dss doctor                                   what a person wants to know
  dss doctor --quiet --write                   for monitoring: nothing is printed if all is well

Exit codes: 0 all is well, 1 something should be looked at, 2 something is wrong.")]
pub struct Doctor {
    /// Locks that nobody touched for so long are told
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1d")]
    pub stale: Duration,
    /// Also take a lock of its own and release it, which shows that the store can be written
    #[arg(long)]
    pub write: bool,
}

#[derive(Group)]
pub struct Stats {
    #[command(flatten)]
    pub which: Which,
}

/// What becomes of the command when its locks are lost.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnLost {
    /// SIGTERM, and SIGKILL in time
    Term,
    /// SIGKILL
    Kill,
    /// Nothing: whoever checks the token is safe
    None,
}

#[derive(Group)]
#[command(after_help = "\
Examples:
  dss run --lock drive3 -- tape-mover drive3
  dss run --lock nightly --no-wait -- ./backup || echo \"another one is at it\"
  dss run --any --lock drive1 --lock drive2 -- sh -c 'echo $DSS_LOCK_ID'

The command finds the lock in DSS_LOCK_ID, DSS_LOCK_TOKEN and DSS_LOCK_OWNER.

Exit codes: that of the command; 1 or that of -E if the locks were not to be had;
122 if they were lost; 125 if dss failed; 126 and 127 if the command could not be run.")]
pub struct Run {
    /// A lock to hold; more than one may be named
    #[arg(short = 'l', long = "lock", required = true, value_name = "ID")]
    pub ids: Vec<OsString>,
    /// Exactly one of the locks, the first that is free
    #[arg(long)]
    pub any: bool,
    #[command(flatten)]
    pub waiting: Waiting,
    /// The lease, which is renewed as long as the command runs
    #[arg(short, long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub ttl: Duration,
    /// In whose name [default: $DSS_LOCK_OWNER, else user@host and the number of the process]
    #[arg(short, long)]
    pub owner: Option<OsString>,
    /// A text for people who look at the list [default: the command]
    #[arg(long)]
    pub note: Option<OsString>,
    /// What becomes of the command when a lock is lost
    #[arg(long, value_enum, default_value = "term")]
    pub on_lost: OnLost,
    /// The exit code if the locks are not to be had
    #[arg(short = 'E', long, value_name = "NUMBER", default_value_t = 1)]
    pub conflict_exit_code: u8,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A time with its unit, as 500ms, 10s or 2h; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write a time as 500ms, 10s or 2h"))
}
