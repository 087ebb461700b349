//! How a connector starts, also after any delivery error (design section 5, "Start").
//!
//! ```text
//!   1 Claim, CheckLog          2 AppendEpoch        3 WriteFences           4 for each stream            5
//!   claim and log's lock  ->   e = 1 + newest  ->   new producer, every ->  Locate, Read up to the  ->   Sync, Go
//!   log not rolled back        fsync                stream's fence          own fence, Append what
//!                                ^                  acknowledged            the log lacks
//!                                `---------------------' not all
//! ```
//!
//! [`Start`] says which [`Effect`] comes next, the pipeline performs it and hands its [`Outcome`] back. It reads with
//! the same [`Machine`] as a subscriber, so what it adopts is what readers accept.

use bridge_event::{Epoch, Offset, Sequence};
use bridge_suite::Digest;

use crate::{Facts, Finding, Input, Machine, Place, Rules, Shipped, State, Step};

/// What the connector does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Effect {
    /// Take, or go on holding, the source's exclusive claim and the log's lock, which lives as long as the process.
    Claim,
    /// Read the log's size and newest epoch entry, and the sizes that it must not be below.
    CheckLog,
    /// Under the lock: see that the newest epoch entry is still `after` ([`may_append`]), append `epoch`, fsync, and read
    /// the heads that the log then has.
    AppendEpoch {
        /// The newest epoch entry until now; `Epoch(0)` in a new log.
        after: Epoch,
        /// The epoch to append.
        epoch: Epoch,
    },
    /// Destroy the producer. With a new one write a fence of this epoch into every stream and wait for all of them.
    WriteFences {
        /// The own epoch.
        epoch: Epoch,
    },
    /// Find a place to read this stream from: the log's `heads` file, else any verified beacon found by reading backwards.
    Locate {
        /// The stream's index.
        stream: usize,
    },
    /// Read the stream from this offset and hand every record over, in order.
    Read {
        /// The stream's index.
        stream: usize,
        /// The first record.
        from: Offset,
    },
    /// Hand the next record over.
    ReadOn,
    /// Under the lock, while the newest epoch entry is the own ([`may_append`]): append the batch just handed over.
    Append {
        /// The stream's index.
        stream: usize,
    },
    /// Read the log's newest epoch entry again.
    CheckNewest,
    /// fsync the log, then write the `heads` file with the adopted places.
    Sync,
    /// The start is done: [`Start::into_adopted`]. The first frame in every stream is a beacon.
    Go,
    /// Another process has taken over: this one ends.
    End,
    /// Nothing moves until a person decides.
    Halt(Halt),
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Claim and lock are held.
    Claimed,
    /// The log as it is.
    LogChecked {
        /// Its newest epoch entry; `Epoch(0)` in a new log.
        newest: Epoch,
        /// Its size, and those that it must not be below.
        sizes: Sizes,
    },
    /// The epoch stands in the log; the head that the log has of each stream.
    EpochAppended {
        /// One for each stream.
        heads: Vec<Option<(Sequence, Digest)>>,
    },
    /// The newest epoch entry is another process's.
    Superseded,
    /// What came of the fences, one for each stream: the offset, or `None` where it was not acknowledged.
    Fenced {
        /// One for each stream.
        fences: Vec<Option<Offset>>,
    },
    /// Where the stream can be read from.
    Located(Located),
    /// A record of the stream; `None` when it is no verified frame of the stream.
    Record {
        /// Its offset.
        offset: Offset,
        /// The frame.
        input: Option<Input>,
    },
    /// The stream ended before its own fence.
    Ended,
    /// The batch stands in the log.
    Appended,
    /// The newest epoch entry.
    Newest(Epoch),
    /// The log and its `heads` file are durable.
    Synced,
}

