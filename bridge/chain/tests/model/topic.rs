//! A partition, and what its readers made of it. Readers change nothing and a partition only grows, so every reader
//! is checked when a record is added, whatever record it reads at that time.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use bridge_chain::{Facts, Input, Machine, Mark, Place, SnapshotPlace, State, Step};
use bridge_event::{Epoch, Generation, Sequence};
use bridge_suite::Digest;

use crate::flow::Flow;
use crate::script::Script;

/// A value whose hash is computed once.
#[derive(Debug)]
pub(crate) struct Once<T>(Rc<(u64, T)>);

impl<T: Hash> Once<T> {
    pub(crate) fn new(value: T) -> Once<T> {
        Once(Rc::new((fingerprint(&value), value)))
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Once(self.0.clone())
    }
}

impl<T> std::ops::Deref for Once<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> Hash for Once<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.0);
    }
}

pub(crate) fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A record of a partition.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Frame {
    Fence { epoch: Epoch },
    Batch { facts: Facts, rows: Vec<Mark>, resolved: u64 },
    Beacon { epoch: Epoch, head: Option<(Sequence, Digest)>, place: Place, resolved: u64 },
}

impl Frame {
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Frame::Fence { epoch } | Frame::Beacon { epoch, .. } => *epoch,
            Frame::Batch { facts, .. } => facts.epoch,
        }
    }

    pub(crate) fn input(&self) -> Input {
        match self {
            Frame::Fence { epoch } => Input::Fence { epoch: *epoch },
            Frame::Batch { facts, .. } => Input::Batch(facts.clone()),
            Frame::Beacon { epoch, head, .. } => Input::Beacon { epoch: *epoch, head: *head },
        }
    }
}

/// A reader that has read the whole partition, from its beginning or from a beacon's place.
#[derive(Clone, Debug)]
struct Reader<F: Flow> {
    machine: Machine<F>,
    /// What it stored as its progress after the record before.
    progress: State,
}

/// One stream's partition.
#[derive(Clone, Debug)]
pub(crate) struct Topic<F: Flow> {
    pub(crate) records: Vec<Once<Frame>>,
    /// The hash of all records: whatever else is here follows from them.
    hash: u64,
    reader: Reader<F>,
    /// Readers that started at a beacon's place and hold another state than the one that read everything.
    strays: Vec<Reader<F>>,
    /// Digests of accepted batches by sequence.
    pub(crate) accepted: Vec<Digest>,
    /// Rows in accepted batches, and those that a whole snapshot stands for.
    pub(crate) rows: usize,
    /// The rows of the newest snapshot, with its generation, and whether one was ever whole.
    snapshot: (Generation, Vec<Mark>),
    snapshotted: bool,
    /// The resolved position that readers know.
    pub(crate) resolved: u64,
    /// The highest resolved position in any record, late ones included.
    pub(crate) said: u64,
}

impl<F: Flow> Hash for Topic<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<F: Flow> Topic<F> {
    pub(crate) fn new() -> Topic<F> {
        let reader = Reader { machine: Machine::ruled(Digest::ZERO, State::START), progress: State::START };
        Topic {
            records: Vec::new(),
            hash: 0,
            reader,
            strays: Vec::new(),
            accepted: Vec::new(),
            rows: 0,
            snapshot: (Generation(0), Vec::new()),
            snapshotted: false,
            resolved: 0,
            said: 0,
        }
    }

    pub(crate) fn state(&self) -> &State {
        self.reader.machine.state()
    }

    /// Adds a record and has every reader read it. `logged` is how many batches of the stream the log holds.
    pub(crate) fn push(
        &mut self,
        stream: usize,
        frame: Once<Frame>,
        script: &Script,
        logged: usize,
    ) -> Result<(), String> {
        self.hash = fingerprint(&(self.hash, &frame));
        let input = frame.input();
        let step = self.reader.machine.step(&input);
        if let Step::Halt(finding) = step {
            return Err(format!("false alarm: a reader of stream {stream} halts with {finding}"));
        }
        self.restarted(stream, &input, step)?;
        if let Frame::Batch { resolved, .. } | Frame::Beacon { resolved, .. } = &*frame {
            self.said = self.said.max(*resolved);
        }
        match &*frame {
            Frame::Batch { facts, rows, resolved } if step == Step::Accepted => {
                match facts.snapshot {
                    Some(part) => self.chunk(stream, part, facts.last.commit, rows, script)?,
                    None => self.delivered(stream, rows, script)?,
                }
                self.accepted.push(facts.digest);
                self.resolved = self.resolved.max(*resolved);
            }
            Frame::Beacon { resolved, .. } if step == Step::BeaconSeen => {
                self.resolved = self.resolved.max(*resolved);
            }
            _ => {}
        }
        self.whole(stream, script)?;
        self.strays(stream, &input, step)?;
        self.reader.progress = F::progress(self.reader.machine.state(), self.reader.progress);
        if let Frame::Beacon { epoch, head, place, .. } = &*frame {
            let place = F::reader_place(*place, *epoch, *head, self.records.len());
            self.stray(stream, place, logged)?;
        }
        self.records.push(frame);
        Ok(())
    }

