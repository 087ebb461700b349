//! A connector's process: the shipped `Start`, `Skip`, `Outgoing` and `Cuts`, and a builder of batches around them.

use bridge_chain::cuts::Cuts;
use bridge_chain::outgoing::{Outgoing, Said};
use bridge_chain::skip::Skip;
use bridge_chain::start::{Adopted, Effect, Start};
use bridge_chain::{Facts, Mark, Place, SnapshotPlace, State};
use bridge_event::{At, Epoch, Generation, IncarnationNumber, Kind, Offset};
use bridge_suite::Digest;

use crate::flow::Flow;
use crate::script::{Event, STREAMS, Script};
use crate::topic::{Frame, Once, fingerprint};

/// The modelled source lives one life.
pub(crate) const INCARNATION: IncarnationNumber = IncarnationNumber(1);

/// A process, dead or alive.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Process<F: Flow> {
    Dead,
    Starting(Once<Starting<F>>),
    Running(Once<Running<F>>),
}

/// A process in its start sequence.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Starting<F: Flow> {
    pub(crate) start: Start<F>,
    /// The effect that it waits for.
    pub(crate) effect: Effect,
    /// The producer whose fences it waits for, and what came of them.
    pub(crate) producer: u8,
    pub(crate) fences: [Option<Offset>; STREAMS],
    /// The stream that it reads, and the next record to read.
    pub(crate) stream: usize,
    pub(crate) cursor: i64,
}

/// What waits to be sealed in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Row(Mark),
    End(u64),
}

/// A process that captures, seals, publishes, appends and acknowledges.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Running<F: Flow> {
    pub(crate) epoch: Epoch,
    pub(crate) producer: u8,
    pub(crate) outgoing: [Outgoing<F>; STREAMS],
    skip: [Skip<F>; STREAMS],
    pub(crate) cuts: Cuts<F>,
    /// Generation and next chunk of the snapshots that are under way.
    snapshots: [Option<(Generation, u64)>; STREAMS],
    /// The next event of the source.
    pub(crate) cursor: usize,
    /// The last whole transaction captured.
    captured: u64,
    pub(crate) pending: [Vec<Item>; STREAMS],
    /// What the last beacon of each stream said, and how many there were.
    pub(crate) said: [Option<Said>; STREAMS],
    pub(crate) beacons: [u8; STREAMS],
}

impl<F: Flow> Running<F> {
    /// Step 5 of the start: go on from the adopted heads.
    pub(crate) fn new(
        epoch: Epoch,
        producer: u8,
        adopted: Vec<Adopted<F>>,
        acknowledged: u64,
        script: &Script,
    ) -> Result<Running<F>, String> {
        let heads: Vec<_> = adopted.iter().map(|stream| stream.place.state.head.map(|(n, _)| n)).collect();
        let tails: Vec<_> = adopted.iter().map(|stream| stream.place.state).collect();
        let skip = |stream: usize| {
            let tail = if F::SKIP_BY_OWN_TAIL { &tails[stream] } else { &tails[0] };
            Skip::ruled(tail, INCARNATION).map_err(|e| format!("false alarm: {e}"))
        };
        let skip = [skip(0)?, skip(1)?];
        let snapshot = |stream: usize| match &tails[stream] {
            _ if script.chunks[stream] == 0 => None,
            State { head: None, .. } => Some((Generation(1), 0)),
            State { snapshot: Some(before), .. } if !before.last => F::snapshot_again(*before),
            _ => None,
        };
        let snapshots = [snapshot(0), snapshot(1)];
        let mut outgoing = adopted.into_iter().map(Outgoing::new);
        Ok(Running {
            epoch,
            producer,
            outgoing: [outgoing.next().unwrap(), outgoing.next().unwrap()],
            skip,
            cuts: Cuts::ruled(&heads, At::end_of(acknowledged)),
            snapshots,
            cursor: script.resume(acknowledged),
            captured: acknowledged,
            pending: Default::default(),
            said: [None; STREAMS],
            beacons: [0; STREAMS],
        })
    }

    fn rows_pending(&self, stream: usize) -> usize {
        self.pending[stream].iter().filter(|item| matches!(item, Item::Row(_))).count()
    }

    /// Whether the next event finds room.
    pub(crate) fn can_capture(&self, script: &Script) -> bool {
        if self.snapshots.iter().any(Option::is_some) {
            return false;
        }
        match script.events.get(self.cursor) {
            None => false,
            Some(Event::End { .. }) => true,
            Some(Event::Row { stream, mark }) => {
                // A last part without rows is a batch of its own: the header names what it continues by its first row.
                let alone = matches!(self.pending[*stream].first(), Some(Item::End(_)));
                self.skip[*stream].has(*mark)
                    || (!alone && self.rows_pending(*stream) < script.batch_rows_max)
            }
        }
    }

