//! A backlog is drained: by `pg_recvlogical`, by a reader that only receives, by a connector.
//!
//! The clock of a reader begins when its slot is in use, a connector's when its start sequence is done and it reads on: until
//! then the server is held back. It ends with the last row: received, appended to the log after Kafka had acknowledged it,
//! or delivered. What the start sequence took is told apart.

use crate::backlog::End;
use crate::compare::{Rows, Spoil, compare, lines, spoiled};
use crate::process::{PATIENCE, Process, Used, metric, used};
use crate::province::{Line, Province, Sink};
use crate::report::{Cost, Measured};
use crate::servers::{Recvlogical, Servers};
use crate::sql::Sql;
use crate::topic::Topic;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often the ends of a drain are looked at: 1 % of the shortest. Each look at a process's metrics costs it half a
/// millisecond of CPU.
const LOOK: Duration = Duration::from_millis(50);

/// What every drain needs.
pub(crate) struct Bench<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) province: &'a Province,
    pub(crate) folder: &'a Path,
    pub(crate) rows: u64,
    pub(crate) spoil: Option<Spoil>,
}

/// The slot's walsender while it is in use.
pub(crate) struct Walsender {
    sql: Sql,
    query: String,
    pid: Option<u32>,
    used: Used,
}

impl Walsender {
    pub(crate) fn of(port: u16, slot: &str) -> Result<Walsender> {
        let query =
            format!("SELECT coalesce(active_pid, 0) FROM pg_replication_slots WHERE slot_name = '{slot}'");
        Ok(Walsender { sql: Sql::connect(port, "postgres")?, query, pid: None, used: Used::default() })
    }

    /// Waits until the slot is in use: the clock begins.
    pub(crate) fn begins(&mut self, reader: &mut Process) -> Result<Instant> {
        reader.until("it reads the slot", Duration::from_millis(1), || {
            let pid: u32 = self.sql.value(&self.query)?.parse()?;
            self.pid = (pid != 0).then_some(pid);
            Ok(self.pid.is_none().then_some(0))
        })?;
        Ok(Instant::now())
    }

    /// Remembers what it has used: it ends with its reader.
    pub(crate) fn look(&mut self) {
        if let Some(used) = self.pid.and_then(used) {
            self.used = self.used.max(used);
        }
    }

    pub(crate) fn cost(&self) -> Cost {
        Cost::of("walsender", self.used)
    }
}

/// Makes a slot and a publication of its own.
pub(crate) fn make_slot(sql: &mut Sql, name: &str) -> Result<()> {
    sql.run(&format!("CREATE PUBLICATION {name} FOR TABLE bench, mark"))?;
    sql.run(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).map(drop)
}

