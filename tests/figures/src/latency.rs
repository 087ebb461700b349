//! From before an INSERT is sent to the verified row in the receiver's JSON lines, at 1,000 one-row transactions a second.

use crate::backlog::insert;
use crate::compare::{Known, Rows, compare, row_of, spoiled};
use crate::drain::Bench;
use crate::interrupt;
use crate::process::{PATIENCE, Process, processor_ticks, stolen};
use crate::province::{Line, Sink};
use crate::report::{Cost, Latency, Percentiles};
use crate::sql::Sql;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Transactions a second.
const PER_SECOND: u64 = 1000;
/// Connections that take turns: one alone waits for the disk at each commit.
const CONNECTIONS: u64 = 8;
/// How often the file is looked at: as often as a row comes. More often takes time from what is measured.
const LOOK: Duration = Duration::from_millis(1);
/// The first transactions warm the path and are not counted: a fresh broker compiles its way through new topics.
const WARM_SECONDS: u64 = 10;

/// When an INSERT was sent, and when the server had committed it.
#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    committed: Instant,
}

/// Rows that came, with the moment when they stood in the file.
type Came = Vec<(Known, Instant)>;

impl Bench<'_> {
    /// Runs it for so many seconds.
    pub(crate) fn latency(&self, line: &Line, seconds: u64) -> Result<Latency> {
        let path = self.province.subscribe(line, "mode = \"stream\"\nlevel = \"signed\"\n", &Sink::Lines)?;
        let witnesses = self.province.witnesses()?;
        let mut subscriber = self.province.subscriber(line)?;
        let mut connector = self.province.connector(line)?;
        connector.until("it is healthy", Duration::from_millis(10), || {
            Ok((!self.province.connector_metrics().contains("govbridge_publish_starts_total 1")).then_some(0))
        })?;
        let count = (seconds + WARM_SECONDS) * PER_SECOND;
        let over = AtomicBool::new(false);
        let before = processor_ticks().context("/proc/stat")?;
        let (sent, came) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| follow(&path, count, &over));
            let sent = self.send(line, count);
            if sent.is_err() {
                over.store(true, Ordering::SeqCst);
            }
            (sent, reader.join())
        });
        let sent = sent?;
        let came = came.ok().context("the reader of the lines failed")??;
        let stolen = stolen(before, processor_ticks().context("/proc/stat")?);
        let processes =
            vec![Cost::of("connector", connector.used()?), Cost::of("subscriber", subscriber.used()?)];
        if connector.has_ended()? || subscriber.has_ended()? {
            bail!("a process has ended");
        }
        connector.stop()?;
        subscriber.stop()?;
        witnesses.into_iter().try_for_each(Process::stop)?;
        let mut latency = figures(&sent, &came)?;
        latency.stolen = stolen;
        latency.processes = processes;
        self.check(line, came).context("line latency")?;
        std::fs::remove_file(&path)?;
        Ok(latency)
    }

    /// Sends the rows in time; gives when each was sent and committed.
    fn send(&self, line: &Line, count: u64) -> Result<HashMap<i64, Sent>> {
        let began = Instant::now() + Duration::from_millis(100);
        std::thread::scope(|scope| {
            let hands: Vec<_> = (0..CONNECTIONS)
                .map(|hand| {
                    scope.spawn(move || -> Result<Vec<(i64, Sent)>> {
                        let mut sql = Sql::connect(self.servers.port, &line.database)?;
                        // As an application does that writes the same statement all day.
                        sql.run(&format!("PREPARE one (bigint) AS {}", insert("$1", "$1")))?;
                        let mut sent = Vec::new();
                        for number in (1..=count).filter(|number| number % CONNECTIONS == hand) {
                            interrupt::check()?;
                            let due = began + Duration::from_micros(number * 1_000_000 / PER_SECOND);
                            std::thread::sleep(due.saturating_duration_since(Instant::now()));
                            let at = Instant::now();
                            sql.run(&format!("EXECUTE one ({number})"))?;
                            sent.push((i64::try_from(number)?, Sent { at, committed: Instant::now() }));
                        }
                        Ok(sent)
                    })
                })
                .collect();
            let mut all = HashMap::new();
            for hand in hands {
                all.extend(hand.join().ok().context("a connection failed")??);
            }
            Ok(all)
        })
    }

    /// All rows once and unchanged, and those of one connection in the order in which it sent them.
    fn check(&self, line: &Line, came: Came) -> Result<()> {
        for hand in 0..i64::try_from(CONNECTIONS)? {
            let own = came.iter().map(|((id, _), _)| *id).filter(|id| id.rem_euclid(8) == hand);
            if !own.is_sorted() {
                bail!("the rows of a connection came out of order");
            }
        }
        let mut rows: Vec<Known> = came.into_iter().map(|(row, _)| row).collect();
        rows.sort();
        let source = Rows::of(self.servers.port, &line.database, "bench")?;
        compare(source, spoiled(rows.into_iter().map(Ok), self.spoil)).map(drop)
    }
}

