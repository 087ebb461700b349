//! The rule that a checking witness cosigns by, and that a log keeps for itself before it writes.
//!
//! In every stream: sequences are dense from 0, digests chain from the stream's genesis, each entry names the one before
//! by its index, epochs never fall over the stream's batch entries, and so there is one entry for each sequence. Epoch
//! entries rise over the whole log. No I/O here; `docs/spec/log-entry.md` has the entries.

use std::collections::BTreeMap;

use bridge_envelope::{BatchEntry, Entry, Header};
use bridge_event::{Epoch, LogIndex, Origin, Sequence, StreamId};
use bridge_suite::Digest;
use serde::{Deserialize, Serialize};

/// Most streams of one log: 16,384, far more than a department's tables. A witness keeps at most 512 bytes of each, 8 MiB
/// of the 64 that its state may have: a log cannot grow a state that the next start could not read.
const STREAMS_MAX: usize = 16_384;

/// The newest batch entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The batch's number.
    pub sequence: Sequence,
    /// The batch's digest.
    pub digest: Digest,
    /// Where its entry stands.
    pub index: LogIndex,
    /// The epoch that it was written in.
    pub epoch: Epoch,
}

/// An entry that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The entry is not one.
    #[error("entry {index} is not a log entry: {reason}")]
    Malformed {
        /// Where it stands.
        index: LogIndex,
        /// What is wrong with it.
        reason: String,
    },
    /// The sequence is not the next one.
    #[error("entry {index} has sequence {found} of {stream}, and {wanted} comes next")]
    Sequence {
        /// Where it stands.
        index: LogIndex,
        /// Its stream.
        stream: StreamId,
        /// The next sequence of the stream.
        wanted: Sequence,
        /// Its sequence.
        found: Sequence,
    },
    /// A second entry for a sequence that the stream has: a second chain, or the same batch twice.
    #[error(
        "entry {index} is a second one for sequence {sequence} of {stream}, which entry {first} or one before it holds"
    )]
    Second {
        /// Where it stands.
        index: LogIndex,
        /// Its stream.
        stream: StreamId,
        /// Its sequence.
        sequence: Sequence,
        /// The stream's newest entry.
        first: LogIndex,
    },
    /// The digest of the batch before is another one.
    #[error("entry {index} of {stream} does not chain: it follows {found}, and the batch before is {wanted}")]
    Previous {
        /// Where it stands.
        index: LogIndex,
        /// Its stream.
        stream: StreamId,
        /// The digest of the stream's newest batch.
        wanted: Digest,
        /// The one that the entry names.
        found: Digest,
    },
    /// The index of the entry before is another one.
    #[error("entry {index} of {stream} does not name the entry before it")]
    PreviousIndex {
        /// Where it stands.
        index: LogIndex,
        /// Its stream.
        stream: StreamId,
    },
    /// The epoch is lower than that of the entry before.
    #[error("entry {index} of {stream} has epoch {found}, and the one before it {newest}")]
    EpochFalls {
        /// Where it stands.
        index: LogIndex,
        /// Its stream.
        stream: StreamId,
        /// The epoch of the stream's newest entry.
        newest: Epoch,
        /// Its epoch.
        found: Epoch,
    },
    /// A stream more than a log may have.
    #[error("entry {index} begins the stream {stream}, and a log has at most {STREAMS_MAX}")]
    Streams {
        /// Where it stands.
        index: LogIndex,
        /// The stream.
        stream: StreamId,
    },
    /// An epoch entry that does not rise.
    #[error("entry {index} opens epoch {found}, and {newest} was open")]
    EpochNotHigher {
        /// Where it stands.
        index: LogIndex,
        /// The newest epoch of the log.
        newest: Epoch,
        /// The epoch of the entry.
        found: Epoch,
    },
}

/// What the rule needs to know of the entries so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chains {
    origin: Origin,
    next: LogIndex,
    epoch: Option<(Epoch, LogIndex)>,
    heads: BTreeMap<StreamId, ChainHead>,
}

impl Chains {
    /// A log without entries.
    pub fn new(origin: Origin) -> Chains {
        Chains { origin, next: LogIndex(0), epoch: None, heads: BTreeMap::new() }
    }

    /// Takes the next entry, if it keeps the rule.
    ///
    /// # Errors
    /// How it breaks the rule; nothing has changed.
    pub fn take(&mut self, entry: &[u8]) -> Result<Entry, Violation> {
        let index = self.next;
        let decoded = Entry::decode(entry)
            .map_err(|error| Violation::Malformed { index, reason: error.to_string() })?;
        match &decoded {
            Entry::Epoch(begun) => {
                if let Some((newest, _)) = self.epoch.filter(|(newest, _)| *newest >= begun.epoch) {
                    return Err(Violation::EpochNotHigher { index, newest, found: begun.epoch });
                }
                self.epoch = Some((begun.epoch, index));
            }
            Entry::Batch(batch) => {
                let head = self.follow(index, batch)?;
                self.heads.insert(batch.stream.clone(), head);
            }
            _ => {}
        }
        self.next = LogIndex(index.0.saturating_add(1));
        Ok(decoded)
    }