    /// Captures one event.
    pub(crate) fn capture(&mut self, script: &Script) -> Result<(), String> {
        let event = script.events[self.cursor];
        let begins = self.cursor == 0 || script.events[self.cursor - 1].commit() != event.commit();
        if begins {
            for skip in &self.skip {
                skip.begins(event.commit()).map_err(|e| format!("false alarm: {e}"))?;
            }
        }
        self.cursor += 1;
        match event {
            Event::Row { stream, mark } => {
                if !self.skip[stream].has(mark) {
                    self.pending[stream].push(Item::Row(mark));
                }
            }
            Event::End { commit } => self.end(commit),
        }
        Ok(())
    }

    /// At its commit every stream that has the transaction open gets its last part, without rows if need be.
    fn end(&mut self, commit: u64) {
        let mut needs = [None; STREAMS];
        for (stream, need) in needs.iter_mut().enumerate() {
            let pending =
                self.pending[stream].iter().any(|i| matches!(i, Item::Row(m) if m.commit == commit));
            let owed = self.skip[stream].owes_last_part(self.outgoing[stream].open(), commit);
            if pending || (owed && F::END_IN_EVERY_OPEN_STREAM) {
                self.pending[stream].push(Item::End(commit));
                *need = self.outgoing[stream].next().map(|(sequence, _)| sequence);
            } else if self.outgoing[stream].outstanding() > 0
                && self.outgoing[stream].sealed_state().snapshot.is_some()
            {
                // What a snapshot stands for is in the log when its last chunk is.
                *need = self.outgoing[stream].sealed_state().head.map(|(sequence, _)| sequence);
            }
        }
        self.captured = commit;
        self.cuts.transaction(At::end_of(commit), &needs);
    }

    /// Whether a batch may be closed now: it is full, it ends on a commit boundary, or (`any`) its time is over.
    pub(crate) fn can_seal(&self, stream: usize, any: bool, script: &Script) -> bool {
        let pending = &self.pending[stream];
        let full = self.rows_pending(stream) == script.batch_rows_max;
        let boundary = matches!(pending.last(), Some(Item::End(_)));
        let waits = !pending.is_empty() && (full || boundary || any);
        (waits || self.snapshots[stream].is_some()) && self.outgoing[stream].outstanding() < 2
    }

    /// Closes a snapshot's next chunk.
    fn seal_chunk(
        &mut self,
        stream: usize,
        (generation, chunk): (Generation, u64),
        script: &Script,
    ) -> Result<Once<Frame>, String> {
        let lost = !F::EVERY_CHUNK_IS_SENT && chunk == 1 && script.chunks[stream] > 2;
        let chunk = if lost { 2 } else { chunk };
        let last = chunk + 1 >= script.chunks[stream];
        let as_of = script.as_of(self.epoch);
        let (end, resolved) = (Mark::end_of(as_of), if last { as_of } else { 0 });
        let facts = Facts {
            kind: Kind::Snapshot,
            first: end,
            last: end,
            rows: 1,
            snapshot: Some(SnapshotPlace { generation, chunk, last }),
            ..self.rowless(stream)
        };
        self.snapshots[stream] = (!last).then_some((generation, chunk + 1));
        if last {
            self.skip[stream] = Skip::ruled_after_snapshot(end);
        }
        self.sealed(stream, facts, vec![Script::chunk(as_of, chunk)], resolved)
    }

    /// The next batch of a stream, before anything is said of its rows.
    fn rowless(&self, stream: usize) -> Facts {
        let outgoing = &self.outgoing[stream];
        let (sequence, previous) = outgoing.next().unwrap();
        let repeated = outgoing.sealed_state().last.mark;
        Facts {
            epoch: self.epoch,
            sequence,
            digest: Digest::ZERO,
            previous,
            kind: Kind::Stream,
            incarnation: INCARNATION,
            first: repeated,
            last: repeated,
            rows: 0,
            continues: false,
            leaves_open: false,
            begun: 0,
            ended: 0,
            snapshot: None,
            lost: Vec::new(),
            lost_previous: Digest::ZERO,
            voids: Vec::new(),
        }
    }

    fn sealed(
        &mut self,
        stream: usize,
        mut facts: Facts,
        rows: Vec<Mark>,
        resolved: u64,
    ) -> Result<Once<Frame>, String> {
        // The producer's number stands for the batch nonce: no two lives seal the same bytes.
        let print = fingerprint(&(&facts, self.producer));
        facts.digest.0[..8].copy_from_slice(&print.to_be_bytes());
        self.outgoing[stream].seal(facts.clone(), At::end_of(resolved)).map_err(|e| {
            format!("false alarm: the connector's own batch of stream {stream} is refused: {e}")
        })?;
        Ok(Once::new(Frame::Batch { facts, rows, resolved }))
    }

