//! The play: the stage is set, the real processes work, everything is compared, and the processes are stopped.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::board::{Board, NOTES};
use crate::copies::{PARTITION_BYTES_MAX, Topics};
use crate::deliveries::Deliveries;
use crate::gauges::Gauges;
use crate::generator::{Office, Pace, Tally, Work};
use crate::ground::{Ground, Transport, sample};
use crate::interruption::Interruption;
use crate::processes::{Binary, LOOK, Process, wait};
use crate::reckoning::{self, Committed, side_by_side};
use crate::servers::{Databases, Servers};
use crate::settings::Settings;
use crate::stage::{DEPARTMENTS, RECEIVERS, Stage, WITNESSES, connector, subscriber, witness};
use crate::tables::Tables;

/// How long processes may take to answer, and a first snapshot to arrive.
const START: Duration = Duration::from_secs(60);

/// How long the last changes may take to arrive once the offices have stopped.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Transactions that each office did before its connector was first started: what a snapshot has to read.
const BEFORE: u64 = 150;

/// The department whose connector is killed in mid-work, and whose stream is tampered with later.
pub(crate) const KILLED: &str = "education";

/// Two datasets of which two receivers see different columns.
const SHOWN: &[&str] = &["education/students", "education/enrolments"];

/// Everything that acts. Dropping it ends every process, then the transport and the databases: fields are dropped in this
/// order.
pub(crate) struct Play<'a> {
    binary: &'a Binary,
    board: &'a Board,
    interruption: &'a Interruption,
    gauges: Gauges,
    processes: Vec<Process>,
    transport: Transport,
    deliveries: Vec<Deliveries>,
    tables: Vec<Tables>,
    databases: Databases,
}

