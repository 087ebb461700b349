//! The demo: the whole path on one machine, run by the real processes, and then a tamperer who is caught.
//!
//! ```text
//!   office -> SQLite file -> connector -> mock cluster (in this process) -> subscriber -> JSON lines
//!          or PostgreSQL                  or Kafka
//!                               |  log, tiles over HTTP
//!                               +-> four witnesses
//!   then: all frames and logs copied -> one act of tampering -> a fresh reader -> who noticed, by which code
//! ```
//!
//! *In scope*: the stage, the offices' invented work, the processes' life, the comparison of counts, the acts.
//! *Out of scope*: everything that the binary `govbridge` does. The transport is for trying out only.
//!
//! Trust: nothing here is believed by any other room. The tamperer (`tamper`) shares no code with those who verify.

mod board;
mod contracts;
mod copies;
mod deliveries;
mod gauges;
mod generator;
mod ground;
mod interruption;
mod people;
mod play;
mod processes;
mod reckoning;
mod servers;
mod settings;
mod stage;
mod tables;
mod tamper;
mod tampering;
mod transport;
mod verdicts;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser as _;

use crate::board::Board;
use crate::generator::Tally;
use crate::ground::Ground;
use crate::interruption::{Interrupted, Interruption};
use crate::play::Play;
use crate::processes::Binary;
use crate::reckoning::Committed;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::verdicts::Readers;

/// Everything arrived once, and every act was noticed.
const GOOD: u8 = 0;
/// Something did not arrive, or was not noticed, or was a false alarm.
const NEGATIVE: u8 = 1;
/// The command line, or a stage that could not be set.
const USAGE: u8 = 2;
/// A process or this machine failed, or somebody pressed Ctrl-C.
const UNAVAILABLE: u8 = 3;

fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(said) => {
            let code = if said.use_stderr() { USAGE } else { GOOD };
            let _ = said.print();
            return ExitCode::from(code);
        }
    };
    if !settings.cluster.is_empty() {
        return ExitCode::from(transport_alone(&settings));
    }
    let board = Board::new();
    let code = match show(&settings, &board) {
        Ok(failures) if failures.is_empty() => {
            board.say("\nEverything arrived exactly once, and every act was noticed.");
            GOOD
        }
        Ok(failures) => {
            board.say("\nNOT GOOD:");
            failures.iter().for_each(|failure| board.say(&format!("  - {failure}")));
            NEGATIVE
        }
        Err(Failure { error, code }) => {
            eprintln!("govbridge-demo: {error:#}");
            if error.is::<Interrupted>() { UNAVAILABLE } else { code }
        }
    };
    if code == GOOD && !settings.keep {
        // What is left of it does no harm; the next demo removes it.
        let _ = std::fs::remove_dir_all(&settings.folder);
    } else if settings.folder.exists() {
        board.say(&format!(
            "All files are in {}; each process's words are in its folder words.",
            settings.folder.display()
        ));
    }
    board.say(&format!("Total time {:.1} s.", board.elapsed().as_secs_f64()));
    ExitCode::from(code)
}

/// The trial cluster and nothing else, until somebody asks it to end.
fn transport_alone(settings: &Settings) -> u8 {
    let kept = transport::contracts(&settings.cluster)
        .map_err(of_stage)
        .and_then(|contracts| transport::keep(&contracts, &Interruption::listen()?).map_err(Failure::from));
    match kept {
        Ok(()) => GOOD,
        Err(Failure { error, code }) => {
            eprintln!("govbridge-demo: {error:#}");
            code
        }
    }
}

/// The demo could not go on.
struct Failure {
    error: anyhow::Error,
    code: u8,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { error, code: UNAVAILABLE }
    }
}

fn of_stage(error: anyhow::Error) -> Failure {
    Failure { error, code: USAGE }
}

/// Runs everything; what was not as it should be, in words.
fn show(settings: &Settings, board: &Board) -> Result<Vec<String>, Failure> {
    let interruption = Interruption::listen()?;
    let binary = Binary::beside_this().map_err(of_stage)?;
    let schemas = settings.schemas().map_err(of_stage)?;
    board.say("Govbridge demo: three departments, four witnesses, two receivers, on this machine.");
    let ground = settings.ground().map_err(of_stage)?;
    match &ground {
        Ground::Trial => board.say(
            "The transport is librdkafka's mock cluster inside this process: FOR TRYING OUT ONLY, it keeps nothing.",
        ),
        Ground::Servers(servers) => board.say(&format!("On real servers: {}.", servers.words())),
    }
    board.say(&format!(
        "All people are invented. Seed {}; {} s of work.",
        settings.seed,
        settings.length().as_secs()
    ));

    board.head("The stage: keys, a trust file signed by two of three, logs, three departments' databases");
    let mut stage = Stage::clear(&settings.folder, &schemas, &binary, &ground).map_err(of_stage)?;
    let mut play = Play::new(&binary, board, &interruption, &stage).map_err(of_stage)?;
    let mut offices = play.set(&mut stage, settings).map_err(of_stage)?;
    let mut before = BTreeMap::new();
    for office in &mut offices {
        before.extend(office.tables()?);
    }
    let mut committed = Committed { before, since: Tally::default() };
    let rows: u64 = committed.before.values().sum();
    board.say(&format!(
        "  configured in {}; {rows} rows in nine tables before the first start",
        stage.folder.display()
    ));

    board.head(
        "Three connectors, four witnesses and two subscribers start; what is there already is delivered",
    );
    play.open(&stage, &committed)?;
    board.head("The offices work");
    let (since, mut offices) = play.work(&stage, offices, settings.length())?;
    committed.since = since;
    board.head("The offices have stopped; what they committed is compared with what arrived");
    let mut failures = play.compare(&stage, &committed, &mut offices)?;
    board.head("Every process is asked to end");
    play.stop()?;
    let topics = play.topics(&stage)?;
    drop(offices);
    play.clear()?;

    let (frames, bytes) = topics.size();
    board
        .head(&format!("Tampering with copies of the {frames} frames ({} KiB) and three logs", bytes / 1024));
    let outcome = tampering::tamper(&mut Readers::new(&stage, &binary, &interruption), board, &topics)?;
    let noticed =
        outcome.acts - outcome.failures.iter().filter(|failure| failure.starts_with("nobody")).count();
    board.say(&format!("\n  {noticed} of {} acts were noticed.", outcome.acts));
    failures.extend(outcome.failures);
    Ok(failures)
}
