//! Check mode: everything that the topics hold now is verified and opened, and nothing is delivered.

use std::time::{Duration, Instant};

use bridge_envelope::{BatchRef, Entry};
use bridge_event::{LogIndex, Offset, Sequence, StreamId};
use bridge_ledger::TileReader;
use bridge_suite::Digest;
use bridge_tlog::{Checkpoint, inclusion_proof, leaf_hash, verify_inclusion};
use serde::Serialize;

use crate::flow::{Flow, Source, Trouble, of_stale};
use crate::freshness::Stale;
use crate::progress::Started;
use crate::run::checking;
use crate::{Consequence, Found, Level, RunError, Subscriber};

/// How long one question to a broker may take.
const ASK: Duration = Duration::from_secs(10);

/// How long a record that the broker says it has may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Entries read from a log's end in search of the streams' heads; a mark names them all at least each minute.
const ENTRIES_MAX: u64 = 1 << 20;

/// Entries of one step of that search: one bundle.
const STEP: u64 = 256;

/// How long a search for records in a log's tiles may take: some million entries.
const SEARCH: Duration = Duration::from_secs(120);

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Everything that was found, in order.
    pub findings: Vec<Found>,
    /// The streams that were read.
    pub streams: Vec<StreamReport>,
    /// Records read from the streams.
    pub records: u64,
    /// Batches that verified and follow their chain.
    pub batches: u64,
    /// Rows that the department could open.
    pub rows: u64,
    /// How long the check took.
    pub elapsed_ms: u64,
    /// How long it took to the first finding that is more than a note.
    pub first_finding_ms: Option<u64>,
}

/// One stream, as far as it was read.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// The stream.
    pub stream: String,
    /// Where reading began.
    pub started: Started,
    /// The next offset.
    pub offset: i64,
    /// The sequence and digest of the last batch.
    pub head: Option<(u64, String)>,
    /// The level of the last batch.
    pub level: Option<Level>,
    /// The last sequence that a quorum of witnesses vouches for.
    pub witnessed: Option<u64>,
    /// Whether a finding ended the reading.
    pub halted: bool,
}

impl Report {
    /// Whether there is nothing but notes.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|found| found.consequence == Consequence::Note)
    }

    /// Whether a finding has this code.
    pub fn has(&self, code: &str) -> bool {
        self.findings.iter().any(|found| found.code == code)
    }
}

/// Reads every subscribed stream up to what the broker holds now. A stream ends at a finding that halts; the others go on.
/// Sink and progress are not touched.
///
/// # Errors
/// [`RunError`], when there is nothing to be checked: no broker, no contract, no place to begin.
pub fn check(subscriber: Subscriber) -> Result<Report, RunError> {
    let begun = Instant::now();
    let mut flow = checking(subscriber)?;
    flow.begun = begun;
    flow.read_all()?;
    flow.look_behind()?;
    Ok(flow.summary())
}

