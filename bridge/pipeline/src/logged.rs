//! What the log holds of a stream.

use crate::life::End;
use bridge_envelope::{BatchEntry, Entry, SnapshotPlace};
use bridge_event::{Kind, LogIndex, Sequence, StreamId};
use bridge_ledger::Log;
use bridge_suite::Digest;
use std::collections::HashMap;

/// A stream's newest batch in the log, with its exact entry.
pub(crate) struct Logged {
    pub(crate) index: LogIndex,
    pub(crate) entry: BatchEntry,
    pub(crate) bytes: Vec<u8>,
}

fn read(log: &Log, index: LogIndex) -> Result<Logged, End> {
    let bytes = log.entry(index).map_err(|error| End::Halt(error.into()))?;
    match Entry::decode(&bytes) {
        Ok(Entry::Batch(entry)) => Ok(Logged { index, entry, bytes }),
        _ => Err(End::defect(format!("entry {index} of the log is no batch"))),
    }
}

/// The stream's newest batch, `None` when the log has none.
pub(crate) fn newest(log: &Log, stream: &StreamId) -> Result<Option<Logged>, End> {
    log.head(stream).map(|head| read(log, head.index)).transpose()
}

/// The newest snapshot chunk of the stream: one walk back, to the newest entry of a snapshot. `None` when there is none, and
/// after a GAP, whose lost batches may have been chunks.
pub(crate) fn snapshot(log: &Log, stream: &StreamId) -> Result<Option<SnapshotPlace>, End> {
    let mut at = log.head(stream).map(|head| head.index);
    while let Some(index) = at {
        let Logged { entry, .. } = read(log, index)?;
        match entry.kind {
            Kind::Gap => return Ok(None),
            Kind::Snapshot => return Ok(entry.snapshot),
            _ => at = entry.previous_index,
        }
    }
    Ok(None)
}

/// The digests that the log has of the stream from `from` on, by sequence: one walk back from the newest.
pub(crate) fn digests(
    log: &Log,
    stream: &StreamId,
    from: Sequence,
) -> Result<HashMap<Sequence, Digest>, End> {
    let mut digests = HashMap::new();
    let mut at = log.head(stream).map(|head| head.index);
    while let Some(index) = at {
        let Logged { entry, .. } = read(log, index)?;
        if entry.sequence < from {
            break;
        }
        digests.insert(entry.sequence, entry.digest);
        at = entry.previous_index;
    }
    Ok(digests)
}

/// The digest that the log has at a sequence of the stream; entries name the one before, so it walks back from the newest.
pub(crate) fn digest(log: &Log, stream: &StreamId, sequence: Sequence) -> Result<Option<Digest>, End> {
    let mut at = log.head(stream).map(|head| head.index);
    while let Some(index) = at {
        let Logged { entry, .. } = read(log, index)?;
        if entry.sequence == sequence {
            return Ok(Some(entry.digest));
        }
        if entry.sequence < sequence {
            return Ok(None);
        }
        at = entry.previous_index;
    }
    Ok(None)
}
