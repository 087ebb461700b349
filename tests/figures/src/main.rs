//! What the whole path reaches on real servers: PostgreSQL, Kafka, connector, log, two witnesses, subscriber, and others'
//! tools beside it on the same rows. `docs/performance.md` says what each line means.
//!
//! ```text
//! figures [peers]                                      the run; `make bench`, `make bench-peers`
//! figures null-reader PORT DATABASE SLOT ROWS          a line of it, in a process of its own
//! ```
//!
//! Every line that delivers rows is held against the source's table; the run ends with 1 when a row was lost, repeated,
//! out of order or changed, and only then: a figure that is not reached is told.

mod backlog;
mod compare;
mod debezium;
mod drain;
mod files;
mod interrupt;
mod latency;
mod null_reader;
mod process;
mod province;
mod report;
mod servers;
mod settings;
mod sql;
mod topic;

use crate::backlog::End;
use crate::debezium::Debezium;
use crate::drain::{Bench, make_slot};
use crate::province::{Line, Province, Sink};
use crate::report::{Measured, Report};
use crate::servers::{Recvlogical, Servers};
use crate::settings::Settings;
use crate::sql::Sql;
use anyhow::{Context, Result, bail};
use std::process::ExitCode;

/// Databases of the source: a backlog in many transactions, one in one, and rows as they are made.
const MANY: &str = "many";
const ONE: &str = "one";
const LIVE: &str = "live";
/// The receiver's database.
const RECEIVER: &str = "receiver";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] => measure(false),
        ["peers"] => measure(true),
        ["null-reader", port, database, slot, rows] => null_reader(port, database, slot, rows),
        _ => Err(anyhow::anyhow!("say nothing, `peers` or `null-reader PORT DATABASE SLOT ROWS`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn null_reader(port: &str, database: &str, slot: &str, rows: &str) -> Result<()> {
    null_reader::run(port.parse()?, database, slot, rows.parse()?)
}

fn say(words: &str) {
    eprintln!("bench: {words}");
}

fn measure(peers: bool) -> Result<()> {
    let settings = Settings::read(peers)?;
    if !settings.binary.is_file() {
        bail!("{} is not there: build it, or name another in GOVBRIDGE", settings.binary.display());
    }
    interrupt::listen()?;
    let folder = settings.folder.join("run");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let recvlogical = settings.has("recvlogical").then(|| Recvlogical::find(&settings.folder)).transpose()?;
    let debezium =
        settings.has("debezium").then(|| Debezium::fetch(&settings.folder.join("peers"))).transpose()?;
    let servers = Servers::start(&files::repository()?, &settings.folder.join("services"))?;
    let run = Run::new(&settings, recvlogical, debezium)?;
    let all = run.all_lines();
    let province = Province::make(&folder, &settings.binary, &servers.bootstrap, servers.port, &all)?;
    let bench = Bench {
        servers: &servers,
        province: &province,
        folder: &folder,
        rows: settings.rows,
        spoil: settings.spoil,
    };
    let mut report = Report { rows: settings.rows, ..Report::default() };
    let outcome = run.measure(&bench, &mut report);
    report.judge();
    let json = settings.folder.join(if peers { "peers.json" } else { "bench.json" });
    files::put(&json, &serde_json::to_string_pretty(&report)?)?;
    println!("{}", report.text());
    say(&format!("the same as JSON is in {}", json.display()));
    outcome
}

/// The lines of a run.
struct Run<'a> {
    settings: &'a Settings,
    recvlogical: Option<Recvlogical>,
    debezium: Option<Debezium>,
    /// Of each round.
    many: Vec<Vec<Line>>,
    one: Option<Line>,
    latency: Option<Line>,
}