/// Where a stream can be read from. Never a batch, a fence or a copy found by search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Located {
    /// A place of the `heads` file or of a verified beacon.
    Place {
        /// The place.
        place: Place,
        /// The digest that the log has at the sequence of the place's head, `None` when it has none.
        logged: Option<Digest>,
    },
    /// No verified beacon, and the stream's very first record is still there.
    Beginning,
    /// Retention removed every place: go on from the log.
    Removed {
        /// The first record that is still there.
        low: Offset,
        /// The state after the log's last entry of the stream, fenced by that entry's epoch.
        logged: State,
    },
}

/// Numbers of entries: the log's, and those known elsewhere (0 where nothing is known).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// The log's.
    pub log: u64,
    /// Its own last fsynced checkpoint's.
    pub checkpoint: u64,
    /// The newest beacon's checkpoint's, over all streams.
    pub beacon: u64,
    /// The largest that any witness reports.
    pub witnesses: u64,
}

/// Why a start halts. Each is for a person to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Halt {
    /// The log lost entries.
    #[error(
        "the log holds {log} entries and {known} are known elsewhere: it was rolled back; restore it from its mirror"
    )]
    LogShrunk {
        /// The log's size.
        log: u64,
        /// The size known elsewhere.
        known: u64,
    },
    /// A stream holds an epoch that the log does not know.
    #[error(
        "stream {stream} holds epoch {found} and the log's newest is {own}: the log was lost; restore it from its mirror"
    )]
    LogLost {
        /// The stream's index.
        stream: usize,
        /// The own epoch.
        own: Epoch,
        /// The stream's.
        found: Epoch,
    },
    /// A frame that cannot be honest.
    #[error("stream {stream}: {finding}")]
    Finding {
        /// The stream's index.
        stream: usize,
        /// The finding.
        finding: Finding,
    },
    /// The place's head is not the log's.
    #[error(
        "the place of stream {stream} has a head that the log does not hold: the log was lost; restore it from its mirror"
    )]
    PlaceNotLogged {
        /// The stream's index.
        stream: usize,
    },
    /// Kafka and the log hold two batches of one sequence.
    #[error("stream {stream}: Kafka and the log hold two batches of sequence {sequence}")]
    LogForked {
        /// The stream's index.
        stream: usize,
        /// The sequence.
        sequence: Sequence,
    },
    /// The topic was cut or recreated.
    #[error(
        "stream {stream} ends before a place in it: the topic was cut or recreated; publish from an archive or sign a GAP"
    )]
    TopicCut {
        /// The stream's index.
        stream: usize,
    },
    /// The log has batches that Kafka does not hold and retention did not remove.
    #[error(
        "the log has stream {stream} up to {sequence} and Kafka does not: publish from an archive or sign a GAP"
    )]
    KafkaLost {
        /// The stream's index.
        stream: usize,
        /// The log's head.
        sequence: Sequence,
    },
    /// Retention removed every place and a batch follows that the log lacks, so whether it was late cannot be told.
    #[error(
        "stream {stream} has batch {sequence} that the log lacks, and retention removed what says whether it was late: sign a GAP"
    )]
    Unplaced {
        /// The stream's index.
        stream: usize,
        /// The batch.
        sequence: Sequence,
    },
    /// The epochs are used up.
    #[error("the epochs are used up")]
    EpochsEnd,
    /// The outcome does not belong to the effect.
    #[error("an outcome that does not belong to its effect: this is a defect of the connector")]
    OutOfStep,
}

/// What a start hands over for each stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adopted<R: Rules = Shipped> {
    /// The own fence with the head adopted there.
    pub place: Place,
    /// The machine in that state.
    pub machine: Machine<R>,
}

/// What the log's writer checks under its lock before every append, of adopted batches too: that the newest epoch entry
/// is the process's own. Otherwise another process has taken over, and this one ends.
pub fn may_append<R: Rules>(newest: Epoch, own: Epoch) -> bool {
    newest == own || !R::APPEND_NEEDS_NEWEST_EPOCH
}

