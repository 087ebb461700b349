//! The chain machine: one for connector and subscriber (design section 5, "The chain machine").

use std::collections::VecDeque;
use std::marker::PhantomData;

use bridge_event::{Epoch, Generation, Kind, Sequence};
use bridge_suite::Digest;

use crate::{Facts, Finding, Input, Last, Mark, Open, Rules, Shipped, SnapshotPlace, State, Step};

/// Digests of accepted batches kept at hand to tell a duplicate from a fork: 1,024 of 32 bytes, 32 KiB a stream. What
/// is older is [`Step::Old`], and archive or log tell.
pub const RECENT_DIGESTS_MAX: usize = 1024;

/// The rules of one stream. It takes every verified frame of its partition, in partition order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine<R: Rules = Shipped> {
    genesis: Digest,
    state: State,
    /// Digests up to the head, the head's at the back; never longer than [`RECENT_DIGESTS_MAX`].
    recent: VecDeque<Digest>,
    rules: PhantomData<R>,
}

impl Machine {
    /// A machine before the stream's first record. `genesis` is what sequence 0 names as its previous digest.
    pub fn new(genesis: Digest) -> Machine {
        Machine::ruled(genesis, State::START)
    }

    /// A machine that goes on from a stored state.
    pub fn from_state(genesis: Digest, state: State) -> Machine {
        Machine::ruled(genesis, state)
    }
}

impl<R: Rules> Machine<R> {
    /// A machine under given rules; everything shipped uses [`Machine::new`] or [`Machine::from_state`].
    pub fn ruled(genesis: Digest, state: State) -> Machine<R> {
        let recent = state.head.iter().map(|(_, digest)| *digest).collect();
        Machine { genesis, state, recent, rules: PhantomData }
    }

    /// The state after the last step.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The digest that sequence 0 names as its previous one.
    pub fn genesis(&self) -> Digest {
        self.genesis
    }

    /// The sequence that the next batch must have; `None` at the end of 64 bits, where a stream ends.
    pub fn next_sequence(&self) -> Option<Sequence> {
        self.state.head.map_or(Some(Sequence(0)), |(n, _)| n.next())
    }

    /// The digest that the next batch must name as its previous one.
    pub fn next_previous(&self) -> Digest {
        self.state.head.map_or(self.genesis, |(_, digest)| digest)
    }

    /// The digest accepted at `sequence`, while it is at hand.
    pub fn accepted(&self, sequence: Sequence) -> Option<Digest> {
        let (head, _) = self.state.head?;
        let back = usize::try_from(head.0.checked_sub(sequence.0)?).ok()?;
        let index = self.recent.len().checked_sub(1)?.checked_sub(back)?;
        self.recent.get(index).copied()
    }

    /// Takes the partition's next frame. A step that halts, drops or refuses leaves the state as it was.
    pub fn step(&mut self, input: &Input) -> Step {
        match input {
            Input::Fence { epoch } => self.fence(*epoch),
            Input::Batch(facts) => self.batch(facts),
            Input::Beacon { epoch, head } => self.beacon(*epoch, *head),
        }
    }

    fn fence(&mut self, epoch: Epoch) -> Step {
        if epoch <= self.state.fenced && R::FENCES_RISE {
            return Step::Late;
        }
        self.state.fenced = epoch;
        Step::Fenced
    }

    /// What an epoch alone decides of a batch or beacon; `None` when it is the fenced one.
    fn epoch(&mut self, epoch: Epoch) -> Option<Step> {
        if epoch < self.state.fenced && R::LOWER_EPOCH_IS_LATE {
            return Some(Step::Late);
        }
        let fenced = epoch <= self.state.fenced && epoch != Epoch(0);
        if !fenced && R::FENCE_COMES_FIRST {
            return Some(Step::Halt(Finding::Unfenced));
        }
        self.state.fenced = self.state.fenced.max(epoch);
        None
    }

    fn beacon(&mut self, epoch: Epoch, head: Option<(Sequence, Digest)>) -> Step {
        if let Some(step) = self.epoch(epoch) {
            return step;
        }
        let Some((sequence, digest)) = head else { return Step::BeaconSeen };
        if self.state.head.is_none_or(|(n, _)| sequence > n) {
            return Step::Halt(Finding::Loss);
        }
        match self.accepted(sequence) {
            None => Step::Old,
            Some(accepted) if accepted == digest => Step::BeaconSeen,
            Some(_) => Step::Halt(Finding::Fork),
        }
    }