    /// A reader that was killed before this record and went on from its progress must say the same, except that
    /// digests from before are no longer at hand.
    fn restarted(&self, stream: usize, input: &Input, step: Step) -> Result<(), String> {
        let mut machine: Machine<F> = Machine::ruled(Digest::ZERO, self.reader.progress);
        let again = machine.step(input);
        let forgets = again == Step::Old && matches!(step, Step::Duplicate | Step::BeaconSeen);
        if again == step || forgets {
            return Ok(());
        }
        Err(match again {
            Step::Halt(finding) => {
                format!("false alarm: a reader of stream {stream} halts with {finding} after its restart")
            }
            again => format!(
                "exactly once: a reader of stream {stream} says {again} after its restart and {step} without"
            ),
        })
    }

    /// Exactly once: a whole snapshot is the table as of its commit, every chunk of it once.
    fn chunk(
        &mut self,
        stream: usize,
        part: SnapshotPlace,
        as_of: u64,
        rows: &[Mark],
        script: &Script,
    ) -> Result<(), String> {
        if self.snapshot.0 != part.generation {
            self.snapshot = (part.generation, Vec::new());
        }
        self.snapshot.1.extend(rows);
        if part.last {
            let table: Vec<Mark> = (0..script.chunks[stream]).map(|n| Script::chunk(as_of, n)).collect();
            if self.snapshot.1 != table {
                return Err(format!(
                    "exactly once: the snapshot of stream {stream} is not the table: {:?}",
                    self.snapshot
                ));
            }
            self.snapshotted = true;
            self.rows = script.rows_until(stream, as_of);
        }
        Ok(())
    }

    /// Exactly once, in order: accepted rows are the source's.
    fn delivered(&mut self, stream: usize, rows: &[Mark], script: &Script) -> Result<(), String> {
        if script.chunks[stream] > 0 && !self.snapshotted {
            return Err(format!("exactly once: stream {stream} begins before its snapshot is whole"));
        }
        for row in rows {
            match script.rows[stream].get(self.rows) {
                Some(expected) if expected == row => self.rows += 1,
                Some(expected) if expected < row => {
                    return Err(format!(
                        "exactly once: stream {stream} delivers {row} where {expected} was due: lost"
                    ));
                }
                _ => return Err(format!("exactly once: stream {stream} delivers {row} a second time")),
            }
        }
        Ok(())
    }

    /// Whole transactions: up to the resolved position every row is there and nothing is open; and what is not open is
    /// whole.
    fn whole(&self, stream: usize, script: &Script) -> Result<(), String> {
        let rows = &script.rows[stream];
        if rows.get(self.rows).is_some_and(|next| next.commit <= self.resolved) {
            return Err(format!(
                "whole transactions: stream {stream} is resolved to {} and lacks rows",
                self.resolved
            ));
        }
        let open = self.state().open.map(|open| open.commit);
        if open.is_some_and(|commit| commit <= self.resolved) {
            return Err(format!("whole transactions: stream {stream} is resolved past its open transaction"));
        }
        let (last, next) = (self.rows.checked_sub(1).map(|last| rows[last].commit), rows.get(self.rows));
        if last.is_some() && last == next.map(|next| next.commit) && open != last {
            return Err(format!("whole transactions: stream {stream} closes a transaction that lacks rows"));
        }
        Ok(())
    }

    /// A reader starts in mid-stream at a beacon's place whose head is in the log, and has read up to here.
    fn stray(&mut self, stream: usize, place: Place, logged: usize) -> Result<(), String> {
        let in_log = place.state.head.is_none_or(|(sequence, digest)| {
            let index = usize::try_from(sequence.0).unwrap();
            index < logged && self.accepted.get(index) == Some(&digest)
        });
        if !in_log {
            return Ok(());
        }
        let mut machine: Machine<F> = Machine::ruled(Digest::ZERO, place.state);
        for record in self.records.iter().skip(usize::try_from(place.offset.0).unwrap()) {
            if let Step::Halt(finding) = machine.step(&record.input()) {
                return Err(format!(
                    "false alarm: a reader that starts in mid-stream {stream} halts with {finding}"
                ));
            }
        }
        if machine.state() != self.state() {
            self.strays.push(Reader { progress: *machine.state(), machine });
        }
        Ok(())
    }

    fn strays(&mut self, stream: usize, input: &Input, step: Step) -> Result<(), String> {
        for reader in &mut self.strays {
            let other = reader.machine.step(input);
            if let Step::Halt(finding) = other {
                return Err(format!(
                    "false alarm: a reader that started in mid-stream {stream} halts with {finding}"
                ));
            }
            if (other == Step::Accepted) != (step == Step::Accepted) {
                return Err(format!(
                    "exactly once: a reader that started in mid-stream {stream} says {other} where others say {step}"
                ));
            }
        }
        Ok(())
    }
}
