//! What a run is told, by its environment.

use crate::compare::Spoil;
use crate::files::repository;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The lines that can be measured, in the order in which they are.
const LINES: [&str; 9] =
    ["recvlogical", "null", "debezium", "kafka", "again", "lines", "tables", "one", "latency"];

/// The lines of `make bench`.
const PLAIN: &str = "recvlogical,null,kafka,lines,tables,one,latency";
/// Those of `make bench-peers`: Debezium, and the same line a second time.
const PEERS: &str = "recvlogical,null,debezium,kafka,again,lines,tables,one,latency";

/// A run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `ROWS`: of a backlog.
    pub(crate) rows: u64,
    /// `ROUNDS`: how often each drain is repeated, in turn.
    pub(crate) rounds: u32,
    /// `LINES`: those to measure.
    pub(crate) lines: Vec<String>,
    /// `LATENCY_SECONDS`.
    pub(crate) latency_seconds: u64,
    /// `SPOIL`: a deliberate fault, by which a run shows that it can fail.
    pub(crate) spoil: Option<Spoil>,
    /// `SUBSCRIBER`: more lines at the head of the subscriber's configuration, separated by `;`.
    pub(crate) subscriber: String,
    /// `GOVBRIDGE`: the binary.
    pub(crate) binary: PathBuf,
    /// `BENCH_DIR`: where everything is kept.
    pub(crate) folder: PathBuf,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr>(name: &str, usual: T) -> Result<T> {
    match variable(name) {
        None => Ok(usual),
        Some(value) => value.parse().ok().with_context(|| format!("{name} is a whole number, not {value}")),
    }
}

impl Settings {
    /// Reads the environment.
    pub(crate) fn read(peers: bool) -> Result<Settings> {
        let target = repository()?.join("target");
        let lines = variable("LINES").unwrap_or_else(|| if peers { PEERS } else { PLAIN }.to_owned());
        let lines: Vec<String> = lines.split(',').map(|line| line.trim().to_owned()).collect();
        if let Some(odd) = lines.iter().find(|line| !LINES.contains(&line.as_str())) {
            bail!("LINES names {odd}; there are {}", LINES.join(","));
        }
        let subscriber = variable("SUBSCRIBER").unwrap_or_default();
        Ok(Settings {
            rows: number("ROWS", 1_000_000)?,
            rounds: number("ROUNDS", if peers { 3 } else { 1 })?,
            lines,
            latency_seconds: number("LATENCY_SECONDS", 20)?,
            spoil: variable("SPOIL").map(|name| Spoil::named(&name)).transpose()?,
            subscriber: subscriber.split(';').map(|line| format!("{}\n", line.trim())).collect(),
            binary: variable("GOVBRIDGE").map_or_else(|| target.join("release/govbridge"), PathBuf::from),
            folder: variable("BENCH_DIR").map_or_else(|| target.join("bench"), PathBuf::from),
        })
    }

    /// Whether a line is measured.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|wanted| wanted == line)
    }
}
