//! A snapshot's rows become chunks.

use super::{Assembler, CaptureError, Draft};
use crate::batch::{Encoded, FromCapture, Stand};
use bridge_chain::Mark;
use bridge_chain::skip::Skip;
use bridge_envelope::{ClosedBy, RowPosition, SnapshotPart};
use bridge_event::{At, Change, Generation, Kind, Token, Transaction, UnixMicros};
use connectors_source::{SnapshotRows, Stop};
use schemas::EventHead;
use std::sync::atomic::Ordering;

/// Takes a snapshot's rows for the streams that begin with one.
#[derive(Debug)]
pub(crate) struct SnapshotAssembler<'a> {
    assembler: &'a mut Assembler,
    /// For each lane that is snapshotted its generation, and the chunks closed so far.
    parts: Vec<Option<(Generation, u64)>>,
    as_of: Option<(At, Token)>,
    now: UnixMicros,
}

impl<'a> SnapshotAssembler<'a> {
    /// A snapshot of the lanes that have a generation.
    pub(crate) fn new(
        assembler: &'a mut Assembler,
        generations: &[Option<Generation>],
        now: UnixMicros,
    ) -> SnapshotAssembler<'a> {
        let parts = generations.iter().map(|generation| generation.map(|g| (g, 0))).collect();
        SnapshotAssembler { assembler, parts, as_of: None, now }
    }

    /// The source has given every row: each lane gets its last chunk, and streams from there.
    pub(crate) fn finish(mut self) -> Result<(), Stop> {
        for index in 0..self.parts.len() {
            if self.parts.get(index).is_some_and(Option::is_some) {
                self.close(index, true)?;
            }
        }
        let Some((at, _)) = self.as_of else { return Ok(()) };
        for (lane, part) in self.assembler.lanes.iter_mut().zip(&self.parts) {
            if part.is_some() {
                lane.skip = Skip::after_snapshot(Mark::end_of(at.commit));
            }
        }
        Ok(())
    }

    fn close(&mut self, index: usize, last: bool) -> Result<(), Stop> {
        let Some((at, token)) = self.as_of.clone() else { return Ok(()) };
        let Some(Some((generation, chunk))) = self.parts.get_mut(index) else { return Ok(()) };
        let stand = Stand { mark: Mark::end_of(at.commit), token };
        let Some(lane) = self.assembler.lanes.get_mut(index) else { return Ok(()) };
        let empty = lane.encoder.rows();
        let draft = std::mem::replace(&mut lane.draft, Draft { sections: empty, ..Draft::default() });
        lane.last = stand.clone();
        let as_of = RowPosition { mark: stand.mark, token: stand.token.clone() };
        let encoded = Encoded {
            stream: index,
            fragment: None,
            kind: Kind::Snapshot,
            first: stand.clone(),
            last: stand,
            continues: false,
            leaves_open: false,
            closed_by: if last { ClosedBy::Commit } else { ClosedBy::Limit },
            resolved: if last { At::end_of(at.commit) } else { At::START },
            begun: 0,
            ended: 0,
            first_commit_time: self.now,
            last_commit_time: self.now,
            row_events: draft.rows,
            truncates: 0,
            snapshot: Some(SnapshotPart { generation: *generation, as_of, chunk: *chunk, last }),
            sections: if draft.rows == 0 { Vec::new() } else { draft.sections },
        };
        *chunk = chunk.saturating_add(1);
        self.assembler.send(FromCapture::Batch(Box::new(encoded)))
    }

    /// Sends the row that was encoded last in fragments, each a chunk.
    fn take_large(&mut self, stream: usize) -> Result<(), Stop> {
        let Some((at, token)) = self.as_of.clone() else { return Ok(()) };
        let Some(lane) = self.assembler.lanes.get_mut(stream) else { return Ok(()) };
        let large =
            lane.split_large(stream, At::end_of(at.commit)).map_err(|error| self.assembler.fail(error))?;
        if self.assembler.lanes.get(stream).is_some_and(|lane| lane.draft.rows > 0) {
            self.close(stream, false)?;
        }
        let as_of = RowPosition { mark: Mark::end_of(at.commit), token: token.clone() };
        let of = large.fragments.count();
        for index in 0..of {
            let Some(Some((generation, chunk))) = self.parts.get_mut(stream) else { return Ok(()) };
            let part =
                SnapshotPart { generation: *generation, as_of: as_of.clone(), chunk: *chunk, last: false };
            *chunk = chunk.saturating_add(1);
            let stand =
                Stand { mark: Mark::fragment(At::end_of(at.commit), index, of), token: token.clone() };
            let encoded = Encoded {
                first_commit_time: self.now,
                last_commit_time: self.now,
                snapshot: Some(part),
                ..Encoded::fragment(stream, Kind::Snapshot, stand, &large, index)
            };
            self.assembler.send(FromCapture::Batch(Box::new(encoded)))?;
        }
        Ok(())
    }
}

impl SnapshotRows for SnapshotAssembler<'_> {
    fn begin(&mut self, as_of: At, token: &Token) -> Result<(), Stop> {
        self.as_of = Some((as_of, token.clone()));
        Ok(())
    }

    fn row(&mut self, change: &Change<'_>) -> Result<(), Stop> {
        let Some((at, _)) = self.as_of else { return Err(Stop) };
        if self.assembler.outlet.shutdown.is_asked() {
            // A large table takes longer than a stop may; the next start begins the snapshot anew.
            return Err(Stop);
        }
        let now = self.now;
        let limits = self.assembler.limits;
        let Some(lane) = self.assembler.lanes.get_mut(change.table) else {
            return Err(self.assembler.fail(CaptureError::NoSuchTable(change.table)));
        };
        let ordinal = change.index.saturating_add(1);
        let transaction = Transaction { number: 0, commit: at.commit, committed_at: now };
        let head = EventHead::of(change, &transaction, ordinal);
        let bytes = match lane.encoder.encode(change, &head, &mut lane.draft.sections) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.assembler.fail(error)),
        };
        self.assembler.outlet.rows.fetch_add(1, Ordering::Relaxed);
        if bytes > limits.whole_row_bytes_max() {
            return self.take_large(change.table);
        }
        lane.draft.rows = lane.draft.rows.saturating_add(1);
        lane.draft.bytes = lane.draft.bytes.saturating_add(bytes);
        let full = limits.reached(lane.draft.rows, lane.draft.bytes);
        if full { self.close(change.table, false) } else { Ok(()) }
    }
}