    /// Closes the batch.
    pub(crate) fn seal(&mut self, stream: usize, script: &Script) -> Result<Once<Frame>, String> {
        if let Some(chunk) = self.snapshots[stream] {
            return self.seal_chunk(stream, chunk, script);
        }
        let items = std::mem::take(&mut self.pending[stream]);
        let rows: Vec<Mark> =
            items.iter().filter_map(|i| if let Item::Row(mark) = i { Some(*mark) } else { None }).collect();
        let before = self.outgoing[stream].open();
        let mut open = before.map(|open| open.commit);
        let (mut begun, mut ended) = (0, 0);
        for item in &items {
            match item {
                Item::Row(mark) if open == Some(mark.commit) => {}
                Item::Row(mark) => {
                    begun += 1;
                    open = Some(mark.commit);
                }
                Item::End(_) => {
                    ended += 1;
                    open = None;
                }
            }
        }
        let mut facts = self.rowless(stream);
        facts.first = rows.first().copied().unwrap_or(facts.first);
        facts.last = rows.last().copied().unwrap_or(facts.last);
        facts.rows = u64::try_from(rows.len()).unwrap();
        (facts.continues, facts.leaves_open) = (before.is_some(), open.is_some());
        (facts.begun, facts.ended) = (begun, ended);
        let resolved = self.captured;
        self.sealed(stream, facts, rows, resolved)
    }

    /// What a beacon sent now says.
    pub(crate) fn say(&self, stream: usize) -> Said {
        let captured = self.pending[stream].is_empty().then(|| At::end_of(self.captured));
        self.outgoing[stream].said(captured)
    }

    pub(crate) fn beacon(&mut self, stream: usize) -> Once<Frame> {
        let said = self.say(stream);
        self.said[stream] = Some(said);
        self.beacons[stream] += 1;
        let Said { head, place, resolved } = said;
        Once::new(Frame::Beacon { epoch: self.epoch, head, place, resolved: resolved.commit })
    }

    /// Kafka acknowledged one of this process's batches or beacons.
    pub(crate) fn acknowledged(&mut self, stream: usize, frame: &Frame, offset: usize) -> Result<(), String> {
        match frame {
            Frame::Batch { facts, resolved, .. } => {
                let offset = Offset(i64::try_from(offset).unwrap());
                self.outgoing[stream].acknowledged(facts.sequence, offset).map_err(|e| e.to_string())?;
                if let Some((sequence, _)) = self.outgoing[stream].head() {
                    self.cuts.published(stream, sequence);
                }
                self.cuts.resolved(stream, At::end_of(*resolved));
            }
            Frame::Beacon { resolved, .. } => self.cuts.resolved(stream, At::end_of(*resolved)),
            Frame::Fence { .. } => {}
        }
        Ok(())
    }

    /// Whether a source transaction is open: one being captured, or one taken over that was not sent again.
    pub(crate) fn transaction_open(&self, script: &Script) -> bool {
        self.inside(script).is_some() || self.outgoing.iter().any(|outgoing| outgoing.open().is_some())
    }

    /// The transaction in whose middle the capture stands.
    pub(crate) fn inside(&self, script: &Script) -> Option<u64> {
        let last = script.events[..self.cursor].last()?;
        matches!(last, Event::Row { .. }).then(|| last.commit()).filter(|commit| *commit > self.captured)
    }

    /// Whether everything is captured, sealed and appended.
    pub(crate) fn drained(&self, script: &Script) -> bool {
        self.cursor == script.events.len()
            && self.snapshots.iter().all(Option::is_none)
            && self.pending.iter().all(Vec::is_empty)
            && self.outgoing.iter().all(|outgoing| outgoing.outstanding() == 0)
    }
}

impl<F: Flow> Starting<F> {
    pub(crate) fn new() -> Starting<F> {
        let (start, effect) = Start::ruled(&[Digest::ZERO; STREAMS]);
        Starting { start, effect, producer: 0, fences: [None; STREAMS], stream: 0, cursor: 0 }
    }
}

/// Digests at hand play no part in a connector after its start; without them equal states meet.
pub(crate) fn forget<F: Flow>(adopted: Vec<Adopted<F>>) -> Vec<Adopted<F>> {
    let forget = |stream: Adopted<F>| {
        let place: Place = stream.place;
        Adopted { place, machine: bridge_chain::Machine::ruled(stream.machine.genesis(), place.state) }
    };
    adopted.into_iter().map(forget).collect()
}