    fn batch(&mut self, facts: &Facts) -> Step {
        if let Some(step) = self.epoch(facts.epoch) {
            return step;
        }
        if self.state.head.is_some_and(|(n, _)| facts.sequence <= n) {
            return match self.accepted(facts.sequence) {
                None => Step::Old,
                Some(accepted) => Step::compared(facts.digest, accepted),
            };
        }
        let next = self.next_sequence() == Some(facts.sequence) || !R::SEQUENCE_IS_EXACT;
        let follows = if next && facts.previous == self.next_previous() {
            self.follows(facts)
        } else if next {
            Err(Step::Halt(Finding::BrokenChain))
        } else {
            self.lost(facts).and_then(|()| self.follows(facts))
        };
        match follows {
            Err(step) => step,
            Ok(()) => {
                self.accept(facts);
                Step::Accepted
            }
        }
    }

    /// A batch beyond the next sequence: a GAP whose lost sequences run from the next one and chain from the head
    /// stands in for them. A reader that still had some of them goes on from the last one that it had.
    fn lost(&self, facts: &Facts) -> Result<(), Step> {
        let ahead = if R::AHEAD_IS_DROPPED { Step::Ahead } else { Step::Halt(Finding::Loss) };
        let dense = facts.lost.windows(2).all(|pair| match pair {
            [(before, _), (after, _)] => before.next() == Some(*after),
            _ => false,
        });
        let reaches = facts.lost.last().is_some_and(|(sequence, digest)| {
            sequence.next() == Some(facts.sequence) && *digest == facts.previous
        });
        if facts.kind != Kind::Gap || !dense || !reaches {
            return Err(ahead);
        }
        let next = self.next_sequence();
        let Some(index) = facts.lost.iter().position(|(sequence, _)| Some(*sequence) == next) else {
            return Err(ahead);
        };
        match index.checked_sub(1).and_then(|before| facts.lost.get(before)) {
            None if facts.lost_previous == self.next_previous() => Ok(()),
            Some((_, digest)) if *digest == self.next_previous() => Ok(()),
            None => Err(Step::Halt(Finding::BrokenChain)),
            Some(_) => Err(Step::Halt(Finding::Fork)),
        }
    }

    /// Whether a batch that chains also follows the stream's position and open transaction.
    fn follows(&self, facts: &Facts) -> Result<(), Step> {
        self.incarnation_follows(facts)
            .and_then(|()| self.open_follows(facts))
            .and_then(|()| self.snapshot_follows(facts))
            .and_then(|()| self.position_follows(facts))
            .map_err(Step::Halt)
    }

    fn incarnation_follows(&self, facts: &Facts) -> Result<(), Finding> {
        let before = self.state.last.incarnation;
        let may_rise = matches!(facts.kind, Kind::Gap | Kind::Retract);
        if self.state.head.is_none()
            || facts.incarnation == before
            || (may_rise && facts.incarnation > before)
        {
            Ok(())
        } else {
            Err(Finding::IncarnationChanged)
        }
    }

    fn open_follows(&self, facts: &Facts) -> Result<(), Finding> {
        let open = self.state.open.map(|o| o.commit);
        let follows = match facts.kind {
            Kind::Stream | Kind::Schema => {
                let continued = facts.continues.then_some(facts.first.commit);
                // A batch without rows can leave open only what it found open.
                let opened_by_nothing = facts.rows == 0 && facts.leaves_open && !facts.continues;
                let counts = u64::from(facts.continues).checked_add(facts.begun)
                    == u64::from(facts.leaves_open).checked_add(facts.ended);
                open == continued && !opened_by_nothing && counts
            }
            Kind::Snapshot => open.is_none() && !facts.continues && !facts.leaves_open,
            Kind::Gap | Kind::Retract => {
                !facts.continues
                    && !facts.leaves_open
                    && open.is_none_or(|commit| facts.voids.contains(&commit))
            }
        };
        if follows { Ok(()) } else { Err(Finding::OpenMismatch) }
    }

    /// A snapshot's chunks are dense and end with the last one; a snapshot that was broken off begins again as the next
    /// generation.
    fn snapshot_follows(&self, facts: &Facts) -> Result<(), Finding> {
        let waits = self.state.in_snapshot() && R::SNAPSHOT_ENDS_FIRST;
        let follows = match (facts.kind, facts.snapshot) {
            (Kind::Snapshot, Some(part)) => self.part_follows(part),
            (Kind::Snapshot, None) => false,
            // What closes a transaction cannot come here: a snapshot begins only while none is open.
            (Kind::Stream, _) => !waits,
            (Kind::Schema, _) => !waits || facts.rows == 0,
            (Kind::Gap | Kind::Retract, _) => true,
        };
        if follows { Ok(()) } else { Err(Finding::SnapshotBroken) }
    }