/// Where a start stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Claim,
    CheckLog,
    AppendEpoch,
    Fences,
    Locate(usize),
    Read(usize),
    Append(usize, (Sequence, Digest)),
    Newest { stream: usize, found: Epoch },
    Sync,
    Over,
}

/// One stream during the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reading<R: Rules> {
    machine: Machine<R>,
    /// The own fence's offset.
    fence: Option<Offset>,
    /// The log's head of the stream.
    logged: Option<(Sequence, Digest)>,
    /// The place is gone: nothing that the log lacks may be adopted.
    unplaced: bool,
    adopted: Option<Place>,
}

/// One start of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Start<R: Rules = Shipped> {
    phase: Phase,
    own: Epoch,
    /// The newest epoch entry before this start.
    before: Epoch,
    streams: Vec<Reading<R>>,
}

impl Start {
    /// A start over streams with these genesis digests, and its first effect.
    pub fn new(genesis: &[Digest]) -> (Start, Effect) {
        Start::ruled(genesis)
    }
}

impl<R: Rules> Start<R> {
    /// The same under given rules; everything shipped uses [`Start::new`].
    pub fn ruled(genesis: &[Digest]) -> (Start<R>, Effect) {
        let streams = genesis
            .iter()
            .map(|genesis| Reading {
                machine: Machine::ruled(*genesis, State::START),
                fence: None,
                logged: None,
                unplaced: false,
                adopted: None,
            })
            .collect();
        (Start { phase: Phase::Claim, own: Epoch(0), before: Epoch(0), streams }, Effect::Claim)
    }

    /// The own epoch; `Epoch(0)` until it is appended.
    pub fn epoch(&self) -> Epoch {
        self.own
    }

    /// What the start hands over, one for each stream; `None` before [`Effect::Go`].
    pub fn into_adopted(self) -> Option<Vec<Adopted<R>>> {
        if self.phase != Phase::Over {
            return None;
        }
        self.streams
            .into_iter()
            .map(|stream| stream.adopted.map(|place| Adopted { place, machine: stream.machine }))
            .collect()
    }

    /// Takes the outcome of the last effect and says the next one.
    pub fn step(&mut self, outcome: Outcome) -> Effect {
        match (self.phase, outcome) {
            (_, Outcome::Superseded) => self.over(Effect::End),
            (Phase::Claim, Outcome::Claimed) => {
                self.phase = Phase::CheckLog;
                Effect::CheckLog
            }
            (Phase::CheckLog, Outcome::LogChecked { newest, sizes }) => self.log_checked(newest, sizes),
            (Phase::AppendEpoch, Outcome::EpochAppended { heads }) => self.epoch_appended(&heads),
            (Phase::Fences, Outcome::Fenced { fences }) => self.fenced(&fences),
            (Phase::Locate(stream), Outcome::Located(located)) => self.located(stream, located),
            (Phase::Read(stream), Outcome::Record { offset, input }) => {
                self.record(stream, offset, input.as_ref())
            }
            (Phase::Read(stream), Outcome::Ended) => self.ended(stream),
            (Phase::Append(stream, head), Outcome::Appended) => self.appended(stream, head),
            (Phase::Newest { stream, found }, Outcome::Newest(newest)) => self.newest(stream, found, newest),
            (Phase::Sync, Outcome::Synced) => self.over(Effect::Go),
            _ => self.halt(Halt::OutOfStep),
        }
    }

    fn over(&mut self, effect: Effect) -> Effect {
        self.phase = Phase::Over;
        if effect != Effect::Go {
            self.streams.iter_mut().for_each(|stream| stream.adopted = None);
        }
        effect
    }

    fn halt(&mut self, halt: Halt) -> Effect {
        self.over(Effect::Halt(halt))
    }