impl<'a> Play<'a> {
    /// Starts the transport.
    pub(crate) fn new(
        binary: &'a Binary,
        board: &'a Board,
        interruption: &'a Interruption,
        stage: &Stage,
    ) -> anyhow::Result<Play<'a>> {
        let transport = Transport::for_connectors(&stage.ground, &stage.topics())?;
        let (gauges, processes, deliveries) = (Gauges::new(), Vec::new(), Vec::new());
        let (tables, databases) = (Vec::new(), Databases::default());
        Ok(Play { binary, board, interruption, gauges, processes, transport, deliveries, tables, databases })
    }

    /// Keys, trust file, configuration, topics, empty logs, and three departments' databases with capture installed.
    pub(crate) fn set(&mut self, stage: &mut Stage, settings: &Settings) -> anyhow::Result<Vec<Office>> {
        let bar = self.board.bar("commands", Stage::COMMANDS);
        let interruption = self.interruption;
        stage.keys_and_trust(&mut |step| bar.step(step))?;
        interruption.check()?;
        stage.configure(self.transport.bootstrap())?;
        stage.open_logs(&mut |step| bar.step(step))?;
        drop(bar);
        let bar = self.board.bar("offices", BEFORE * 3);
        let mut offices = Vec::new();
        for department in DEPARTMENTS {
            let sample = sample(&stage.folder.join("schemas"), department, &stage.ground)?;
            let store = stage.ground.store(stage, department, &mut self.databases)?;
            let mut office = Office::found(store, department, &sample, settings.seed)?;
            for turn in 0..BEFORE {
                office.transact(turn == BEFORE / 2)?;
                bar.step(department);
                interruption.check()?;
            }
            stage.create_connector(department)?;
            office.is_captured();
            offices.push(office);
        }
        Ok(offices)
    }

    fn start(&mut self, stage: &Stage, department: &str, what: &str, name: &str) -> anyhow::Result<()> {
        let config = format!("{what}.toml");
        let words = [what, "--config", &config];
        let folder = stage.of(department);
        self.processes.push(Process::start(self.binary, name, &folder, &words, &stage.words(name))?);
        Ok(())
    }

    /// Waits until processes answer.
    fn until_up(&mut self, stage: &Stage, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            let url = stage.ports.url(name);
            let gauges = &self.gauges;
            wait(&format!("the start of {name}"), START, self.interruption, &mut self.processes, || {
                Ok(gauges.is_up(&url))
            })?;
        }
        Ok(())
    }

    /// Starts the nine processes, and waits until the receivers have what was there before.
    pub(crate) fn open(&mut self, stage: &Stage, committed: &Committed) -> anyhow::Result<()> {
        for department in WITNESSES {
            self.start(stage, department, "witness", &witness(department))?;
        }
        self.until_up(stage, &WITNESSES.map_names(witness))?;

        for department in DEPARTMENTS {
            self.start(stage, department, "connector", &connector(department))?;
        }
        self.until_up(stage, &DEPARTMENTS.map_names(connector))?;
        for department in RECEIVERS {
            let received = stage.received_by(department);
            if let Some(servers) = stage.ground.tables(department) {
                drop(self.databases.make(servers, &Servers::received(department))?);
                self.until_created(stage, department)?;
                self.tables.push(Tables::of(servers, department, &received)?);
            } else {
                let file = stage.of(department).join("rows.jsonl");
                self.deliveries.push(Deliveries::of(department, &file, &received));
            }
            self.start(stage, department, "subscriber", &subscriber(department))?;
        }
        self.until_arrived("the snapshot", START, committed)
    }

    /// Makes a receiver's tables once the connectors have published the contracts.
    fn until_created(&mut self, stage: &Stage, department: &str) -> anyhow::Result<()> {
        let mut refused = None;
        let what = format!("the tables of {department}");
        let made = wait(&what, START, self.interruption, &mut self.processes, || {
            refused = stage.create_tables(department).err();
            Ok(refused.is_none())
        });
        made.map_err(|error| match refused {
            Some(refused) => refused.context(error),
            None => error,
        })
    }

    /// Waits until every receiver has as many rows as were committed for it.
    fn until_arrived(&mut self, what: &str, patience: Duration, committed: &Committed) -> anyhow::Result<()> {
        let wanted: u64 = self.deliveries.iter().map(|one| committed.rows_for(one)).sum();
        let bar = self.board.bar(what, wanted);
        let (deliveries, tables) = (&mut self.deliveries, &mut self.tables);
        let arrived = wait(what, patience, self.interruption, &mut self.processes, || {
            let mut rows = 0;
            for one in deliveries.iter_mut() {
                one.follow()?;
                rows += one.rows();
            }
            bar.at(rows.min(wanted));
            Ok(rows >= wanted
                && tables
                    .iter_mut()
                    .try_fold(true, |equal, one| anyhow::Ok(equal && one.compare()?.1.is_empty()))?)
        });
        let got: u64 = self.deliveries.iter().map(Deliveries::rows).sum();
        arrived.with_context(|| format!("{got} of {wanted} rows have arrived"))
    }

    /// The offices work for the length of the demo. In the middle one connector is killed and started again.
    pub(crate) fn work(
        &mut self,
        stage: &Stage,
        offices: Vec<Office>,
        length: Duration,
    ) -> anyhow::Result<(Tally, Vec<Office>)> {
        let mut work = Work::start(offices, Pace::of(length))?;
        let mut live = self.board.live(&stage.ports);
        let begun = Instant::now();
        let mut is_killed = false;
        let headline = |work: &mut Work, begun: Instant| {
            let committed = work.committed();
            let (transactions, rows) = (committed.transactions(), committed.rows());
            let left = length.saturating_sub(begun.elapsed()).as_secs();
            format!(
                "the offices committed {transactions} transactions with {rows} row changes; {left} s to go"
            )
        };
        while begun.elapsed() < length {
            self.interruption.check()?;
            anyhow::ensure!(!work.has_ended(), "the generator has ended before its time");
            for process in &mut self.processes {
                process.check()?;
            }
            live.show(&self.gauges, &headline(&mut work, begun));
            if !is_killed && begun.elapsed() > length / 2 {
                is_killed = true;
                live.carry(&self.gauges, KILLED);
                self.kill_and_restart(stage)?;
            }
            std::thread::sleep(LOOK);
        }
        live.finish(&self.gauges, &headline(&mut work, begun));
        work.finish()
    }

    fn kill_and_restart(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let name = connector(KILLED);
        let at = self
            .processes
            .iter()
            .position(|process| process.name() == name)
            .context("no connector to kill")?;
        self.processes.remove(at).kill()?;
        self.board.say(&format!(
            "  ** {name} was killed with SIGKILL in the middle of its work, and is started again **"
        ));
        self.start(stage, KILLED, "connector", &name)
    }

    /// Waits for the last changes, compares, and shows a row as each receiver got it. A line for each difference.
    pub(crate) fn compare(
        &mut self,
        stage: &Stage,
        committed: &Committed,
        offices: &mut [Office],
    ) -> anyhow::Result<Vec<String>> {
        let late = self.until_arrived("arrival", ARRIVAL, committed);
        self.interruption.check()?;
        let mut found = Vec::new();
        if let Err(error) = late {
            found.push(format!("{error:#}"));
        }
        for one in &self.deliveries {
            let differences = committed.differences(one, offices)?;
            let wanted = committed.rows_for(one);
            self.board.say(&format!(
                "  {:<16} {} of {wanted} rows delivered, from {} datasets; {}",
                one.department,
                one.rows(),
                one.contracts().count(),
                if differences.is_empty() {
                    "each committed change exactly once"
                } else {
                    "NOT what was committed"
                }
            ));
            found.extend(differences);
            let (transactions, disorder) = reckoning::transactions(one, offices);
            if transactions > 0 && disorder.is_empty() {
                self.board.say(&format!(
                    "  {:<16} {transactions} source transactions, each once and in the order of its commit",
                    ""
                ));
            }
            found.extend(disorder);
        }
        for one in &mut self.tables {
            let (rows, differences) = one.compare()?;
            let word = if differences.is_empty() {
                "row for row what the sources hold in the granted columns"
            } else {
                "NOT what the sources hold"
            };
            let (who, datasets) = (&one.department, one.datasets());
            self.board.say(&format!("  {who:<16} {rows} rows in {datasets} tables of PostgreSQL; {word}"));
            found.extend(differences);
        }
        for department in RECEIVERS {
            let codes = self.gauges.metrics(&stage.ports.url(&subscriber(department))).findings();
            let alarms = codes.into_keys().filter(|code| !NOTES.contains(&code.as_str()));
            found.extend(
                alarms.map(|code| format!("a false alarm while all was honest: {department} said {code}")),
            );
        }
        self.show_rows()?;
        Ok(found)
    }

    /// Shows a row as each receiver got it: the newest of the files, and the same in the tables.
    fn show_rows(&mut self) -> anyhow::Result<()> {
        for dataset in SHOWN {
            let mut samples: Vec<_> =
                self.deliveries.iter().map(|one| (one.department.clone(), one.sample(dataset))).collect();
            let key = samples.first().map(|(_, sample)| sample.clone()).unwrap_or_default();
            for one in &mut self.tables {
                samples.push((one.department.clone(), one.row(dataset, &key)?));
            }
            self.board.say(&format!("\n  A new row of {dataset}, as each department received it:"));
            side_by_side(&samples).iter().for_each(|line| self.board.say(line));
        }
        Ok(())
    }

    /// Stops everything by SIGTERM: those who send, those who read, those who witness.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let bar = self.board.bar("stopping", self.processes.len() as u64);
        for what in ["connector", "subscriber", "witness"] {
            let all = std::mem::take(&mut self.processes).into_iter();
            let (mut ending, others): (Vec<Process>, Vec<Process>) =
                all.partition(|p| p.name().ends_with(what));
            self.processes = others;
            for process in &mut ending {
                process.ask_to_end()?;
            }
            for process in ending {
                bar.step(process.name());
                process.join()?;
            }
        }
        Ok(())
    }

    /// Ends the transport and the databases, once nobody uses them any more.
    pub(crate) fn clear(mut self) -> anyhow::Result<()> {
        self.processes.clear();
        self.transport.end()?;
        self.databases.end()
    }

    /// All frames of all topics.
    pub(crate) fn topics(&self, stage: &Stage) -> anyhow::Result<Topics> {
        let topics = Topics::dump(self.transport.bootstrap(), &stage.topics())?;
        if !matches!(stage.ground, Ground::Trial) {
            return Ok(topics);
        }
        for (name, frames) in topics.iter() {
            let bytes: usize = frames.iter().map(Vec::len).sum();
            if bytes > PARTITION_BYTES_MAX / 10 * 9 {
                self.board.say(&format!(
                    "  note: {name} holds {bytes} bytes, and the trial cluster keeps {PARTITION_BYTES_MAX}"
                ));
            }
        }
        Ok(topics)
    }
}

/// Names of processes from names of departments.
trait Names {
    fn map_names(&self, name: fn(&str) -> String) -> Vec<String>;
}

impl Names for [&str] {
    fn map_names(&self, name: fn(&str) -> String) -> Vec<String> {
        self.iter().map(|department| name(department)).collect()
    }
}