    /// The head that a stream has after this batch.
    fn follow(&self, index: LogIndex, batch: &BatchEntry) -> Result<ChainHead, Violation> {
        let stream = || batch.stream.clone();
        let head = self.heads.get(&batch.stream);
        if let Some(head) = head.filter(|head| batch.sequence <= head.sequence) {
            return Err(Violation::Second {
                index,
                stream: stream(),
                sequence: batch.sequence,
                first: head.index,
            });
        }
        if head.is_none() && self.heads.len() >= STREAMS_MAX {
            return Err(Violation::Streams { index, stream: stream() });
        }
        let wanted =
            head.map_or(Some(Sequence(0)), |head| head.sequence.next()).unwrap_or(Sequence(u64::MAX));
        if batch.sequence != wanted {
            return Err(Violation::Sequence { index, stream: stream(), wanted, found: batch.sequence });
        }
        let previous = head.map_or_else(|| Header::genesis(&batch.stream, &self.origin), |head| head.digest);
        if batch.previous != previous {
            return Err(Violation::Previous {
                index,
                stream: stream(),
                wanted: previous,
                found: batch.previous,
            });
        }
        if batch.previous_index != head.map(|head| head.index) {
            return Err(Violation::PreviousIndex { index, stream: stream() });
        }
        if let Some(head) = head.filter(|head| batch.epoch < head.epoch) {
            return Err(Violation::EpochFalls {
                index,
                stream: stream(),
                newest: head.epoch,
                found: batch.epoch,
            });
        }
        Ok(ChainHead { sequence: batch.sequence, digest: batch.digest, index, epoch: batch.epoch })
    }

    /// Entries so far.
    pub fn size(&self) -> u64 {
        self.next.0
    }

    /// The newest epoch entry, and where it stands.
    pub fn epoch(&self) -> Option<(Epoch, LogIndex)> {
        self.epoch
    }

    /// The newest batch entry of a stream.
    pub fn head(&self, stream: &StreamId) -> Option<&ChainHead> {
        self.heads.get(stream)
    }

    /// The newest batch entry of every stream.
    pub fn heads(&self) -> impl Iterator<Item = (&StreamId, &ChainHead)> {
        self.heads.iter()
    }

    /// What is stored of it.
    pub(crate) fn record(&self) -> ChainsRecord {
        ChainsRecord {
            size: self.next.0,
            epoch: self.epoch.map(|(epoch, index)| (epoch.0, index.0)),
            streams: self.heads.iter().map(StreamRecord::of).collect(),
        }
    }

    /// The same as it was when it was stored; none when the record makes no sense.
    pub(crate) fn of_record(origin: Origin, record: &ChainsRecord) -> Option<Chains> {
        let heads = record.streams.iter().map(StreamRecord::read).collect::<Option<_>>()?;
        let epoch = record.epoch.map(|(epoch, index)| (Epoch(epoch), LogIndex(index)));
        Some(Chains { origin, next: LogIndex(record.size), epoch, heads })
    }
}

/// [`Chains`] as it stands in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChainsRecord {
    pub(crate) size: u64,
    epoch: Option<(u64, u64)>,
    streams: Vec<StreamRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamRecord {
    department: String,
    dataset: String,
    partition: u32,
    sequence: u64,
    digest: String,
    index: u64,
    epoch: u64,
}

impl StreamRecord {
    fn of((stream, head): (&StreamId, &ChainHead)) -> StreamRecord {
        StreamRecord {
            department: stream.department.to_string(),
            dataset: stream.dataset.to_string(),
            partition: stream.partition.0,
            sequence: head.sequence.0,
            digest: head.digest.to_string(),
            index: head.index.0,
            epoch: head.epoch.0,
        }
    }

