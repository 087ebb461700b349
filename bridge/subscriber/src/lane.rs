//! One stream on its way: its chain, the batches that wait for their level, and how far it was delivered.
//!
//! ```text
//!  done            released                 accepted = the machine's head        next
//!   | batches in the |  batches that wait for  |  dropped bodies, when memory      |
//!   | merge          |  their level            |  ran out: digests only            |
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bridge_chain::{Machine, Place, State};
use bridge_envelope::{Expected, Header, Pieces, Verified};
use bridge_event::{At, Epoch, IncarnationNumber, Offset, Sequence, UnixMicros};
use bridge_suite::{Digest, KeyId};
use bridge_trust::Validity;

use crate::freshness::Seen;
use crate::merge::Resolved;
use crate::on_record::Record;
use crate::progress::{Started, StreamProgress, Unfinished};
use crate::promise::Promise;
use crate::{Found, Level};

/// Digests remembered of batches whose bodies were dropped: a million of 40 bytes, 40 MB. Beyond it they are read again
/// in more than one go.
const REMEMBERED_MAX: usize = 1_000_000;

/// A batch that follows its chain.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) batch: Verified,
    pub(crate) promise: Arc<Promise>,
    /// The record's own offset.
    pub(crate) offset: Offset,
    /// The place right after it.
    pub(crate) after: Place,
    /// The clock of its own connector in a beacon before it.
    pub(crate) clock: Option<UnixMicros>,
}

#[derive(Debug)]
enum Waiting {
    Batch(Box<Accepted>),
    /// A beacon's resolved position counts once everything before it is released.
    Resolved(Resolved),
}

/// What is released to be opened and delivered.
#[derive(Debug)]
pub(crate) enum Released {
    Batch(Box<Accepted>, Level),
    Resolved(Resolved),
}

/// Batches signed by the same keys, up to a sequence.
#[derive(Debug)]
struct SignerRun {
    keys: Vec<KeyId>,
    last: Sequence,
}

/// The first batch of a stream that uses a record.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) record: Record,
    pub(crate) sequence: Sequence,
    /// The log index that the batch has at most, once it is proven.
    pub(crate) before: Option<u64>,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) expected: Expected,
    pub(crate) topic: Arc<str>,
    /// The index of its source.
    pub(crate) source: usize,
    /// The index among the source's streams.
    pub(crate) member: usize,
    pub(crate) machine: Machine,
    pub(crate) next: Offset,
    pub(crate) started: Started,
    pub(crate) seen: Option<Seen>,
    pub(crate) unfinished: Option<Unfinished>,
    /// The newest clock of a beacon on the way to [`Lane::next`], and that beacon's epoch.
    clock: Option<(Epoch, UnixMicros)>,
    /// Nothing more is read: only check mode goes on beside a stream that halted.
    pub(crate) halted: bool,
    /// When a record came last, or it was asked last whether there is one.
    pub(crate) fed: Instant,
    /// Check mode: the records that batches use.
    pub(crate) uses: BTreeMap<Digest, Use>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Covered up to here, at least at the level.
    logged: Option<Sequence>,
    witnessed: Option<Sequence>,
    /// The place after the last released batch: where reading begins again when bodies were dropped.
    released: Place,
    /// Batches released and not yet out of the merge.
    undelivered: VecDeque<(Place, Option<Resolved>)>,
    /// What was released of a row whose last fragment was not, and how many of the undelivered batches that is.
    pub(crate) pieces: Option<Pieces>,
    held: usize,
    /// How well the records of those are known.
    held_level: Option<Level>,
    done: Place,
    /// How far what was released says that the stream is complete, and what was said up to `done`.
    resolved: Option<Resolved>,
    resolved_done: Option<Resolved>,
    /// Digests of accepted batches whose bodies were dropped.
    dropped: Option<VecDeque<(Sequence, Digest)>>,
    /// Digests that the batches read again must have.
    attested: VecDeque<(Sequence, Digest)>,
    signers: VecDeque<SignerRun>,
    /// Proven entries with their log index: the newest, and those that a restart from `done` needs.
    proven: VecDeque<(Sequence, u64)>,
    /// The log index proven before the progress that this lane began from.
    proven_before: Option<u64>,
    /// The largest log that a beacon has proven on the way to [`Lane::next`]: whatever the stream holds after that beacon
    /// stands in the log behind it.
    log_size: u64,
}