impl Flow {
    fn read_all(&mut self) -> Result<(), RunError> {
        let mut ends: Vec<Offset> = Vec::new();
        for lane in &self.lanes {
            ends.push(self.fetcher.bounds(&lane.topic, lane.expected.stream.partition, ASK)?.high);
        }
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let behind: Vec<usize> = (0..)
                .zip(self.lanes.iter().zip(&ends))
                .filter(|(_, (lane, end))| !lane.halted && lane.next < **end)
                .map(|(i, _)| i)
                .collect();
            if behind.is_empty() {
                return Ok(());
            }
            if self.turn(Duration::from_millis(100))? {
                deadline = Instant::now() + PATIENCE;
            } else if Instant::now() > deadline {
                for index in behind {
                    let Some(lane) = self.lanes.get(index) else { continue };
                    let found = Found::drop(
                        "VER083",
                        "the broker says that it has more records, and does not hand them out",
                    );
                    let found = found.at(&lane.expected.stream.clone(), lane.next);
                    let _ = self.report(found);
                }
                return Ok(());
            }
        }
    }

    /// What no record says: batches that are missing at the end, beacons that did not come.
    fn look_behind(&mut self) -> Result<(), Trouble> {
        let mut found = Vec::new();
        let wanted = self.settings.check().map_err(RunError::Settings)?;
        let (now, bound) = (self.clock.now(), self.settings.freshness());
        for lane in &self.lanes {
            let stream = &lane.expected.stream;
            let head = lane.head().map(|(sequence, _)| sequence);
            let stale = match lane.seen {
                None if head.is_some() => Some(Found::drop(
                    "VER081",
                    "the stream holds batches and no beacon: nothing says that these are all",
                )),
                None => Some(of_stale(Stale::NoBeacon)),
                Some(seen) => seen.stale(now, bound, wanted).map(of_stale),
            };
            found.extend(stale.map(|found| found.of_stream(stream)));
            let covered = lane.covered(wanted);
            if covered < head {
                let up_to =
                    |sequence: Option<Sequence>| sequence.map_or("none".to_owned(), |one| one.to_string());
                let what = format!(
                    "the last batch is {}, and {wanted} is reached up to {}",
                    up_to(head),
                    up_to(covered)
                );
                found.push(Found::note("VER085", what).of_stream(stream));
            }
        }
        for index in 0..self.sources.len() {
            found.extend(self.compare_with_log(index));
            found.extend(self.look_up_records(index));
        }
        found.into_iter().try_for_each(|found| self.report(found))
    }

    /// Looks for the entries of all records that proven batches use.
    fn look_up_records(&mut self, index: usize) -> Vec<Found> {
        let Some(source) = self.sources.get_mut(index) else { return Vec::new() };
        let log = source.log.as_ref();
        for lane in source.members.iter().filter_map(|index| self.lanes.get(*index)) {
            for used in lane.uses.values() {
                // What no beacon has proven yet may not be under a checkpoint yet either.
                let Some(before) = used.before else { continue };
                source.on_record.level(&used.record, before, Level::Logged, log);
            }
        }
        let deadline = Instant::now() + SEARCH;
        let mut found = Vec::new();
        while !source.on_record.is_done() && Instant::now() < deadline {
            found.extend(source.on_record.go_on(log, deadline));
        }
        let unknown = source.on_record.unknown();
        if !unknown.is_empty() {
            let what = format!("the log could not be asked for the entries of {}", unknown.join(", "));
            found.push(Found::drop("VER075", what));
        }
        found.into_iter().map(|found| Found { place: source.origin.to_string(), ..found }).collect()
    }

    fn compare_with_log(&mut self, index: usize) -> Vec<Found> {
        let Some(source) = self.sources.get_mut(index) else { return Vec::new() };
        let Some(log) = source.log.clone() else { return Vec::new() };
        let wanted: Vec<StreamId> = source
            .members
            .iter()
            .filter_map(|index| self.lanes.get(*index))
            .map(|lane| lane.expected.stream.clone())
            .collect();
        let (heads, mut found) = match newest_heads(source, &log, &wanted) {
            Ok(heads) => heads,
            Err(found) => return vec![Found { place: source.origin.to_string(), ..found }],
        };
        for (stream, head) in heads {
            let Some(lane) = self.lanes.iter().find(|lane| lane.expected.stream == stream) else { continue };
            let own = lane.head();
            if own.is_none_or(|(sequence, _)| sequence < head.sequence) {
                let own =
                    own.map_or("nothing".to_owned(), |(sequence, _)| format!("batches up to {sequence}"));
                let what = format!(
                    "the log holds batches up to {}, and the topic {own}: the end of the topic is missing",
                    head.sequence
                );
                found.push(Found::halt("VER084", what).of_stream(&stream));
            } else if lane.accepted(head.sequence).is_some_and(|digest| digest != head.digest) {
                let what = format!(
                    "the log holds batch {} at sequence {}, and the topic another one",
                    head.digest, head.sequence
                );
                found.push(Found::halt("VER072", what).of_stream(&stream));
            }
        }
        found
    }

    fn summary(self) -> Report {
        let streams = self.lanes.iter().map(|lane| StreamReport {
            stream: lane.expected.stream.to_string(),
            started: lane.started.clone(),
            offset: lane.next.0,
            head: lane.head().map(|(sequence, digest)| (sequence.0, digest.to_string())),
            level: self.reached(lane),
            witnessed: lane.covered(Level::Witnessed).map(|sequence| sequence.0),
            halted: lane.halted,
        });
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Report {
            streams: streams.collect(),
            records: self.metrics.fetched.get(),
            batches: self.metrics.verified.get(),
            rows: self.metrics.rows.get(),
            elapsed_ms: millis(self.begun.elapsed()),
            first_finding_ms: self.first_finding.map(millis),
            findings: self.findings,
        }
    }
}

