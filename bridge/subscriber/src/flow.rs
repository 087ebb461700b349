//! One thread's work: a record comes in, is verified, waits for its level, is opened and delivered.
//!
//! ```text
//! take(record) -> verify.rs  frame, signature, chain          -> a batch waits, or a beacon covers and resolves
//!              -> deliver.rs release, open, write, sync, progress
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_envelope::Opener;
use bridge_event::Origin;
use bridge_kafka::{FetchError, Fetched, Fetcher, Properties, Reading};
use bridge_ledger::TileReader;
use bridge_trust::Trust;

use crate::assurance::Judge;
use crate::checkpoints::Checkpoints;
use crate::deliver::Line;
use crate::freshness::{Health, Stale, words};
use crate::keys::Keys;
use crate::lane::Lane;
use crate::merge::Merge;
use crate::metrics::Metrics;
use crate::on_record::OnRecord;
use crate::progress::{ProgressFile, StreamProgress};
use crate::quiet::Quiet;
use crate::records::Records;
use crate::settings::{Mode, Settings};
use crate::sink::Sink;
use crate::start::GONE;
use crate::{Clock, DeliverError, Found, Interrupted, Level, Point, Probe, RunError};

/// Findings that are kept to be told; what comes after them is counted only.
const FINDINGS_MAX: usize = 10_000;

/// How often the same trouble with the broker is told.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// After so long without a record it is asked whether there is one.
const STANDSTILL: Duration = Duration::from_secs(10);

/// How long a question about a topic may hold up the delivery, each second while Kafka says that there is none.
const LOOK: Duration = Duration::from_secs(1);

/// How long a search in a log's tiles may hold up the delivery, each second.
const SEARCH: Duration = Duration::from_millis(100);

/// Syncs of a file and its progress take one part in so many of the time at most, unless rows would be readable for longer
/// than this before they are synced.
const SYNCS_PART: u32 = 30;
const GROUP_MAX: Duration = Duration::from_millis(200);

/// How often a progress is written when only offsets moved.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Either a finding with its consequence, or the end of the subscriber.
#[derive(Debug)]
pub(crate) enum Trouble {
    Found(Box<Found>),
    Run(Box<RunError>),
}

impl From<Trouble> for RunError {
    fn from(trouble: Trouble) -> RunError {
        match trouble {
            Trouble::Run(error) => *error,
            Trouble::Found(found) => RunError::Halted(vec![*found]),
        }
    }
}

impl From<Found> for Trouble {
    fn from(found: Found) -> Trouble {
        Trouble::Found(Box::new(found))
    }
}

impl From<RunError> for Trouble {
    fn from(error: RunError) -> Trouble {
        Trouble::Run(Box::new(error))
    }
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Trouble {
        RunError::Fetch(error).into()
    }
}

impl From<DeliverError> for Trouble {
    fn from(error: DeliverError) -> Trouble {
        RunError::Deliver(error).into()
    }
}

impl From<Interrupted> for Trouble {
    fn from(error: Interrupted) -> Trouble {
        RunError::Interrupted(error).into()
    }
}

/// One source: the datasets that share a log.
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) judge: Judge,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) log: Option<TileReader>,
    /// Which key records and contracts stand in the log.
    pub(crate) on_record: OnRecord,
    /// Mode `source` only.
    pub(crate) merge: Option<Merge<Line>>,
    /// Lanes, in the order of the merge's streams.
    pub(crate) members: Vec<usize>,
}

/// What only a delivering subscriber has, and check mode has not.
pub(crate) struct Delivery {
    pub(crate) file: ProgressFile,
    pub(crate) subscription: String,
}