/// Reads lines as they are written, until all rows came or nothing comes any more.
fn follow(path: &Path, count: u64, over: &AtomicBool) -> Result<Came> {
    let wanted = usize::try_from(count)?;
    let mut came = Came::new();
    let (mut text, mut file) = (Vec::new(), None);
    let mut last = Instant::now();
    while came.len() < wanted && !over.load(Ordering::SeqCst) {
        interrupt::check()?;
        if file.is_none() {
            file = File::open(path).ok();
        }
        let read = file.as_mut().map_or(Ok(0), |file| file.read_to_end(&mut text))?;
        let now = Instant::now();
        if read == 0 {
            if last.elapsed() > PATIENCE {
                bail!("{} of {wanted} rows came", came.len());
            }
            std::thread::sleep(LOOK);
            continue;
        }
        last = now;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = text.split_off(whole);
        for line in std::str::from_utf8(&text)?.lines() {
            came.extend(row_of(line)?.map(|row| (row, now)));
        }
        text = rest;
    }
    Ok(came)
}

fn figures(sent: &HashMap<i64, Sent>, came: &Came) -> Result<Latency> {
    let warm = i64::try_from(WARM_SECONDS * PER_SECOND)?;
    let counted: Vec<(Sent, Instant)> = came
        .iter()
        .filter(|((id, _), _)| *id > warm)
        .filter_map(|((id, _), at)| Some((*sent.get(id)?, *at)))
        .collect();
    let whole = Percentiles::of(counted.iter().map(|(sent, at)| at.saturating_duration_since(sent.at)));
    let commit = Percentiles::of(counted.iter().map(|(sent, _)| sent.committed.duration_since(sent.at)));
    let times = || sent.values().map(|sent| sent.at);
    let lasted = times().min().zip(times().max());
    let lasted = lasted.map(|(first, last)| last.duration_since(first).as_secs_f64());
    Ok(Latency {
        rows: counted.len(),
        sent_per_second: u32::try_from(sent.len()).map(f64::from)? / lasted.unwrap_or(f64::NAN),
        whole,
        commit,
        stolen: 0.0,
        processes: Vec::new(),
    })
}

impl Percentiles {
    fn of(times: impl Iterator<Item = Duration>) -> Percentiles {
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        let at = |part: usize| {
            let time = times.get((times.len() * part / 1000).min(times.len().saturating_sub(1)));
            time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Percentiles { p50_ms: at(500), p99_ms: at(990), max_ms: at(1000) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]
    use super::*;

    #[test]
    fn percentiles_are_of_the_rows_after_the_warm_up() {
        let began = Instant::now();
        let warm = WARM_SECONDS * PER_SECOND;
        let last = i64::try_from(warm + 1000).unwrap();
        let one = Sent { at: began, committed: began + Duration::from_micros(500) };
        let sent: HashMap<i64, Sent> = (1..=last).map(|id| (id, one)).collect();
        let came = (1..=warm + 1000)
            .map(|id| {
                let took = if id <= warm { 1_000_000 } else { id - warm };
                ((i64::try_from(id).unwrap(), String::new()), began + Duration::from_micros(took))
            })
            .collect();
        let latency = figures(&sent, &came).unwrap();
        assert_eq!(latency.rows, 1000);
        let Percentiles { p50_ms, p99_ms, max_ms } = latency.whole;
        assert!(
            (p50_ms - 0.501).abs() < 1e-6 && (p99_ms - 0.991).abs() < 1e-6 && (max_ms - 1.0).abs() < 1e-6
        );
        assert!((latency.commit.p50_ms - 0.5).abs() < 1e-6);
    }
}