    fn part_follows(&self, part: SnapshotPlace) -> bool {
        let begins = part.chunk == 0;
        let Some(before) = self.state.snapshot else {
            // Behind a head, that is after a GAP or batches of the stream, any generation may be the first that is known.
            let first = self.state.head.is_none() && R::GENERATIONS_ARE_DENSE;
            return begins
                && part.generation >= Generation(1)
                && (!first || part.generation == Generation(1));
        };
        if part.generation == before.generation && (!begins || R::GENERATIONS_ARE_DENSE) {
            let next = before.chunk.checked_add(1) == Some(part.chunk);
            return !before.last && (next || !R::CHUNKS_ARE_DENSE);
        }
        let next = before.generation.0.checked_add(1) == Some(part.generation.0);
        begins && (next || !R::GENERATIONS_ARE_DENSE)
    }

    fn position_follows(&self, facts: &Facts) -> Result<(), Finding> {
        // Marks of two incarnations do not compare: the first batch and a GAP or RETRACT that raises it begin anew.
        let same = self.state.head.is_some() && facts.incarnation == self.state.last.incarnation;
        let last = same.then_some(self.state.last.mark);
        match facts.kind {
            Kind::Stream | Kind::Schema if facts.rows == 0 => {
                let repeats = facts.first == facts.last && last.is_none_or(|last| facts.last == last);
                match last {
                    _ if !repeats => Err(Finding::PositionMoved),
                    Some(last) if last.is_unfinished() => Err(Finding::RowBroken),
                    _ => Ok(()),
                }
            }
            Kind::Stream | Kind::Schema => {
                let goes_on = fragment_follows(last, facts.first)?;
                // The fragments of a row have one place, which the stream must not have before the first of them.
                let after = goes_on || last.is_none_or(|last| facts.first.at() > last.at());
                let forward = facts.first <= facts.last && after;
                if forward { Ok(()) } else { Err(Finding::PositionBack) }
            }
            Kind::Snapshot if facts.first != facts.last || !facts.last.is_end() => {
                Err(Finding::PositionMoved)
            }
            Kind::Snapshot => {
                let begins = facts.snapshot.is_none_or(|part| part.chunk == 0);
                // All chunks of a snapshot are as of one position, and so all its rows have one place.
                if !begins && last.map(|last| last.at()) != Some(facts.last.at()) {
                    return Err(Finding::PositionMoved);
                }
                // A snapshot that begins again leaves the row that it was broken off in.
                fragment_follows(last.filter(|_| !begins), facts.first)?;
                if last.is_none_or(|last| facts.last.at() >= last.at()) {
                    Ok(())
                } else {
                    Err(Finding::PositionBack)
                }
            }
            Kind::Gap | Kind::Retract => {
                if last.is_none_or(|last| facts.last >= last) {
                    Ok(())
                } else {
                    Err(Finding::PositionBack)
                }
            }
        }
    }

    fn accept(&mut self, facts: &Facts) {
        if self.next_sequence() != Some(facts.sequence) {
            // Lost sequences were never accepted; what came before them is not contiguous with the new head.
            self.recent.clear();
        }
        if self.recent.len() == RECENT_DIGESTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(facts.digest);
        self.state.head = Some((facts.sequence, facts.digest));
        self.state.last = Last { incarnation: facts.incarnation, mark: facts.last };
        self.state.open = facts.leaves_open.then_some(Open { commit: facts.last.commit });
        if facts.kind == Kind::Gap {
            // What is missing may have held chunks, of later generations too.
            self.state.snapshot = None;
        } else if facts.snapshot.is_some() {
            self.state.snapshot = facts.snapshot;
        }
    }
}

/// Whether a batch that begins at `first` brings the next fragment of the row that the stream leaves unfinished.
///
/// A row's first fragment is number 1.
fn fragment_follows(last: Option<Mark>, first: Mark) -> Result<bool, Finding> {
    let unfinished = last.is_some_and(|last| last.is_unfinished());
    if last.is_some_and(|last| last.goes_on_with(&first)) {
        Ok(true)
    } else if first.fragment > 1 || unfinished {
        Err(Finding::RowBroken)
    } else {
        Ok(false)
    }
}
