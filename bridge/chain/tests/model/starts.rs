//! The start sequence in the modelled world: the shipped `Start`'s effects, performed.

use bridge_chain::start::{Effect, Located, Outcome, Sizes, may_append};
use bridge_chain::{Last, Open, Place, State};
use bridge_event::{Offset, Sequence};
use bridge_suite::Digest;

use crate::connector::{Process, Running, Starting, forget};
use crate::flow::Flow;
use crate::script::{STREAMS, Script};
use crate::topic::{Frame, Once};
use crate::world::{Choice, World};

impl<F: Flow> World<F> {
    pub(crate) fn start(&mut self, slot: usize, script: &Script) -> Result<(), String> {
        self.starts -= 1;
        self.processes[slot] = Process::Starting(Once::new(Starting::new()));
        self.drive(slot, Outcome::Claimed, script)
    }

    /// Hands an outcome to the start and performs its effects until one has to wait.
    pub(crate) fn drive(&mut self, slot: usize, outcome: Outcome, script: &Script) -> Result<(), String> {
        let Process::Starting(starting) = &self.processes[slot] else { return Ok(()) };
        let mut starting = Starting::clone(starting);
        let mut outcome = outcome;
        loop {
            starting.effect = starting.start.step(outcome);
            outcome = match starting.effect {
                Effect::Claim => Outcome::Claimed,
                Effect::CheckLog => Outcome::LogChecked { newest: self.newest, sizes: Sizes::default() },
                Effect::AppendEpoch { after, .. } if after != self.newest => Outcome::Superseded,
                Effect::AppendEpoch { epoch, .. } => {
                    self.newest = epoch;
                    let head = |stream: usize| {
                        let last = self.logged[stream].checked_sub(1)?;
                        let sequence = Sequence(u64::try_from(last).unwrap());
                        Some((sequence, self.topics[stream].accepted[last]))
                    };
                    Outcome::EpochAppended { heads: (0..STREAMS).map(head).collect() }
                }
                Effect::WriteFences { epoch } => {
                    self.producers += 1;
                    starting.producer = self.producers;
                    starting.fences = [None; STREAMS];
                    for stream in 0..STREAMS {
                        self.send(stream, Some((self.producers, Once::new(Frame::Fence { epoch }))));
                    }
                    break;
                }
                Effect::Locate { .. } | Effect::Append { .. } => break,
                Effect::Read { stream, from } => {
                    (starting.stream, starting.cursor) = (stream, from.0);
                    self.read(&mut starting)
                }
                Effect::ReadOn => self.read(&mut starting),
                Effect::CheckNewest => Outcome::Newest(self.newest),
                Effect::Sync => Outcome::Synced,
                Effect::Go => return self.go(slot, starting, script),
                Effect::End => {
                    self.processes[slot] = Process::Dead;
                    return Ok(());
                }
                Effect::Halt(halt) => {
                    return Err(format!("false alarm: a connector halts at its start: {halt}"));
                }
            };
        }
        self.processes[slot] = Process::Starting(Once::new(starting));
        Ok(())
    }

    fn read(&self, starting: &mut Starting<F>) -> Outcome {
        let offset = starting.cursor;
        match self.topics[starting.stream].records.get(usize::try_from(offset).unwrap()) {
            None => Outcome::Ended,
            Some(record) => {
                starting.cursor += 1;
                Outcome::Record { offset: Offset(offset), input: Some(record.input()) }
            }
        }
    }

    fn go(&mut self, slot: usize, starting: Starting<F>, script: &Script) -> Result<(), String> {
        let epoch = starting.start.epoch();
        let adopted = forget(starting.start.into_adopted().unwrap());
        self.heads = Once::new([adopted[0].place, adopted[1].place]);
        let running = Running::new(epoch, starting.producer, adopted, self.acknowledged, script)?;
        self.processes[slot] = Process::Running(Once::new(running));
        // The first frame after an adoption is a beacon.
        (0..STREAMS).try_for_each(|stream| self.beacon(slot, stream))
    }

    pub(crate) fn located(&mut self, slot: usize, choice: Choice, script: &Script) -> Result<(), String> {
        let Process::Starting(starting) = &self.processes[slot] else { return Ok(()) };
        let Effect::Locate { stream } = starting.effect else { return Ok(()) };
        let located = match self.last_batch(stream) {
            Some((place, digest)) if !F::START_AT_PLACE => Located::Place { place, logged: Some(digest) },
            _ if choice == Choice::Beginning => Located::Beginning,
            _ => {
                let place = self.place(stream, choice).unwrap();
                let logged = place.state.head.and_then(|(sequence, _)| self.logged_digest(stream, sequence));
                Located::Place { place: F::kept(place), logged }
            }
        };
        self.drive(slot, Outcome::Located(located), script)
    }

    fn logged_digest(&self, stream: usize, sequence: Sequence) -> Option<Digest> {
        let index = usize::try_from(sequence.0).unwrap();
        (index < self.logged[stream]).then(|| self.topics[stream].accepted[index])
    }

    /// What a connector would take for its place that looked for the last verified batch.
    fn last_batch(&self, stream: usize) -> Option<(Place, Digest)> {
        let records = &self.topics[stream].records;
        records.iter().enumerate().rev().find_map(|(offset, record)| {
            let Frame::Batch { facts, .. } = &**record else { return None };
            let state = State {
                fenced: facts.epoch,
                head: Some((facts.sequence, facts.digest)),
                last: Last { incarnation: facts.incarnation, mark: facts.last },
                open: facts.leaves_open.then_some(Open { commit: facts.last.commit }),
                snapshot: facts.snapshot,
            };
            Some((Place { offset: Offset(i64::try_from(offset).unwrap() + 1), state }, facts.digest))
        })
    }

    /// Appends the adopted batch that the start has just read.
    pub(crate) fn adopt(&mut self, slot: usize, script: &Script) -> Result<(), String> {
        let Process::Starting(starting) = &self.processes[slot] else { return Ok(()) };
        let Effect::Append { stream } = starting.effect else { return Ok(()) };
        let record = &self.topics[stream].records[usize::try_from(starting.cursor - 1).unwrap()];
        let Frame::Batch { facts, .. } = &**record else { return Ok(()) };
        if !may_append::<F>(self.newest, starting.start.epoch()) {
            return self.drive(slot, Outcome::Superseded, script);
        }
        let digest = facts.digest;
        self.log_batch(stream, digest)?;
        self.drive(slot, Outcome::Appended, script)
    }
}
