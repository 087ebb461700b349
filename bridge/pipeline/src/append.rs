//! Append and acknowledge: published batches get their entry in the log, group by group, and the source may forget.
//!
//! ```text
//!   Streams::take_published -> entries -> Log::append (one fsync) -> Streams::appended -> Cuts -> source
//!                                                          `-> Lamp -> beacon
//! ```

use crate::beacon::{self, InLog, Lamp};
use crate::life::{End, Life};
use crate::outside::Point;
use crate::streams::Published;
use bridge_envelope::{BatchEntry, BatchRef, Entry, MarkEntry, StreamMark};
use bridge_event::{At, LogIndex, UnixMicros};
use bridge_ledger::Acknowledged;
use std::time::{Duration, Instant};

/// How long the thread sleeps at most when nobody wakes it. Beacons and marks are due by the wall clock, which may be set.
const REST_MAX: Duration = Duration::from_millis(500);
/// Batches are gathered for so long and share an fsync: who waits for the log waits for the next checkpoint over it.
const GATHER: Duration = Duration::from_millis(20);
/// What the source may forget is written to the disk at most this often.
const KEEP_EVERY: Duration = Duration::from_millis(200);

/// A batch that stands in the log, fsynced: what acknowledge takes. Only [`append`] makes it.
#[derive(Debug)]
pub(crate) struct Appended {
    batch: Published,
}

/// The appending thread's own state.
#[derive(Debug)]
pub(crate) struct Appending<'a> {
    life: &'a Life<'a>,
    lamps: Vec<Lamp>,
    /// The log index of each stream's newest entry.
    newest: Vec<Option<LogIndex>>,
    marked: UnixMicros,
    /// What the source may forget, and is not told before the log has it.
    due: Option<At>,
    /// When the log had it last.
    kept: Option<Instant>,
    /// When batches were last gathered.
    appended: Instant,
}