/// The flow's state.
pub(crate) struct Flow {
    pub(crate) settings: Settings,
    pub(crate) properties: Properties,
    /// The level at which batches are released.
    pub(crate) least: Level,
    pub(crate) trust: Arc<Trust>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Arc<Health>,
    pub(crate) records: Records,
    pub(crate) keys: Keys,
    pub(crate) opener: Opener,
    pub(crate) fetcher: Fetcher,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) sources: Vec<Source>,
    pub(crate) sink: Sink,
    pub(crate) delivery: Option<Delivery>,
    /// Progress of streams that are not subscribed to now; they may be again.
    pub(crate) carried: BTreeMap<String, StreamProgress>,
    pub(crate) findings: Vec<Found>,
    /// When the oldest row that is not synced was written.
    pub(crate) unsynced: Option<Instant>,
    pub(crate) stored: Instant,
    /// Whether the sink was given some rows of a batch and not all of them.
    pub(crate) half_taken: bool,
    /// How long the last sync took, with its progress.
    pub(crate) took: Duration,
    pub(crate) moved: bool,
    pub(crate) told_stale: Vec<Option<Stale>>,
    pub(crate) begun: Instant,
    pub(crate) first_finding: Option<Duration>,
    quiet: Quiet,
    paused: Vec<usize>,
    looked: Instant,
    told_fetch: Option<Instant>,
    /// Since when Kafka says that it knows no such topic.
    unknown: Option<Instant>,
}

/// The parts that a flow is made of.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) properties: Properties,
    pub(crate) least: Level,
    pub(crate) trust: Arc<Trust>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Arc<Health>,
    pub(crate) records: Records,
    pub(crate) keys: Keys,
    pub(crate) sink: Sink,
    pub(crate) delivery: Option<Delivery>,
}

impl Flow {
    /// A flow without streams; `start.rs` gives it its lanes.
    pub(crate) fn new(parts: Parts) -> Result<Flow, RunError> {
        let opener = Opener::new().map_err(|error| RunError::Process(error.to_string()))?;
        let fetcher = Fetcher::new(&parts.properties)?;
        let Parts {
            settings,
            properties,
            least,
            trust,
            clock,
            probe,
            metrics,
            health,
            records,
            keys,
            sink,
            delivery,
        } = parts;
        let now = Instant::now();
        Ok(Flow {
            settings,
            properties,
            least,
            trust,
            clock,
            probe,
            metrics,
            health,
            records,
            keys,
            opener,
            fetcher,
            lanes: Vec::new(),
            sources: Vec::new(),
            sink,
            delivery,
            carried: BTreeMap::new(),
            findings: Vec::new(),
            unsynced: None,
            stored: now,
            half_taken: false,
            took: Duration::ZERO,
            moved: false,
            told_stale: Vec::new(),
            begun: now,
            first_finding: None,
            quiet: Quiet::new(now),
            paused: Vec::new(),
            looked: now,
            told_fetch: None,
            unknown: None,
        })
    }

    pub(crate) fn reach(&self, point: Point) -> Result<(), Interrupted> {
        self.probe.reach(point)
    }

    /// Reads from where every lane stands now.
    pub(crate) fn assign(&mut self) -> Result<(), FetchError> {
        self.lanes.iter_mut().for_each(|lane| lane.fed = Instant::now());
        let paused = &self.paused;
        let readings = self.lanes.iter().enumerate().filter(|(i, lane)| !lane.halted && !paused.contains(i));
        let readings = readings.map(|(_, lane)| Reading {
            topic: Arc::clone(&lane.topic),
            partition: lane.expected.stream.partition,
            offset: lane.next,
        });
        let readings = readings.collect();
        self.fetcher.assign(readings)
    }