    /// Step 1: the log is not smaller than anything known of it.
    fn log_checked(&mut self, newest: Epoch, sizes: Sizes) -> Effect {
        let known = sizes.checkpoint.max(sizes.beacon).max(sizes.witnesses);
        if sizes.log < known {
            return self.halt(Halt::LogShrunk { log: sizes.log, known });
        }
        self.before = newest;
        self.append_epoch(newest)
    }

    /// Step 2: a new epoch for each start, and for each attempt at the fences.
    fn append_epoch(&mut self, newest: Epoch) -> Effect {
        if !R::EPOCH_IS_NEW && newest != Epoch(0) {
            self.own = newest;
            self.phase = Phase::AppendEpoch;
            return Effect::AppendEpoch { after: newest, epoch: newest };
        }
        let Some(epoch) = newest.next() else { return self.halt(Halt::EpochsEnd) };
        self.own = epoch;
        self.phase = Phase::AppendEpoch;
        Effect::AppendEpoch { after: newest, epoch }
    }

    fn epoch_appended(&mut self, heads: &[Option<(Sequence, Digest)>]) -> Effect {
        if heads.len() != self.streams.len() {
            return self.halt(Halt::OutOfStep);
        }
        for (stream, head) in self.streams.iter_mut().zip(heads) {
            stream.logged = *head;
        }
        if R::TAIL_AFTER_FENCE { self.write_fences() } else { self.locate(0) }
    }

    fn write_fences(&mut self) -> Effect {
        self.phase = Phase::Fences;
        Effect::WriteFences { epoch: self.own }
    }

    /// Step 3: unless every fence is acknowledged, back to step 2.
    fn fenced(&mut self, fences: &[Option<Offset>]) -> Effect {
        if fences.len() != self.streams.len() {
            return self.halt(Halt::OutOfStep);
        }
        let every = fences.iter().all(Option::is_some);
        if !every && R::EVERY_FENCE_ACKNOWLEDGED {
            return self.append_epoch(self.own);
        }
        let own = self.own;
        for (stream, fence) in self.streams.iter_mut().zip(fences) {
            stream.fence = *fence;
            if let (false, Some(Offset(fence))) = (R::TAIL_AFTER_FENCE, fence) {
                let state = State { fenced: own, ..*stream.machine.state() };
                stream.machine = Machine::ruled(stream.machine.genesis(), state);
                stream.adopted = Some(Place { offset: Offset(fence.saturating_add(1)), state });
            }
        }
        if R::TAIL_AFTER_FENCE { self.locate(0) } else { self.sync() }
    }

    fn locate(&mut self, stream: usize) -> Effect {
        if stream < self.streams.len() {
            self.phase = Phase::Locate(stream);
            Effect::Locate { stream }
        } else if R::TAIL_AFTER_FENCE {
            self.sync()
        } else {
            self.write_fences()
        }
    }

    fn sync(&mut self) -> Effect {
        self.phase = Phase::Sync;
        Effect::Sync
    }

    /// Step 4: a known place, whose head is in the log.
    fn located(&mut self, stream: usize, located: Located) -> Effect {
        let (own, before) = (self.own, self.before);
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        let (from, state) = match located {
            Located::Beginning => (Offset(0), State::START),
            Located::Removed { low, logged } => {
                // Fences between the log's last batch and `low` may be gone. If no epoch began after that batch's,
                // there were none; otherwise nothing that the log lacks can be judged.
                reading.unplaced = logged.fenced != before;
                (low, logged)
            }
            Located::Place { place, logged } => {
                if place.state.head.map(|(_, digest)| digest) != logged {
                    return self.halt(Halt::PlaceNotLogged { stream });
                }
                (place.offset, place.state)
            }
        };
        if state.fenced > own {
            return self.check_newest(stream, state.fenced);
        }
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        if reading.fence.is_some_and(|fence| from > fence) {
            return self.halt(Halt::TopicCut { stream });
        }
        reading.machine = Machine::ruled(reading.machine.genesis(), state);
        self.phase = Phase::Read(stream);
        Effect::Read { stream, from }
    }