type Heads = Vec<(StreamId, BatchRef)>;

/// The newest head of each stream that the log's newest checkpoint proves. The checkpoint is compared with those that the
/// beacons carried.
fn newest_heads(
    source: &mut Source,
    log: &TileReader,
    wanted: &[StreamId],
) -> Result<(Heads, Vec<Found>), Found> {
    // Without the log a cut tail looks like the end, so a check that could not ask it is not clean.
    let unread =
        |what: &dyn std::fmt::Display| Found::drop("VER075", format!("the log could not be read: {what}"));
    let note = log.checkpoint().map_err(|error| unread(&error))?;
    // A checkpoint that proves nothing is a note in a stream, whose batches stay at their level. Here it is what was asked
    // for: with it missing, nothing says where the topic ends.
    let unproven = |what: String| Found::drop("VER070", what);
    let Some(key) = source.judge.log.clone() else {
        return Err(unproven(format!("the trust file does not name the log {}", source.origin)));
    };
    let signed = source.judge.checkpoint(&note.format(), &key).map_err(|found| unproven(found.what))?;
    // What the log signed is compared with what the beacons carried before anything is read under it.
    if let Err(conflict) = source.checkpoints.observe(&signed) {
        return Ok((Vec::new(), vec![conflict.found]));
    }
    let checkpoint = &signed.checkpoint;
    let mut found = Vec::new();
    let mut heads = Heads::new();
    let (mut end, least) = (checkpoint.size, checkpoint.size.saturating_sub(ENTRIES_MAX));
    while end > least && heads.len() < wanted.len() {
        let start = least.max((end - 1) / STEP * STEP);
        let entries =
            log.entries(LogIndex(start)..LogIndex(end), checkpoint.size).map_err(|error| unread(&error))?;
        for (index, bytes) in (start..end).rev().zip(entries.iter().rev()) {
            for (stream, head) in heads_in(bytes, wanted) {
                if heads.iter().all(|(known, _)| *known != stream) {
                    included(log, checkpoint, index, bytes)?;
                    heads.push((stream, head));
                }
            }
        }
        end = start;
    }
    match source.checkpoints.compare(log, true) {
        Ok(told) => found.extend(told),
        Err(conflict) => found.push(conflict.found),
    }
    Ok((heads, found))
}

/// The entry must stand under the root that the log signed; what does not is the log's own contradiction.
fn included(log: &TileReader, checkpoint: &Checkpoint, index: u64, entry: &[u8]) -> Result<(), Found> {
    let hashes = log.hashes(checkpoint.size);
    let path: Vec<Digest> = inclusion_proof(index, checkpoint.size, &hashes)
        .map_err(|error| Found::drop("VER075", format!("the log could not be read: {error}")))?;
    let included = verify_inclusion(&leaf_hash(entry), index, checkpoint.size, &checkpoint.root, &path);
    included.map_err(|error| {
        Found::halt(
            "VER071",
            format!("entry {index} of the log is not under the root that the log signed: {error}"),
        )
    })
}

/// The heads that an entry names, of the streams that are asked for.
fn heads_in(entry: &[u8], wanted: &[StreamId]) -> Vec<(StreamId, BatchRef)> {
    match Entry::decode(entry) {
        Ok(Entry::Batch(batch)) if wanted.contains(&batch.stream) => {
            vec![(batch.stream, BatchRef { sequence: batch.sequence, digest: batch.digest })]
        }
        Ok(Entry::Mark(mark)) => {
            let of = |wanted: &StreamId| {
                let own = mark
                    .streams
                    .iter()
                    .find(|own| own.dataset == wanted.dataset && own.partition == wanted.partition)?;
                Some((wanted.clone(), own.head?))
            };
            wanted.iter().filter_map(of).collect()
        }
        _ => Vec::new(),
    }
}