    /// Waits for one record, at most `timeout`, and takes it through the flow. Says whether there was one.
    ///
    /// # Errors
    /// [`RunError`]; what was delivered before is synced and stored, except after an interruption or a disk's failure.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<bool, RunError> {
        let timeout = match self.unsynced {
            // Rows wait to be synced with others: not longer than their group may take.
            Some(since) => {
                let left = self.group_wait().saturating_sub(since.elapsed());
                timeout.min(left).max(Duration::from_millis(1))
            }
            None => timeout,
        };
        let record = match self.fetcher.next(timeout) {
            Ok(record) => record,
            Err(error) if error.disposition() == bridge_kafka::Disposition::Retry => {
                if self.told_fetch.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                    self.told_fetch = Some(Instant::now());
                    tracing::warn!(%error, "fetch");
                }
                if matches!(error, FetchError::UnknownTopic { .. }) {
                    self.unknown.get_or_insert(Instant::now());
                }
                if matches!(error, FetchError::Failed { .. }) {
                    self.fetcher = Fetcher::new(&self.properties)?;
                    self.assign()?;
                }
                None
            }
            Err(error) => return self.end(error.into()),
        };
        let some = record.is_some();
        let outcome = record.map_or(Ok(()), |record| self.take(&record)).and_then(|()| self.settle(some));
        match outcome {
            Ok(()) => Ok(some),
            Err(trouble) => self.end(trouble.into()),
        }
    }

    /// Stores what was delivered before an error that is not the disk's own.
    fn end(&mut self, error: RunError) -> Result<bool, RunError> {
        self.health.halted(error.to_string());
        if !matches!(error, RunError::Interrupted(_) | RunError::Deliver(_)) {
            self.metrics.halted.set(1);
            // Rows of a batch that turned out wrong in its midst are no part of the progress: those of the group before them
            // are delivered again instead.
            if !self.half_taken {
                self.commit()?;
            }
        }
        Err(error)
    }

    fn take(&mut self, record: &Fetched) -> Result<(), Trouble> {
        let own =
            |lane: &Lane| *lane.topic == *record.topic && lane.expected.stream.partition == record.partition;
        let Some(index) = self.lanes.iter().position(own) else { return Ok(()) };
        self.metrics.fetched.inc();
        self.metrics.fetched_bytes.inc_by(u64::try_from(record.bytes.len()).unwrap_or(u64::MAX));
        self.reach(Point::AfterFetch)?;
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        if lane.halted {
            return Ok(());
        }
        let before = lane.place();
        lane.next = bridge_event::Offset(record.offset.0.saturating_add(1));
        lane.fed = Instant::now();
        self.moved = true;
        let stream = lane.expected.stream.clone();
        let outcome = self.verify(index, record).and_then(|()| self.drive(index));
        match outcome {
            Err(Trouble::Run(error)) => {
                // Half of the record may be done; the next start reads it again.
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.rewind(before);
                }
                Err(Trouble::Run(error))
            }
            Err(Trouble::Found(found)) => {
                let found = if found.place.is_empty() { found.at(&stream, record.offset) } else { *found };
                let halts = found.halts();
                let told = self.report(found);
                if halts && let Some(lane) = self.lanes.get_mut(index) {
                    // What halts is read again at the next start: the progress never goes past it.
                    lane.rewind(before);
                    lane.halted = true;
                }
                told
            }
            Ok(()) => Ok(()),
        }
    }

    /// Counts and tells a finding; one that halts comes back as an error, except in check mode.
    pub(crate) fn report(&mut self, found: Found) -> Result<(), Trouble> {
        self.metrics.findings.with_label_values(&[found.code]).inc();
        if self.first_finding.is_none() && found.consequence != crate::Consequence::Note {
            self.first_finding = Some(self.begun.elapsed());
        }
        match found.consequence {
            crate::Consequence::Note => tracing::info!("{found}"),
            crate::Consequence::Drop if self.quiet.allows(found.code) => tracing::warn!("{found}"),
            crate::Consequence::Drop => {}
            crate::Consequence::Halt => tracing::error!("{found}"),
        }
        let halts = found.halts();
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(found.clone());
        }
        if halts && self.delivery.is_some() { Err(found.into()) } else { Ok(()) }
    }

    /// After each record, and when there was none: memory, groups, progress, freshness.
    fn settle(&mut self, busy: bool) -> Result<(), Trouble> {
        self.bound_memory()?;
        self.sink.show()?;
        let full = self.sink.unsynced() >= self.settings.limits.group_bytes_max;
        let due = self.unsynced.is_some_and(|since| since.elapsed() >= self.group_wait());
        // Nobody sees a database's rows before; a file's stand there already.
        let idle = !busy && self.unsynced.is_some() && self.sink.holds_progress();
        let offsets = self.moved && self.stored.elapsed() >= PROGRESS_EVERY;
        if full || due || idle || offsets {
            self.commit()?;
        }
        if self.looked.elapsed() >= Duration::from_secs(1) {
            self.looked = Instant::now();
            for (code, more) in self.quiet.untold(self.looked) {
                tracing::warn!(code, more, "so many more findings of this code than have a line");
            }
            for found in self.records.look()? {
                self.report(found)?;
            }
            self.look_at_kafka()?;
            self.look_for_standstill()?;
            self.look_at_beacons()?;
            self.look_at_logs()?;
            self.look_for_records()?;
        }
        Ok(())
    }

    /// Whether a broker is there, and whether a topic that was said to be unknown is gone for good.
    fn look_at_kafka(&mut self) -> Result<(), Trouble> {
        let standing = self.fetcher.link().standing();
        self.metrics.brokers_up.set(i64::try_from(standing.brokers_up.unwrap_or(0)).unwrap_or(i64::MAX));
        self.health.away(standing.brokers_up == Some(0));
        if let Some(topic) = self.records.gone(GONE)? {
            return Err(RunError::TopicGone { topic: format!("the topic {topic}") }.into());
        }
        let Some(since) = self.unknown else { return Ok(()) };
        let mut unknown = None;
        for lane in self.lanes.iter().filter(|lane| !lane.halted) {
            let stream = &lane.expected.stream;
            match self.fetcher.bounds(&stream.topic(), stream.partition, LOOK) {
                Err(FetchError::UnknownTopic { .. }) => unknown = Some(stream.to_string()),
                Ok(bounds) if lane.next > bounds.high => {
                    let what = format!(
                        "the topic ends at offset {}, and was read up to {} before: its end was cut off, or it was made anew",
                        bounds.high, lane.next
                    );
                    return Err(Found::halt("CHA020", what).of_stream(stream).into());
                }
                _ => {}
            }
        }
        match unknown {
            None => {
                self.unknown = None;
                // What librdkafka has given up on account of the missing topic is taken up again.
                self.assign()?;
                Ok(())
            }
            Some(stream) if since.elapsed() > GONE => {
                Err(RunError::TopicGone { topic: format!("the topic of {stream}") }.into())
            }
            Some(_) => Ok(()),
        }
    }

    /// A reader that is given nothing of a stream although there is more is made anew, whatever it waits for: after leaders
    /// have moved and brokers have fallen, librdkafka may wait for ever for a leader that there is.
    fn look_for_standstill(&mut self) -> Result<(), Trouble> {
        if self.fetcher.link().standing().brokers_up == Some(0) {
            return Ok(());
        }
        let mut stands = false;
        for lane in self.lanes.iter_mut().filter(|lane| lane.fed.elapsed() >= STANDSTILL) {
            lane.fed = Instant::now();
            let partition = lane.expected.stream.partition;
            let own = |reading: &&Reading| *reading.topic == *lane.topic && reading.partition == partition;
            // None for one that has halted, or waits for others of its source.
            let Some(next) = self.fetcher.readings().iter().find(own).map(|reading| reading.offset) else {
                continue;
            };
            let bounds = self.fetcher.bounds(&lane.topic, partition, LOOK);
            stands |= bounds.is_ok_and(|bounds| next < bounds.high);
        }
        if stands {
            tracing::warn!("there is more, and nothing comes: the reader is made anew");
            self.fetcher = Fetcher::new(&self.properties).map_err(RunError::from)?;
            self.assign()?;
        }
        Ok(())
    }

    /// How long rows gather for one sync, or one transaction. What either costs is paid by everybody who writes to the disk:
    /// where it costs much, more are waited for.
    fn group_wait(&self) -> Duration {
        let set = Duration::from_millis(u64::from(self.settings.limits.group_ms));
        if self.sink.holds_progress() {
            set.max(self.sink.pace())
        } else if set.is_zero() {
            set
        } else {
            set.max(self.took.saturating_mul(SYNCS_PART).min(GROUP_MAX))
        }
    }

    /// Lets bodies go where too many bytes wait for their level, and stops reading ahead of a source's slowest stream.
    fn bound_memory(&mut self) -> Result<(), Trouble> {
        let limit = self.settings.limits.waiting_bytes_max;
        let waiting: usize = self.lanes.iter().map(Lane::waiting_bytes).sum();
        let merging: usize =
            self.sources.iter().filter_map(|source| source.merge.as_ref()).map(Merge::bytes).sum();
        self.metrics.waiting_bytes.set(i64::try_from(waiting.saturating_add(merging)).unwrap_or(i64::MAX));
        if waiting > limit
            && let Some(lane) = self.lanes.iter_mut().max_by_key(|lane| lane.waiting_bytes())
        {
            tracing::info!(stream = %lane.expected.stream, "batches that wait for their level are let go, to be fetched again");
            lane.drop_bodies();
        }
        if self.settings.mode == Mode::Stream || (merging <= limit && self.paused.is_empty()) {
            return Ok(());
        }
        let ahead = |lane: &Lane| {
            let merge = self.sources.get(lane.source).and_then(|source| source.merge.as_ref());
            merge.is_some_and(|merge| merge.is_ahead(lane.member))
        };
        // Half of the limit, so that reading does not stop and go with each record.
        let paused: Vec<usize> = match merging {
            merging if merging > limit => {
                (0..).zip(&self.lanes).filter(|(_, lane)| ahead(lane)).map(|(i, _)| i).collect()
            }
            merging if merging > limit / 2 => {
                self.paused.iter().copied().filter(|i| self.lanes.get(*i).is_some_and(&ahead)).collect()
            }
            _ => Vec::new(),
        };
        if paused != self.paused {
            self.paused = paused;
            self.assign()?;
        }
        Ok(())
    }

    /// Compares the newest checkpoints with their logs, as far as no beacon has caused it.
    fn look_at_logs(&mut self) -> Result<(), Trouble> {
        for index in 0..self.sources.len() {
            let compared = self.sources.get_mut(index).and_then(|source| {
                let log = source.log.as_ref()?;
                Some((source.origin.clone(), source.checkpoints.compare(log, false)))
            });
            match compared {
                Some((origin, Ok(Some(mut found)))) => {
                    found.place = origin.to_string();
                    self.report(found)?;
                }
                Some((_, Err(conflict))) => return Err(self.conflict(*conflict)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Goes on looking for entries of key records and contracts that were not near the batches that use them.
    fn look_for_records(&mut self) -> Result<(), Trouble> {
        let mut told = Vec::new();
        for source in &mut self.sources {
            let found = source.on_record.go_on(source.log.as_ref(), Instant::now() + SEARCH);
            told.extend(found.into_iter().map(|found| Found { place: source.origin.to_string(), ..found }));
        }
        told.into_iter().try_for_each(|found| self.report(found))
    }

    /// Tells once when a stream's beacons have become stale, and when they are fresh again.
    pub(crate) fn look_at_beacons(&mut self) -> Result<(), Trouble> {
        let now = self.clock.now();
        let bound = self.settings.freshness();
        let mut told = Vec::new();
        self.told_stale.resize(self.lanes.len(), None);
        for (lane, said) in self.lanes.iter().zip(&mut self.told_stale) {
            let stream = &lane.expected.stream;
            let Some(seen) = lane.seen else { continue };
            let age = self.metrics.proof_age.with_label_values(&[&stream.to_string()]);
            age.set(seen.age(now) / 1_000_000);
            let stale = seen.stale(now, bound, self.least);
            let kind = |stale: &Option<Stale>| stale.as_ref().map(std::mem::discriminant);
            if kind(&stale) != kind(said) {
                if let Some(stale) = stale {
                    told.push(of_stale(stale).of_stream(stream));
                }
                *said = stale;
            }
        }
        told.into_iter().try_for_each(|found| self.report(found))
    }
}

/// A stale beacon as a finding: nothing is refused, and nothing may be taken for complete.
pub(crate) fn of_stale(stale: Stale) -> Found {
    let code = match stale {
        Stale::NoBeacon | Stale::Overdue(_) => "VER081",
        Stale::Cosignatures(_) => "VER080",
    };
    Found::note(code, words(stale))
}
