//! Entries for this crate's own tests, those in `tests/` too.

use bridge_envelope::{BatchEntry, Entry, EpochEntry, Header, Mark};
use bridge_event::{Epoch, IncarnationNumber, Kind, Origin, Partition, Sequence, StreamId, UnixMicros};
use bridge_suite::{Digest, Suite, sha256};

use super::Chains;

/// The log that the tests write.
pub(crate) fn origin() -> Origin {
    "gov.example/tax/main".parse().unwrap()
}

/// A stream of the tax department.
pub(crate) fn stream(dataset: &str) -> StreamId {
    StreamId {
        department: "tax".parse().unwrap(),
        dataset: dataset.parse().unwrap(),
        partition: Partition(0),
    }
}

/// The entry that opens an epoch.
pub(crate) fn epoch(number: u64) -> Vec<u8> {
    let entry =
        EpochEntry { epoch: Epoch(number), incarnation: IncarnationNumber(1), started: UnixMicros(1) };
    Entry::Epoch(entry).encode().unwrap()
}

/// The next batch entry of a stream, after what `chains` has seen.
pub(crate) fn batch(chains: &Chains, stream: &StreamId, epoch: u64) -> Entry {
    let head = chains.head(stream);
    let sequence = head.map_or(Sequence(0), |head| head.sequence.next().unwrap());
    Entry::Batch(BatchEntry {
        suite: Suite::International,
        stream: stream.clone(),
        epoch: Epoch(epoch),
        sequence,
        digest: sha256(&[stream.topic().as_bytes(), &sequence.0.to_be_bytes()]),
        previous: head.map_or_else(|| Header::genesis(stream, &origin()), |head| head.digest),
        previous_index: head.map(|head| head.index),
        contract: Digest([3; 32]),
        kind: Kind::Stream,
        rows: 4,
        transactions_ended: 1,
        leaves_open: false,
        incarnation: IncarnationNumber(1),
        first: Mark::default(),
        last: Mark::default(),
        snapshot: None,
    })
}