impl Lane {
    pub(crate) fn new(
        expected: Expected,
        source: usize,
        member: usize,
        place: Place,
        started: Started,
    ) -> Lane {
        let genesis = Header::genesis(&expected.stream, &expected.origin);
        Lane {
            topic: expected.stream.topic().into(),
            machine: Machine::from_state(genesis, place.state),
            next: place.offset,
            expected,
            source,
            member,
            started,
            seen: None,
            unfinished: None,
            clock: None,
            halted: false,
            fed: Instant::now(),
            uses: BTreeMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            logged: None,
            witnessed: None,
            released: place,
            undelivered: VecDeque::new(),
            pieces: None,
            held: 0,
            held_level: None,
            done: place,
            resolved: None,
            resolved_done: None,
            dropped: None,
            attested: VecDeque::new(),
            signers: VecDeque::new(),
            proven: VecDeque::new(),
            proven_before: None,
            log_size: 0,
        }
    }

    /// A beacon proved a log of this size, and everything after the beacon is appended later.
    pub(crate) fn log_reaches(&mut self, size: u64) {
        self.log_size = self.log_size.max(size);
    }

    /// A beacon of this epoch says what time it is.
    pub(crate) fn clock_is(&mut self, epoch: Epoch, clock: UnixMicros) {
        self.clock = self.clock.max(Some((epoch, clock)));
    }

    /// What the clock was at the latest when a connector of this epoch sent what comes now.
    pub(crate) fn clock(&self, epoch: Epoch) -> Option<UnixMicros> {
        self.clock.filter(|(known, _)| *known == epoch).map(|(_, clock)| clock)
    }

    /// Whether the log had gone on past a key's end before the record that is read now was written.
    pub(crate) fn is_over(&self, valid: Validity) -> bool {
        valid.until.is_some_and(|until| until.0 < self.log_size)
    }

    /// The place right after the last record that was read.
    pub(crate) fn place(&self) -> Place {
        Place { offset: self.next, state: *self.machine.state() }
    }