impl<'a> Run<'a> {
    fn new(
        settings: &'a Settings,
        recvlogical: Option<Recvlogical>,
        debezium: Option<Debezium>,
    ) -> Result<Run<'a>> {
        let kinds = ["kafka", "again", "lines", "tables"];
        let many = (1..=settings.rounds)
            .map(|round| {
                let kinds = kinds.into_iter().filter(|kind| settings.has(kind));
                kinds.map(|kind| Line::new(kind, round, MANY)).collect()
            })
            .collect();
        let alone = |kind: &'static str, database| settings.has(kind).then(|| Line::new(kind, 1, database));
        Ok(Run {
            settings,
            recvlogical,
            debezium,
            many,
            one: alone("one", ONE),
            latency: alone("latency", LIVE),
        })
    }

    fn all_lines(&self) -> Vec<Line> {
        self.many.iter().flatten().chain(&self.one).chain(&self.latency).cloned().collect()
    }

    fn measure(&self, bench: &Bench<'_>, report: &mut Report) -> Result<()> {
        self.drains(bench, report)?;
        self.in_one_transaction(bench, report)?;
        if let Some(line) = &self.latency {
            say("latency");
            backlog::database(bench.servers.port, LIVE)?;
            bench.province.begin(line)?;
            report.latency = Some(bench.latency(line, self.settings.latency_seconds)?);
        }
        Ok(())
    }

    /// The slots of readers that are not ours.
    fn foreign_slots(&self, round: u32) -> Vec<(&'static str, String)> {
        let kinds = ["recvlogical", "null", "debezium"].into_iter().filter(|kind| self.settings.has(kind));
        kinds.map(|kind| (kind, format!("{kind}_{round}"))).collect()
    }

    /// The backlog of many transactions, drained by each line in turn.
    fn drains(&self, bench: &Bench<'_>, report: &mut Report) -> Result<()> {
        let mut sql = backlog::database(bench.servers.port, MANY)?;
        for round in 1..=self.settings.rounds {
            for (_, slot) in self.foreign_slots(round) {
                make_slot(&mut sql, &slot)?;
            }
        }
        for line in self.many.iter().flatten() {
            bench.province.begin(line)?;
        }
        say(&format!("writing {} rows", bench.rows));
        let end = backlog::write(&mut sql, bench.rows, false)?;
        for (round, lines) in (1..).zip(&self.many) {
            for (kind, slot) in self.foreign_slots(round) {
                say(&format!("{kind}, round {round}"));
                let measured = self.foreign(bench, kind, &slot, &end)?;
                report.lines.push(measured.in_round(round));
            }
            for line in lines {
                say(&format!("{}, round {round}", line.kind));
                let measured = self.own(bench, line, &end)?;
                report.lines.push(measured.in_round(round));
            }
            report.compare_again(round);
        }
        Ok(())
    }

    fn foreign(&self, bench: &Bench<'_>, kind: &str, slot: &str, end: &End) -> Result<Measured> {
        match (kind, &self.recvlogical, &self.debezium) {
            ("recvlogical", Some(found), _) => bench.recvlogical(found, MANY, slot, end),
            ("debezium", _, Some(found)) => bench.debezium(found, MANY, slot),
            _ => bench.null_reader(MANY, slot),
        }
    }

    fn own(&self, bench: &Bench<'_>, line: &Line, end: &End) -> Result<Measured> {
        match line.kind {
            "lines" => bench.delivered(line, &self.settings.subscriber, &Sink::Lines, end),
            "tables" => {
                let mut sql = Sql::connect(bench.servers.port, "postgres")?;
                let database = format!("{RECEIVER}_{}", line.slot());
                sql.run(&format!("CREATE DATABASE {database}"))?;
                bench.delivered(line, &self.settings.subscriber, &Sink::Tables { database }, end)
            }
            _ => bench.to_kafka(line, end),
        }
    }

    /// The same rows in one transaction: what the processes hold at most.
    fn in_one_transaction(&self, bench: &Bench<'_>, report: &mut Report) -> Result<()> {
        let Some(line) = &self.one else { return Ok(()) };
        say(&format!("{} rows in one transaction", bench.rows));
        let mut sql = backlog::database(bench.servers.port, ONE)?;
        bench.province.begin(line)?;
        let end = backlog::write(&mut sql, bench.rows, true)?;
        let measured = bench.delivered(line, &self.settings.subscriber, &Sink::Lines, &end);
        report.lines.push(measured.context("one transaction")?);
        Ok(())
    }
}
