//! The command `dss`: locks and state from a shell.

mod args;
mod clean;
mod doctor;
mod exit;
mod holder;
mod list;
mod locks;
mod names;
mod output;
mod run;
mod stats;
mod store;
#[allow(unsafe_code)]
mod system;
mod values;
mod watch;

use args::{Args, Command};
use clap::{CommandFactory, Parser, error::ErrorKind};
use exit::{Exit, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    system::let_broken_pipes_end_us();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_help { Exit::Done } else { Exit::Usage }.into();
        }
    };
    match act(&args) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !(args.common.quiet && failure.is_an_answer()) {
                output::say(&failure.text);
            }
            failure.exit.into()
        }
    }
}

fn act(args: &Args) -> Result<Exit, Failure> {
    let common = &args.common;
    match &args.command {
        Command::Lock(lock) => locks::lock(common, lock),
        Command::Unlock(unlock) => locks::unlock(common, unlock),
        Command::Refresh(refresh) => locks::refresh(common, refresh),
        Command::Transfer(transfer) => locks::transfer(common, transfer),
        Command::Status(status) => list::status(common, status),
        Command::List(list) => list::list(common, list),
        Command::Clean(clean) => clean::clean(common, clean),
        Command::Watch(watch) => watch::watch(common, watch),
        Command::Get(get) => values::get(common, get),
        Command::Set(set) => values::set(common, set),
        Command::Keys(keys) => values::keys(common, keys),
        Command::Doctor(doctor) => doctor::doctor(common, doctor),
        Command::Stats(stats) => stats::stats(common, stats),
        Command::Run(run) => run::run(common, run),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "dss", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}
