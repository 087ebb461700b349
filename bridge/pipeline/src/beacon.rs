//! Beacons: what a stream says of itself while it lives.

use crate::life::{End, Life};
use crate::seal::ToSeal;
use crate::streams::Sending;
use bridge_envelope::{Appended, Beacon, Head, sign_beacon};
use bridge_event::{LogIndex, Sequence, UnixMicros};
use bridge_ledger::TileReader;
use bridge_suite::Digest;
use std::collections::VecDeque;

/// A batch of a stream that stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct InLog {
    pub(crate) index: LogIndex,
    pub(crate) sequence: Sequence,
    pub(crate) entry: Vec<u8>,
}

/// The newest checkpoint that was signed, with the cosignatures that were gathered.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) size: u64,
    pub(crate) cosignatures: usize,
    pub(crate) note: String,
}

/// What the appending thread remembers of a stream for its beacons.
#[derive(Debug, Default)]
pub(crate) struct Lamp {
    /// Batches in the log, the oldest first; those before the newest one under the checkpoint are forgotten.
    in_log: VecDeque<InLog>,
    batches: u64,
    bytes: usize,
    /// Which checkpoint the last beacon told, and when it was sent.
    told: Option<(u64, usize)>,
    sent: Option<UnixMicros>,
}

impl Lamp {
    /// A batch was appended.
    pub(crate) fn appended(&mut self, batch: InLog, bytes: usize) {
        self.in_log.push_back(batch);
        self.batches = self.batches.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether the stream owes a beacon: many batches or bytes since the last one, a checkpoint that covers something
    /// new and was not told yet, or time.
    pub(crate) fn owes(&self, checkpoint: Option<&Published>, now: UnixMicros, idle_ms: u64) -> bool {
        let idle = i64::try_from(idle_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        self.batches >= crate::settings::BEACON_BATCHES_MAX
            || self.bytes >= crate::settings::BEACON_BYTES_MAX
            || checkpoint.is_some_and(|c| self.told != Some((c.size, c.cosignatures)))
            || self.sent.is_none_or(|sent| now.0.saturating_sub(sent.0) >= idle)
    }

    /// When the last beacon was sent.
    pub(crate) fn sent(&self) -> Option<UnixMicros> {
        self.sent
    }

    /// The newest batch under the checkpoint; those before it are forgotten.
    fn covered(&mut self, checkpoint: &Published) -> Option<InLog> {
        while self.in_log.get(1).is_some_and(|next| next.index.0 < checkpoint.size) {
            self.in_log.pop_front();
        }
        self.in_log.front().filter(|batch| batch.index.0 < checkpoint.size).cloned()
    }
}

/// The inclusion path of an entry at a published checkpoint's size, from the tiles as readers see them.
fn proof(life: &Life<'_>, index: LogIndex, size: u64) -> Result<Vec<Digest>, End> {
    let dir = life.log(|log| log.dir().to_path_buf());
    let tiles = TileReader::directory(&dir);
    bridge_tlog::inclusion_proof(index.0, size, &tiles.hashes(size)).map_err(End::defect)
}

/// Builds a beacon of the stream and hands it to the sealing thread.
pub(crate) fn send(
    life: &Life<'_>,
    stream: usize,
    lamp: &mut Lamp,
    checkpoint: Option<&Published>,
    now: UnixMicros,
) -> Result<(), End> {
    let (frame, resolved, covers) = build(life, stream, lamp, checkpoint, now)?;
    lamp.batches = 0;
    lamp.bytes = 0;
    lamp.told = checkpoint.map(|c| (c.size, c.cosignatures));
    lamp.sent = Some(now);
    life.metrics().beacon(stream);
    life.send(ToSeal::Beacon { stream, frame, resolved, covers })
}

/// A beacon's frame, the resolved position in it, and the batch that it proves to be in the log.
pub(crate) fn build(
    life: &Life<'_>,
    stream: usize,
    lamp: &mut Lamp,
    checkpoint: Option<&Published>,
    now: UnixMicros,
) -> Result<(Vec<u8>, bridge_event::At, Option<Sequence>), End> {
    let plan = life.plan(stream)?;
    let appended = match checkpoint {
        Some(checkpoint) => lamp.covered(checkpoint).map(|batch| (batch, checkpoint)),
        None => None,
    };
    let covers = appended.as_ref().map(|(batch, _)| batch.sequence);
    let appended = match appended {
        None => None,
        Some((batch, checkpoint)) => Some(Appended {
            path: proof(life, batch.index, checkpoint.size)?,
            entry: batch.entry,
            index: batch.index,
            checkpoint: checkpoint.note.clone(),
        }),
    };
    let said = life.streams(|streams| {
        let captured = streams.captured_to();
        streams.sending.get(stream).map(|sending: &Sending| {
            let said = sending.outgoing.said(captured);
            (said, sending.head_last.clone())
        })
    });
    let Some((said, head_last)) = said else {
        return Err(End::Halt(crate::ConnectorError::NoSuchStream(stream)));
    };
    let idle = i64::try_from(life.intervals().idle_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    let beacon = Beacon {
        origin: life.origin().clone(),
        stream: plan.stream.clone(),
        epoch: life.epoch(),
        incarnation: life.incarnation(),
        head: said.head.map(|(sequence, digest)| Head { sequence, digest, last: head_last }),
        place: said.place.wire(),
        resolved: said.resolved,
        appended,
        clock: now,
        next_due: UnixMicros(now.0.saturating_add(idle)),
    };
    let signed = sign_beacon(beacon, &[life.signing_key()]).map_err(End::defect)?;
    Ok((signed.into_frame(), said.resolved, covers))
}
