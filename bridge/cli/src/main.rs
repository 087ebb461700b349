//! The binary `govbridge`: reads the command line, files and the environment, wires the rooms together, and runs them.
//!
//! *In scope*: arguments, configuration, files, the clock, randomness, exit codes, words for people. *Out of scope*:
//! every rule; a rule that is found here belongs a floor lower.
//!
//! Each subcommand is a module with an `Args` struct and `run(args) -> anyhow::Result<ExitCode>`.

mod configuration;
mod connector;
mod contract;
mod ending;
mod exit;
#[cfg_attr(not(debug_assertions), path = "no_faults.rs")]
mod faults;
mod inspect;
mod key_store;
mod keygen;
mod log;
mod output;
mod outside;
mod subscriber;
mod trust;
mod witness;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const LONG: &str = "\
Govbridge carries changes from one department's database to the departments entitled to them, so that the receiver \
can prove where every row came from and that no recorded change is missing.

stdout is data, stderr is words. Exit codes: 0 done, 1 what was checked is not good, 2 usage or configuration, \
3 something outside does not answer.";

const START: &str = "\
To begin:
  govbridge keygen --help      make keys
  govbridge trust --help       say whose they are, and who may change that
  govbridge contract --help    say what a dataset promises to whom
  govbridge connector --help   send a database's changes
  govbridge subscriber --help  receive, verify and deliver them
  govbridge witness --help     cosign other departments' logs";

#[derive(Parser)]
#[command(name = "govbridge", version, about = "Changes between departments that can be proven", long_about = LONG, after_help = START)]
#[command(arg_required_else_help = true)]
struct Door {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Trust(trust::Args),
    Contract(contract::Args),
    Log(log::Args),
    Connector(connector::Args),
    Witness(witness::Args),
    Subscriber(subscriber::Args),
    Inspect(inspect::Args),
}

fn main() -> ExitCode {
    let door = match Door::try_parse() {
        Ok(door) => door,
        Err(said) => {
            // Help and version are data and good; everything else is a mistake on the command line.
            let exit = if said.use_stderr() { exit::Exit::Usage } else { exit::Exit::Good };
            let _ = said.print();
            return exit.into();
        }
    };
    let done = match door.command {
        Command::Keygen(args) => keygen::run(args),
        Command::Trust(args) => trust::run(args),
        Command::Contract(args) => contract::run(args),
        Command::Log(args) => log::run(args),
        Command::Connector(args) => connector::run(args),
        Command::Witness(args) => witness::run(args),
        Command::Subscriber(args) => subscriber::run(args),
        Command::Inspect(args) => inspect::run(args),
    };
    done.unwrap_or_else(|error| {
        let (words, exit) = exit::of_error(&error);
        output::say(&words);
        exit.into()
    })
}