    pub(crate) fn head(&self) -> Option<(Sequence, Digest)> {
        self.machine.state().head
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The level of everything up to a sequence.
    pub(crate) fn level(&self, sequence: Sequence) -> Level {
        if self.witnessed.is_some_and(|covered| sequence <= covered) {
            Level::Witnessed
        } else if self.logged.is_some_and(|covered| sequence <= covered) {
            Level::Logged
        } else {
            Level::Signed
        }
    }

    /// The highest sequence that has the level.
    pub(crate) fn covered(&self, level: Level) -> Option<Sequence> {
        match level {
            Level::Signed => self.head().map(|(sequence, _)| sequence),
            Level::Logged => self.logged.max(self.witnessed),
            Level::Witnessed => self.witnessed,
        }
    }

    /// Takes a batch that the machine accepted.
    ///
    /// # Errors
    /// It was read before, and was another one then.
    pub(crate) fn accept(&mut self, accepted: Accepted) -> Result<(), Found> {
        let (sequence, digest) = (accepted.batch.header().sequence, accepted.batch.digest());
        while let Some((known, before)) = self.attested.front() {
            if *known > sequence {
                break;
            }
            if *known == sequence && *before != digest {
                let what =
                    format!("sequence {sequence} was {before} when it was first read, and is {digest} now");
                return Err(Found::halt("CHA002", what));
            }
            self.attested.pop_front();
        }
        // What is covered already was judged when it was covered.
        if self.covered(Level::Logged).is_none_or(|covered| sequence > covered) {
            let keys = accepted.batch.signers();
            match self.signers.back_mut() {
                Some(run) if run.keys == keys => run.last = sequence,
                _ => self.signers.push_back(SignerRun { keys: keys.to_vec(), last: sequence }),
            }
        }
        match &mut self.dropped {
            Some(dropped) if dropped.len() < REMEMBERED_MAX => dropped.push_back((sequence, digest)),
            Some(_) => {}
            None => {
                self.waiting_bytes = self.waiting_bytes.saturating_add(accepted.batch.frame().len());
                self.waiting.push_back(Waiting::Batch(Box::new(accepted)));
            }
        }
        Ok(())
    }

    /// How far what was released says that the stream is complete.
    pub(crate) fn resolved(&self) -> Option<Resolved> {
        self.resolved
    }

    /// Takes a beacon's resolved position.
    pub(crate) fn resolve(&mut self, resolved: Resolved) {
        if self.dropped.is_none() {
            match self.waiting.back_mut() {
                Some(Waiting::Resolved(last)) => *last = resolved.max(*last),
                _ => self.waiting.push_back(Waiting::Resolved(resolved)),
            }
        }
    }

    /// The digest accepted at a sequence, as long as anything here knows it.
    pub(crate) fn accepted(&self, sequence: Sequence) -> Option<Digest> {
        let of = |list: &VecDeque<(Sequence, Digest)>| {
            let at = list.binary_search_by_key(&sequence, |(known, _)| *known).ok()?;
            list.get(at).map(|(_, digest)| *digest)
        };
        let waiting = || {
            let batch = |item: &Waiting| match item {
                Waiting::Batch(accepted) if accepted.batch.header().sequence == sequence => {
                    Some(accepted.batch.digest())
                }
                _ => None,
            };
            self.waiting.iter().find_map(batch)
        };
        self.machine.accepted(sequence).or_else(|| self.dropped.as_ref().and_then(of)).or_else(waiting)
    }

    /// The batch that waits at a sequence.
    pub(crate) fn waiting(&self, sequence: Sequence) -> Option<&Verified> {
        self.waiting.iter().rev().find_map(|item| match item {
            Waiting::Batch(accepted) if accepted.batch.header().sequence == sequence => Some(&accepted.batch),
            _ => None,
        })
    }

    /// The keys that signed batches up to `sequence` since the last call; whether the last of each run is `sequence`
    /// itself says whether its index is known exactly.
    pub(crate) fn take_signers(&mut self, sequence: Sequence) -> Vec<(Vec<KeyId>, Sequence)> {
        let mut runs = Vec::new();
        while let Some(run) = self.signers.front_mut() {
            if run.last > sequence {
                runs.push((run.keys.clone(), sequence));
                break;
            }
            runs.push((std::mem::take(&mut run.keys), run.last));
            self.signers.pop_front();
        }
        runs
    }

    /// The log index of the newest proven entry.
    pub(crate) fn proven(&self) -> Option<u64> {
        self.proven.back().map(|(_, index)| *index).or(self.proven_before)
    }

    /// The log index of the first proven entry at or after a sequence: the sequence's own, or a later one.
    pub(crate) fn proven_at(&self, sequence: Sequence) -> Option<u64> {
        self.proven.iter().find(|(proven, _)| *proven >= sequence).map(|(_, index)| *index)
    }

    /// An entry was proven at this log index.
    pub(crate) fn prove(&mut self, sequence: Sequence, index: u64) {
        if self.proven.back().is_none_or(|(last, _)| sequence > *last) {
            self.proven.push_back((sequence, index));
        }
        for used in self.uses.values_mut().filter(|used| used.sequence <= sequence) {
            used.before.get_or_insert(index);
        }
        // Only the last one at or before `done` is needed for a restart.
        let done = self.done.state.head.map(|(sequence, _)| sequence);
        while self.proven.get(1).is_some_and(|(next, _)| Some(*next) <= done) {
            self.proven.pop_front();
        }
    }

    /// Everything up to `sequence` has the level. True when the stream has to be read again, from [`Lane::next`].
    pub(crate) fn cover(&mut self, sequence: Sequence, level: Level, least: Level) -> bool {
        let mut sequence = sequence;
        if let Some(dropped) = &mut self.dropped {
            // Only what is remembered can be read again safely; the rest follows in another go.
            let Some((last, _)) = dropped.back() else { return false };
            sequence = sequence.min(*last);
        }
        let place = match level {
            Level::Signed => return false,
            Level::Logged => &mut self.logged,
            Level::Witnessed => &mut self.witnessed,
        };
        *place = (*place).max(Some(sequence));
        if level < least {
            return false;
        }
        match self.dropped.take() {
            None => false,
            Some(mut dropped) => {
                dropped.retain(|(known, _)| *known <= sequence);
                self.attested = dropped;
                self.read_again();
                true
            }
        }
    }

    /// Back to before a record that halted: the next start meets it again.
    pub(crate) fn rewind(&mut self, before: Place) {
        self.machine = Machine::from_state(self.machine.genesis(), before.state);
        self.next = before.offset;
        // What was proven further on says nothing of records before it; the beacons on the way say it again.
        (self.log_size, self.clock) = (0, None);
    }

    fn read_again(&mut self) {
        self.rewind(self.released);
        self.signers.clear();
    }

    /// Lets the bodies of all waiting batches go, and remembers their digests.
    pub(crate) fn drop_bodies(&mut self) {
        let digests = self.waiting.drain(..).filter_map(|item| match item {
            Waiting::Batch(accepted) => Some((accepted.batch.header().sequence, accepted.batch.digest())),
            Waiting::Resolved(_) => None,
        });
        self.dropped = Some(digests.collect());
        self.waiting_bytes = 0;
    }

    /// The next thing that has the least level.
    pub(crate) fn release(&mut self, least: Level) -> Option<Released> {
        if let Some(Waiting::Batch(accepted)) = self.waiting.front()
            && self.level(accepted.batch.header().sequence) < least
        {
            return None;
        }
        match self.waiting.pop_front()? {
            Waiting::Resolved(resolved) => {
                self.resolved = self.resolved.max(Some(resolved));
                Some(Released::Resolved(resolved))
            }
            Waiting::Batch(accepted) => {
                let header = accepted.batch.header();
                let resolved = Resolved { incarnation: header.incarnation, at: header.resolved };
                self.resolved = self.resolved.max(Some(resolved));
                self.waiting_bytes = self.waiting_bytes.saturating_sub(accepted.batch.frame().len());
                self.released = accepted.after;
                self.undelivered.push_back((accepted.after, self.resolved));
                let level = self.level(accepted.batch.header().sequence);
                Some(Released::Batch(accepted, level))
            }
        }
    }

    /// The newest released batch is a fragment of a row that goes on: it is delivered with the row's last one, so that a
    /// restart begins before the row's first.
    pub(crate) fn hold(&mut self, records: Level) {
        self.held = self.held.saturating_add(1);
        self.held_level = Some(self.held_with(records));
    }

    /// How well the records of the newest released batch, and of the fragments held back for it, are known.
    pub(crate) fn held_with(&self, records: Level) -> Level {
        self.held_level.map_or(records, |held| held.min(records))
    }

    /// How many batches are delivered with the newest released one: itself, and the fragments that were held back for it.
    pub(crate) fn unhold(&mut self) -> usize {
        self.held_level = None;
        std::mem::take(&mut self.held).saturating_add(1)
    }

    /// The oldest released batch is delivered whole.
    pub(crate) fn delivered(&mut self) {
        if let Some((after, resolved)) = self.undelivered.pop_front() {
            (self.done, self.resolved_done) = (after, resolved);
        }
    }

    /// Where to begin after a restart: before the first record that is not wholly delivered; and how far the stream was
    /// said to be complete there.
    fn done_and_resolved(&self) -> (Place, Option<Resolved>) {
        let nothing_waits = self.waiting.iter().all(|item| matches!(item, Waiting::Resolved(_)));
        let place = self.place();
        // A record that failed half-way is read again, and never what was delivered before it failed.
        let forward = place.offset >= self.done.offset;
        if nothing_waits && forward && self.undelivered.is_empty() && self.dropped.is_none() {
            // Read again from before a beacon whose resolved position still waits would do no harm, and not reading it
            // again does none either: the next beacon repeats it.
            (place, self.resolved)
        } else {
            (self.done, self.resolved_done)
        }
    }

    pub(crate) fn progress(&self) -> StreamProgress {
        let (done, resolved) = self.done_and_resolved();
        let mut progress = StreamProgress::new(self.expected.origin.as_str(), &done, self.started.clone());
        progress.resolved =
            resolved.map(|Resolved { incarnation, at }| (incarnation.0, at.commit, at.ordinal));
        let head = progress.place().and_then(|place| place.state.head).map(|(sequence, _)| sequence);
        let before = self.proven.iter().rev().find(|(sequence, _)| Some(*sequence) <= head);
        progress.proven = before.map(|(_, index)| *index).or(self.proven_before);
        progress.unfinished = self.unfinished;
        progress
    }

    /// Goes on from a stored progress.
    pub(crate) fn restore(&mut self, progress: &StreamProgress) {
        self.proven_before = progress.proven;
        self.resolved = progress.resolved.map(|(incarnation, commit, ordinal)| Resolved {
            incarnation: IncarnationNumber(incarnation),
            at: At { commit, ordinal },
        });
        self.resolved_done = self.resolved;
        self.log_size = progress.proven.map_or(0, |index| index.saturating_add(1));
        self.unfinished = progress.unfinished;
    }

    /// The state before anything.
    pub(crate) fn beginning() -> Place {
        Place { offset: Offset(0), state: State::START }
    }
}
