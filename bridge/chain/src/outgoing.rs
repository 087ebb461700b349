//! One stream's sending half between two starts: what is sealed, what Kafka acknowledged, what the log holds.
//!
//! ```text
//!   seal -> (Kafka) acknowledged -> (log) appended          the order of the path: publish, append, acknowledge
//!     |           |                    |
//!   next, open   beacon's head        place
//! ```
//!
//! Every sealed batch goes through a chain machine before it is published, so a batch that readers would refuse is
//! never sent. A second machine follows what is acknowledged and appended: its state is the stream's place.

use std::collections::VecDeque;

use bridge_event::{At, Offset, Sequence};
use bridge_suite::Digest;

use crate::start::Adopted;
use crate::{Facts, Input, Machine, Open, Place, Rules, Shipped, Step};

/// Why a batch of ours cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OutgoingError {
    /// Readers would not accept the batch.
    #[error(
        "batch {sequence} would not be accepted by its readers ({step}): it is not sent; this is a defect of the connector"
    )]
    Refused {
        /// The batch.
        sequence: Sequence,
        /// What the machine said.
        step: &'static str,
    },
    /// The batch is not the next one to acknowledge or append.
    #[error("batch {0} is not outstanding at this point: this is a defect of the connector")]
    NotOutstanding(Sequence),
}

/// A batch that is sealed and not yet appended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Outstanding {
    facts: Facts,
    resolved: At,
    /// Where Kafka put it, once it is acknowledged.
    offset: Option<Offset>,
}

/// What a beacon says of the stream's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Said {
    /// The last batch that Kafka acknowledged, with every one before it; never one merely sent.
    pub head: Option<(Sequence, Digest)>,
    /// The stream's place: of the last batch acknowledged and appended.
    pub place: Place,
    /// The resolved position: every event with a commit at or before it is in a batch up to the head.
    pub resolved: At,
}

/// The sending half of one stream, from an adoption to the next start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing<R: Rules = Shipped> {
    /// After the last sealed batch.
    sealed: Machine<R>,
    /// After the last batch acknowledged and appended.
    placed: Machine<R>,
    place: Place,
    /// The last batch acknowledged without a hole before it, and its resolved position.
    head: Option<(Sequence, Digest)>,
    resolved: At,
    outstanding: VecDeque<Outstanding>,
}

impl<R: Rules> Outgoing<R> {
    /// The sending half after an adoption. Its place is the own fence with the head adopted there.
    pub fn new(adopted: Adopted<R>) -> Outgoing<R> {
        let Adopted { place, machine } = adopted;
        let mut sealed = machine.clone();
        if !R::OPEN_IS_TAKEN_OVER {
            let state = crate::State { open: None, ..*machine.state() };
            sealed = Machine::ruled(machine.genesis(), state);
        }
        Outgoing {
            sealed,
            head: machine.state().head,
            placed: machine,
            place,
            resolved: At::START,
            outstanding: VecDeque::new(),
        }
    }

    /// Sequence and previous digest of the next batch to seal; `None` at the end of 64 bits.
    pub fn next(&self) -> Option<(Sequence, Digest)> {
        Some((self.sealed.next_sequence()?, self.sealed.next_previous()))
    }

    /// The source transaction that the last sealed batch, or the adopted head, leaves open: the next batch continues it.
    pub fn open(&self) -> Option<Open> {
        self.sealed.state().open
    }

    /// The state after the last sealed batch.
    pub fn sealed_state(&self) -> &crate::State {
        self.sealed.state()
    }

    /// A batch is sealed and about to be published; `resolved` stands in its header.
    pub fn seal(&mut self, facts: Facts, resolved: At) -> Result<(), OutgoingError> {
        let sequence = facts.sequence;
        let input = Input::Batch(facts);
        let step = self.sealed.step(&input);
        if step != Step::Accepted {
            return Err(OutgoingError::Refused { sequence, step: step.name() });
        }
        if let Input::Batch(facts) = input {
            self.outstanding.push_back(Outstanding { facts, resolved, offset: None });
        }
        Ok(())
    }

    /// Kafka acknowledged the batch at `offset`. After any delivery error there is no more acknowledging, only a start.
    pub fn acknowledged(&mut self, sequence: Sequence, offset: Offset) -> Result<(), OutgoingError> {
        let batch = self
            .outstanding
            .iter_mut()
            .find(|batch| batch.facts.sequence == sequence && batch.offset.is_none())
            .ok_or(OutgoingError::NotOutstanding(sequence))?;
        batch.offset = Some(offset);
        let prefix = self.outstanding.iter().take_while(|batch| batch.offset.is_some());
        if let Some(last) = prefix.last() {
            self.head = Some((last.facts.sequence, last.facts.digest));
            self.resolved = self.resolved.max(last.resolved);
        }
        if !R::PLACE_AFTER_APPEND {
            self.move_place(sequence);
        }
        Ok(())
    }

    /// The next batch to append to the log: the oldest outstanding one, once Kafka has acknowledged it.
    pub fn to_append(&self) -> Option<&Facts> {
        self.outstanding.front().filter(|batch| batch.offset.is_some()).map(|batch| &batch.facts)
    }

    /// The batch of [`Outgoing::to_append`] stands in the log, fsynced: the stream's place moves behind it.
    pub fn appended(&mut self, sequence: Sequence) -> Result<Place, OutgoingError> {
        match self.to_append() {
            Some(facts) if facts.sequence == sequence => {}
            _ => return Err(OutgoingError::NotOutstanding(sequence)),
        }
        if R::PLACE_AFTER_APPEND {
            self.move_place(sequence);
        }
        self.outstanding.pop_front();
        Ok(self.place)
    }

    /// The stream's place.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Batches sealed and not yet appended.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The last batch acknowledged by Kafka, with every one before it.
    pub fn head(&self) -> Option<(Sequence, Digest)> {
        self.head
    }

    /// What a beacon sent now says. `captured` is the end up to which the source was captured whole, given only while
    /// no row of this stream waits to be sealed; it counts once every sealed batch is acknowledged.
    pub fn said(&self, captured: Option<At>) -> Said {
        let (last, quiet) = match self.outstanding.back() {
            None => (self.head, true),
            Some(batch) => (Some((batch.facts.sequence, batch.facts.digest)), batch.offset.is_some()),
        };
        let head = if R::BEACON_HEAD_IS_ACKNOWLEDGED { self.head } else { last };
        let quiet = quiet && head == last;
        let resolved = captured.filter(|_| quiet).unwrap_or(At::START).max(self.resolved);
        Said { head, place: self.place, resolved }
    }

    /// Moves the place behind the batch, through the machine.
    fn move_place(&mut self, sequence: Sequence) {
        let batch = self.outstanding.iter().find(|batch| batch.facts.sequence == sequence);
        let Some(Outstanding { facts, offset: Some(Offset(offset)), .. }) = batch else { return };
        // The same machine accepted it in `seal`, from the same state, so this step is accepted too.
        let step = self.placed.step(&Input::Batch(facts.clone()));
        debug_assert!(step == Step::Accepted || !R::OPEN_IS_TAKEN_OVER || !R::PLACE_AFTER_APPEND);
        self.place = Place { offset: Offset(offset.saturating_add(1)), state: *self.placed.state() };
    }
}