impl Bench<'_> {
    fn measured(&self, name: &str, began: Instant) -> Measured {
        Measured::new(name, self.rows, began.elapsed())
    }

    /// `pg_recvlogical` to /dev/null.
    pub(crate) fn recvlogical(
        &self,
        found: &Recvlogical,
        database: &str,
        slot: &str,
        end: &End,
    ) -> Result<Measured> {
        let mut command = found.command();
        command
            .args(["-h", "127.0.0.1", "-p", &self.servers.port.to_string(), "-U", "postgres", "-d", database])
            .args(["--slot", slot, "--start", "--no-loop", "-F", "0", "-f", "/dev/null"])
            .args([
                "--endpos",
                &end.after,
                "-o",
                "proto_version=1",
                "-o",
                &format!("publication_names={slot}"),
            ]);
        let reader = Process::start("pg_recvlogical", self.folder, &mut command)?;
        self.reader("pg_recvlogical", reader, slot)
    }

    /// This program as a reader that only receives.
    pub(crate) fn null_reader(&self, database: &str, slot: &str) -> Result<Measured> {
        let own = std::env::current_exe()?;
        let mut command = Command::new(own);
        command.args(["null-reader", &self.servers.port.to_string(), database, slot, &self.rows.to_string()]);
        let reader = Process::start("null-reader", self.folder, &mut command)?;
        self.reader("null reader", reader, slot)
    }

    /// A reader that ends by itself.
    fn reader(&self, name: &str, mut reader: Process, slot: &str) -> Result<Measured> {
        let mut walsender = Walsender::of(self.servers.port, slot)?;
        let began = walsender.begins(&mut reader)?;
        let mut cost = reader.used()?;
        let mut looked = 0;
        while !reader.has_ended()? {
            crate::interrupt::check()?;
            // Its figures are gone when it is.
            if let Ok(now) = reader.used() {
                cost = cost.max(now);
            }
            walsender.look();
            looked += 1;
            if began.elapsed() > PATIENCE * 5 {
                bail!("{name} does not end; looked {looked} times");
            }
            std::thread::sleep(LOOK / 25);
        }
        let mut measured = self.measured(name, began);
        measured.processes = vec![Cost::of(&reader.name, cost), walsender.cost()];
        Ok(measured)
    }

    /// Starts a connector with its witnesses. The clock begins when it has read its streams back and fenced them.
    fn begin(&self, line: &Line) -> Result<Drain> {
        let witnesses = self.province.witnesses()?;
        let mut topic = Topic::new(self.servers.partition(&line.topic()));
        topic.count()?;
        let before = topic.bytes;
        let mut walsender = Walsender::of(self.servers.port, &line.slot())?;
        let mut connector = self.province.connector(line)?;
        let claimed = walsender.begins(&mut connector)?;
        connector.until("its start sequence is done", LOOK / 25, || {
            let starts = metric(&self.province.connector_metrics(), "govbridge_publish_starts_total");
            Ok((starts == 0).then_some(0))
        })?;
        let began = Instant::now();
        Ok(Drain { witnesses, topic, before, walsender, connector, claimed, began })
    }

    /// What a drain took until now, also a subscriber's part beside it.
    fn told(
        &self,
        drain: &mut Drain,
        line: &Line,
        end: &End,
        subscriber: Option<&Process>,
    ) -> Result<Measured> {
        let mut measured = self.measured(line.kind, drain.began);
        measured.start_seconds = Some(drain.began.duration_since(drain.claimed).as_secs_f64());
        measured.processes = vec![Cost::of("connector", drain.connector.used()?)];
        if let Some(process) = subscriber {
            measured.processes.push(Cost::of("subscriber", process.used()?));
        }
        measured.processes.push(drain.walsender.cost());
        for witness in &drain.witnesses {
            measured.processes.push(Cost::of(&witness.name, witness.used()?));
        }
        drain.topic.count()?;
        measured.kafka_bytes = Some(drain.topic.bytes - drain.before);
        let mut sql = Sql::connect(self.servers.port, &line.database)?;
        self.province.acknowledged(line, &mut sql, &end.inside)?;
        Ok(measured)
    }

    /// A connector into Kafka, with nobody beside it.
    pub(crate) fn to_kafka(&self, line: &Line, end: &End) -> Result<Measured> {
        let mut drain = self.begin(line)?;
        let Drain { connector, walsender, .. } = &mut drain;
        connector.until("all rows are in its log", LOOK, || {
            walsender.look();
            Ok(self.not_appended(&self.province.connector_metrics()))
        })?;
        let mut measured = self.told(&mut drain, line, end, None)?;
        let verified = self.province.verify(line)?;
        if verified != self.rows {
            bail!("line {}: {verified} rows could be verified and opened of {}", line.name, self.rows);
        }
        measured.compared = Some("counted");
        drain.stop()?;
        Ok(measured)
    }

    /// How many rows are sealed while not all of them are in the log.
    fn not_appended(&self, text: &str) -> Option<u64> {
        let sealed = metric(text, "govbridge_seal_rows_total");
        let batches = metric(text, "govbridge_seal_batches_total");
        let appended = metric(text, "govbridge_append_batches_total");
        (sealed < self.rows || appended < batches).then_some(sealed)
    }

    /// A connector with a subscriber beside it that verifies, opens and delivers.
    pub(crate) fn delivered(&self, line: &Line, head: &str, sink: &Sink, end: &End) -> Result<Measured> {
        let path = self.province.subscribe(line, head, sink)?;
        let mut subscriber = self.province.subscriber(line)?;
        let mut drain = self.begin(line)?;
        subscriber.until("all rows are delivered", LOOK, || {
            drain.walsender.look();
            if drain.connector.has_ended()? {
                bail!("the connector has ended");
            }
            let rows = metric(&self.province.subscriber_metrics(), "govbridge_deliver_rows_total");
            Ok((rows < self.rows).then_some(rows))
        })?;
        let mut measured = self.told(&mut drain, line, end, Some(&subscriber))?;
        drain.stop()?;
        subscriber.stop()?;
        self.compare(line, sink, &path)?;
        measured.compared = Some("row by row");
        Ok(measured)
    }

    fn compare(&self, line: &Line, sink: &Sink, path: &Path) -> Result<()> {
        let source = Rows::of(self.servers.port, &line.database, "bench")?;
        let count = match sink {
            Sink::Lines => compare(source, spoiled(lines(path)?, self.spoil)),
            Sink::Tables { database } => {
                let table = format!("govbridge.tax__{}", line.dataset().replace('-', "_"));
                compare(source, spoiled(Rows::of(self.servers.port, database, &table)?, self.spoil))
            }
        };
        let count = count.with_context(|| format!("line {}", line.name))?;
        if count != self.rows {
            bail!("line {}: {count} rows are in the source in the place of {}", line.name, self.rows);
        }
        if path.exists() {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// A connector that drains a backlog, and who is measured with it.
struct Drain {
    witnesses: Vec<Process>,
    topic: Topic,
    /// The topic's bytes when it began.
    before: u64,
    walsender: Walsender,
    connector: Process,
    claimed: Instant,
    began: Instant,
}

impl Drain {
    fn stop(self) -> Result<()> {
        self.connector.stop()?;
        self.witnesses.into_iter().try_for_each(Process::stop)
    }
}