    fn read(&self) -> Option<(StreamId, ChainHead)> {
        let stream = StreamId {
            department: self.department.parse().ok()?,
            dataset: self.dataset.parse().ok()?,
            partition: bridge_event::Partition(self.partition),
        };
        let head = ChainHead {
            sequence: Sequence(self.sequence),
            digest: self.digest.parse().ok()?,
            index: LogIndex(self.index),
            epoch: Epoch(self.epoch),
        };
        Some((stream, head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{batch, epoch, origin, stream};

    /// A log with an epoch entry and two batches of one stream; then one more entry, changed by `change`.
    fn after(change: impl FnOnce(&mut BatchEntry)) -> Result<Entry, Violation> {
        let mut chains = Chains::new(origin());
        chains.take(&epoch(5)).unwrap();
        let first = batch(&chains, &stream("payments"), 5);
        chains.take(&first.encode().unwrap()).unwrap();
        let second = batch(&chains, &stream("payments"), 5);
        chains.take(&second.encode().unwrap()).unwrap();
        let Entry::Batch(mut third) = batch(&chains, &stream("payments"), 6) else { panic!() };
        change(&mut third);
        let before = chains.clone();
        let outcome = chains.take(&Entry::Batch(third).encode().unwrap());
        assert_eq!(outcome.is_err(), chains == before);
        outcome
    }

    #[test]
    fn each_field_wrong_once_is_a_violation_of_its_own() {
        assert!(after(|_| {}).is_ok());
        type Change = fn(&mut BatchEntry);
        type Expected = fn(&Violation) -> bool;
        let table: [(&str, Change, Expected); 8] = [
            (
                "ahead",
                |b| b.sequence = Sequence(3),
                |v| matches!(v, Violation::Sequence { wanted: Sequence(2), .. }),
            ),
            (
                "again",
                |b| b.sequence = Sequence(1),
                |v| matches!(v, Violation::Second { first: LogIndex(2), .. }),
            ),
            ("long ago", |b| b.sequence = Sequence(0), |v| matches!(v, Violation::Second { .. })),
            ("other digest", |b| b.previous = Digest([9; 32]), |v| matches!(v, Violation::Previous { .. })),
            (
                "older index",
                |b| b.previous_index = Some(LogIndex(1)),
                |v| matches!(v, Violation::PreviousIndex { .. }),
            ),
            ("no index", |b| b.previous_index = None, |v| matches!(v, Violation::PreviousIndex { .. })),
            (
                "epoch falls",
                |b| b.epoch = Epoch(4),
                |v| matches!(v, Violation::EpochFalls { newest: Epoch(5), .. }),
            ),
            (
                "mid-life",
                |b| b.stream = stream("refunds"),
                |v| matches!(v, Violation::Sequence { wanted: Sequence(0), .. }),
            ),
        ];
        for (name, change, expected) in table {
            let violation = after(change).unwrap_err();
            assert!(expected(&violation), "{name}: {violation}");
        }
    }

    #[test]
    fn a_stream_begins_at_its_genesis_in_this_log() {
        let mut chains = Chains::new(origin());
        let Entry::Batch(mut first) = batch(&chains, &stream("payments"), 1) else { panic!() };
        first.previous = Header::genesis(&first.stream, &"gov.example/tax/other".parse().unwrap());
        let bytes = Entry::Batch(first).encode().unwrap();
        assert!(matches!(chains.take(&bytes), Err(Violation::Previous { .. })));
    }

    #[test]
    fn two_chains_of_one_stream_are_refused_and_two_streams_are_not() {
        let mut chains = Chains::new(origin());
        for dataset in ["payments", "refunds", "payments"] {
            let entry = batch(&chains, &stream(dataset), 1);
            chains.take(&entry.encode().unwrap()).unwrap();
        }
        assert_eq!(chains.head(&stream("payments")).unwrap().sequence, Sequence(1));
        let mut other = Chains::new(origin());
        let Entry::Batch(mut fork) = batch(&other, &stream("payments"), 1) else { panic!() };
        fork.digest = Digest([8; 32]);
        other.take(&Entry::Batch(fork.clone()).encode().unwrap()).unwrap();
        assert!(matches!(chains.take(&Entry::Batch(fork).encode().unwrap()), Err(Violation::Second { .. })));
    }

    #[test]
    fn epoch_entries_rise_and_what_is_no_entry_is_refused() {
        let mut chains = Chains::new(origin());
        chains.take(&epoch(2)).unwrap();
        for low in [1, 2] {
            assert!(matches!(
                chains.take(&epoch(low)),
                Err(Violation::EpochNotHigher { newest: Epoch(2), .. })
            ));
        }
        chains.take(&epoch(7)).unwrap();
        assert_eq!(chains.epoch(), Some((Epoch(7), LogIndex(1))));
        for bad in [&b""[..], b"\x09", b"\x02rubbish"] {
            assert!(matches!(chains.take(bad), Err(Violation::Malformed { index: LogIndex(2), .. })));
        }
    }

    #[test]
    fn a_log_cannot_begin_so_many_streams_that_a_state_could_not_be_read_again() {
        let mut chains = Chains::new(origin());
        let long = "d".repeat(50);
        for number in 0..STREAMS_MAX {
            let entry = batch(&chains, &stream(&format!("{long}-{number}")), 1);
            chains.take(&entry.encode().unwrap()).unwrap();
        }
        let more = batch(&chains, &stream("one-more"), 1).encode().unwrap();
        assert!(matches!(chains.take(&more), Err(Violation::Streams { .. })));
        let known = batch(&chains, &stream(&format!("{long}-7")), 1).encode().unwrap();
        chains.take(&known).unwrap();
        let bytes = crate::stored::write("kind", &chains.record()).unwrap().len() as u64;
        assert!(bytes < crate::stored::STORED_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn a_stored_state_comes_back() {
        let mut chains = Chains::new(origin());
        chains.take(&epoch(2)).unwrap();
        let entry = batch(&chains, &stream("payments"), 2);
        chains.take(&entry.encode().unwrap()).unwrap();
        let text = serde_json::to_string(&chains.record()).unwrap();
        let again = Chains::of_record(origin(), &serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(again, chains);
    }
}