impl<'a> Appending<'a> {
    /// After a start: `in_log` is each stream's newest batch in the log.
    pub(crate) fn new(life: &'a Life<'a>, in_log: Vec<Option<InLog>>) -> Appending<'a> {
        let newest = in_log.iter().map(|batch| batch.as_ref().map(|b| b.index)).collect();
        let lamps = in_log
            .into_iter()
            .map(|batch| {
                let mut lamp = Lamp::default();
                if let Some(batch) = batch {
                    lamp.appended(batch, 0);
                }
                lamp
            })
            .collect();
        Appending { life, lamps, newest, marked: life.now(), due: None, kept: None, appended: Instant::now() }
    }

    /// A beacon is the first frame of every stream after its adoption.
    pub(crate) fn first_words(&mut self) -> Result<(), End> {
        self.life.keep_places();
        self.beacons(self.life.now(), true)
    }

    /// Runs until the capturing thread has ended and every batch is in the log, then leaves a last mark and beacons.
    pub(crate) fn run(&mut self) -> Result<(), End> {
        loop {
            self.life.sleep_until_woken(self.rest());
            if !self.life.is_stopping() {
                std::thread::sleep(GATHER.saturating_sub(self.appended.elapsed()));
            }
            self.appended = Instant::now();
            self.life.go_on()?;
            self.append()?;
            self.keep_acknowledged(KEEP_EVERY)?;
            let now = self.life.now();
            self.mark_when_due(now)?;
            self.beacons(now, false)?;
            let (ended, outstanding) = self.life.streams(|s| (s.capture_ended, s.outstanding()));
            if ended {
                let until = self.life.drain_until();
                if outstanding == 0 || Instant::now() >= until {
                    return self.last_words();
                }
            }
        }
    }

    /// How long nothing is due: no beacon, no mark, not the end of a drain.
    fn rest(&self) -> Duration {
        let (now, intervals) = (self.life.now(), self.life.intervals());
        let left = |since: UnixMicros, every_ms: u64| {
            let due = i64::try_from(every_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
            let left = since.0.saturating_add(due).saturating_sub(now.0);
            Duration::from_micros(u64::try_from(left).unwrap_or(0))
        };
        let lamps = self
            .lamps
            .iter()
            .map(|lamp| lamp.sent().map_or(Duration::ZERO, |sent| left(sent, intervals.idle_ms)));
        let due = lamps.fold(left(self.marked, intervals.mark_ms), Duration::min).min(REST_MAX);
        let due = if self.due.is_some() { due.min(KEEP_EVERY) } else { due };
        if self.life.is_stopping() {
            due.min(self.life.drain_until().saturating_duration_since(Instant::now()))
        } else {
            due
        }
    }

    fn append(&mut self) -> Result<(), End> {
        let published = self.life.streams(|streams| streams.take_published());
        if published.is_empty() {
            return self.acknowledge(&[]);
        }
        self.life.at(Point::BeforeAppend);
        let newest = &mut self.newest;
        let (entries, indexes) = self.life.append_with(|first| {
            let mut entries = Vec::with_capacity(published.len());
            for (batch, index) in published.iter().zip(first..) {
                let previous = newest.get(batch.stream()).copied().flatten();
                entries.push(Entry::Batch(BatchEntry::of(batch.header(), batch.digest(), previous)));
                if let Some(newest) = newest.get_mut(batch.stream()) {
                    *newest = Some(LogIndex(index));
                }
            }
            entries
        })?;
        self.life.at(Point::AfterAppend);
        let appended: Vec<Appended> = published.into_iter().map(|batch| Appended { batch }).collect();
        for ((batch, entry), index) in appended.iter().zip(entries).zip(indexes.start.0..) {
            let Appended { batch } = batch;
            if let Some(lamp) = self.lamps.get_mut(batch.stream()) {
                let sequence = batch.header().sequence;
                lamp.appended(InLog { index: LogIndex(index), sequence, entry }, batch.bytes());
            }
            self.life.metrics().appended(batch.stream(), batch.header().sequence, self.life.now());
        }
        self.acknowledge(&appended)
    }

    /// Tells the rules what is in the log, and the capturing thread how far the source may forget.
    fn acknowledge(&mut self, appended: &[Appended]) -> Result<(), End> {
        let through = self.life.streams(|streams| {
            for Appended { batch } in appended {
                streams.appended(batch)?;
            }
            Ok(streams.cuts.acknowledge())
        });
        let through = through.map_err(|e: bridge_chain::outgoing::OutgoingError| End::defect(e))?;
        self.due = through.or(self.due);
        if !appended.is_empty() {
            self.life.keep_places();
        }
        Ok(())
    }

    /// The source is told after the log has it, or a source that somebody else moved could not be told from one that we did.
    fn keep_acknowledged(&mut self, every: Duration) -> Result<(), End> {
        if self.kept.is_some_and(|kept| kept.elapsed() < every) {
            return Ok(());
        }
        if let Some(through) = self.due.take() {
            self.kept = Some(Instant::now());
            let incarnation = self.life.incarnation();
            let kept = self.life.log(|log| log.keep_acknowledged(Acknowledged { incarnation, through }));
            kept.map_err(End::from_log)?;
            self.life.may_acknowledge(through);
        }
        Ok(())
    }

    fn mark_when_due(&mut self, now: UnixMicros) -> Result<(), End> {
        let every = i64::try_from(self.life.intervals().mark_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        if now.0.saturating_sub(self.marked.0) >= every { self.mark(now) } else { Ok(()) }
    }

    fn mark(&mut self, now: UnixMicros) -> Result<(), End> {
        self.marked = now;
        let mut streams = Vec::new();
        for (index, said) in self
            .life
            .streams(|streams| {
                let captured = streams.captured_to();
                streams.sending.iter().map(|s| s.outgoing.said(captured)).collect::<Vec<_>>()
            })
            .into_iter()
            .enumerate()
        {
            let plan = self.life.plan(index)?;
            streams.push(StreamMark {
                dataset: plan.stream.dataset.clone(),
                partition: plan.stream.partition,
                head: said.place.state.head.map(|(sequence, digest)| BatchRef { sequence, digest }),
                resolved: said.resolved,
            });
        }
        self.life.append(&[Entry::Mark(MarkEntry { time: now, streams })])?;
        Ok(())
    }

    fn beacons(&mut self, now: UnixMicros, every: bool) -> Result<(), End> {
        let checkpoint = self.life.checkpoint();
        for (stream, lamp) in self.lamps.iter_mut().enumerate() {
            if every || lamp.owes(checkpoint.as_ref(), now, self.life.intervals().idle_ms) {
                beacon::send(self.life, stream, lamp, checkpoint.as_ref(), now)?;
            }
        }
        Ok(())
    }

    /// A clean stop: a mark, a last checkpoint over it, and a last beacon in every stream.
    fn last_words(&mut self) -> Result<(), End> {
        self.keep_acknowledged(Duration::ZERO)?;
        let now = self.life.now();
        self.mark(now)?;
        let left = self.life.drain_until().saturating_duration_since(Instant::now());
        self.life.want_last_checkpoint(left);
        self.beacons(self.life.now(), true)
    }
}