    /// Step 4: the same machine as a subscriber, up to the own fence.
    fn record(&mut self, stream: usize, offset: Offset, input: Option<&Input>) -> Effect {
        let own = self.own;
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        if reading.fence.is_some_and(|fence| offset > fence) {
            return self.halt(Halt::TopicCut { stream });
        }
        let at_fence = reading.fence == Some(offset);
        let step = input.map(|input| reading.machine.step(input));
        let fenced = reading.machine.state().fenced;
        match (step, input) {
            (Some(Step::Halt(finding)), _) => self.halt(Halt::Finding { stream, finding }),
            _ if fenced > own => self.check_newest(stream, fenced),
            (Some(Step::Fenced), Some(Input::Fence { epoch })) if at_fence && *epoch == own => {
                self.adopt(stream)
            }
            (Some(Step::Late), _) if at_fence => self.check_newest(stream, fenced),
            _ if at_fence => self.halt(Halt::TopicCut { stream }),
            (Some(Step::Accepted), Some(Input::Batch(facts))) => self.accepted(stream, facts),
            _ => Effect::ReadOn,
        }
    }

    /// A batch that readers accept: adopted, and appended where the log lacks it.
    fn accepted(&mut self, stream: usize, facts: &Facts) -> Effect {
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        let sequence = facts.sequence;
        match reading.logged {
            Some((logged, _)) if sequence < logged => Effect::ReadOn,
            Some((logged, digest)) if sequence == logged && facts.digest == digest => Effect::ReadOn,
            Some((logged, _)) if sequence == logged => self.halt(Halt::LogForked { stream, sequence }),
            _ if reading.unplaced => self.halt(Halt::Unplaced { stream, sequence }),
            _ if !R::ADOPTED_IS_APPENDED => Effect::ReadOn,
            _ => {
                self.phase = Phase::Append(stream, (sequence, facts.digest));
                Effect::Append { stream }
            }
        }
    }

    fn appended(&mut self, stream: usize, head: (Sequence, Digest)) -> Effect {
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        reading.logged = Some(head);
        self.phase = Phase::Read(stream);
        Effect::ReadOn
    }

    /// The own fence is reached: the head adopted there must not be behind the log's.
    fn adopt(&mut self, stream: usize) -> Effect {
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        let head = reading.machine.state().head.map(|(sequence, _)| sequence);
        if let Some((logged, _)) = reading.logged
            && head < Some(logged)
        {
            return self.halt(Halt::KafkaLost { stream, sequence: logged });
        }
        if let Some(Offset(fence)) = reading.fence {
            let offset = Offset(fence.saturating_add(1));
            reading.adopted = Some(Place { offset, state: *reading.machine.state() });
        }
        self.locate(stream.saturating_add(1))
    }

    /// The stream ended before the own fence, which Kafka had acknowledged.
    fn ended(&mut self, stream: usize) -> Effect {
        let Some(reading) = self.streams.get_mut(stream) else { return self.halt(Halt::OutOfStep) };
        if reading.fence.is_none() {
            // Only a broken variant reads without a fence of its own; it stops at the end of what there is.
            reading.adopted = Some(Place { offset: Offset(0), state: *reading.machine.state() });
            return self.locate(stream.saturating_add(1));
        }
        self.halt(Halt::TopicCut { stream })
    }

    /// A higher epoch in a stream is another process's, which the log then knows; or the log was lost.
    fn check_newest(&mut self, stream: usize, found: Epoch) -> Effect {
        self.phase = Phase::Newest { stream, found };
        Effect::CheckNewest
    }

    fn newest(&mut self, stream: usize, found: Epoch, newest: Epoch) -> Effect {
        let own = self.own;
        if newest > own { self.over(Effect::End) } else { self.halt(Halt::LogLost { stream, own, found }) }
    }
}
