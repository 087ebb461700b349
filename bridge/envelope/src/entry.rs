//! Log entries: what the log holds of batches, keys and contracts.
//!
//! ```text
//! type    u8    1 epoch, 2 batch, 3 key record, 4 rewrap, 5 contract, 6 incarnation, 7 mark, 8 trust
//! body    Avro, a fixed schema for each type
//! ```
//!
//! A batch's entry is computed from its header and the index of the stream's entry before; nothing in it is personal.

use bridge_event::{
    At, Dataset, Epoch, IncarnationNumber, Kind, LogIndex, Partition, Sequence, StreamId, UnixMicros,
};
use bridge_suite::{Digest, Suite};

use crate::contract_record::ContractRecord;
use crate::header::read_kind;
use crate::incarnation_record::IncarnationRecord;
use crate::key_record::{KeyRecord, Rewrap};
use crate::mark::{read_mark, write_mark};
use crate::signed::{CONTRACT, INCARNATION, KEY_RECORD, REWRAP};
use crate::wire::{Reader, Writer};
use crate::{BatchRef, Header, Mark, ParseError, SealError, SnapshotPlace};

/// Longest log entry, in bytes: an entry bundle (C2SP tlog-tiles) gives its length 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Most streams of one mark: 64 KiB hold fewer than this of 7 bytes and more.
const MARK_STREAMS_MAX: usize = 9400;

/// The beginning of a connector's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch: 1 + the newest in the log.
    pub epoch: Epoch,
    /// The source's incarnation.
    pub incarnation: IncarnationNumber,
    /// When the connector started, by its clock.
    pub started: UnixMicros,
}

/// What the log holds of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The stream's suite.
    pub suite: Suite,
    /// The stream.
    pub stream: StreamId,
    /// The connector's life.
    pub epoch: Epoch,
    /// The batch's number.
    pub sequence: Sequence,
    /// The batch's digest.
    pub digest: Digest,
    /// The digest of the batch before.
    pub previous: Digest,
    /// The log index of the stream's entry before, `None` for the first.
    pub previous_index: Option<LogIndex>,
    /// SHA-256 of the exact contract file.
    pub contract: Digest,
    /// What the batch is for.
    pub kind: Kind,
    /// Its events.
    pub rows: u64,
    /// Source transactions that end in it.
    pub transactions_ended: u64,
    /// Whether it leaves a source transaction open.
    pub leaves_open: bool,
    /// The source's incarnation.
    pub incarnation: IncarnationNumber,
    /// Its first position.
    pub first: Mark,
    /// Its last position.
    pub last: Mark,
    /// Generation, chunk and end of a snapshot batch, `None` in every other one: so that the log alone tells the
    /// stream's state.
    pub snapshot: Option<SnapshotPlace>,
}

/// Where every stream of a log stood at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkEntry {
    /// When, by the connector's clock.
    pub time: UnixMicros,
    /// The log's streams.
    pub streams: Vec<StreamMark>,
}

/// Where one stream stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMark {
    /// The dataset.
    pub dataset: Dataset,
    /// The partition.
    pub partition: Partition,
    /// Its head.
    pub head: Option<BatchRef>,
    /// Up to here every change is in a batch up to the head.
    pub resolved: At,
}

/// A version of the trust file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustEntry {
    /// The version.
    pub version: u64,
    /// The digest of its note.
    pub digest: Digest,
}

/// One entry of a connector's log.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every entry of a log is a batch, so a box would cost one for each"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A connector's life begins.
    Epoch(EpochEntry),
    /// A batch was published.
    Batch(BatchEntry),
    /// A key record's whole frame.
    KeyRecord(Vec<u8>),
    /// A rewrap's whole frame.
    Rewrap(Vec<u8>),
    /// A contract record's whole frame.
    Contract(Vec<u8>),
    /// An incarnation record's whole frame.
    Incarnation(Vec<u8>),
    /// Where every stream stands.
    Mark(MarkEntry),
    /// A version of the trust file.
    Trust(TrustEntry),
}

impl BatchEntry {
    /// The entry of a batch. `digest` is the received or sealed batch's own.
    pub fn of(header: &Header, digest: Digest, previous_index: Option<LogIndex>) -> BatchEntry {
        BatchEntry {
            suite: header.suite,
            stream: header.stream.clone(),
            epoch: header.epoch,
            sequence: header.sequence,
            digest,
            previous: header.previous,
            previous_index,
            contract: header.contract,
            kind: header.kind,
            rows: header.rows(),
            transactions_ended: header.transactions_ended,
            leaves_open: header.leaves_open,
            incarnation: header.incarnation,
            first: header.first.mark,
            last: header.last.mark,
            snapshot: header.snapshot.as_ref().map(SnapshotPlace::of),
        }
    }

    fn write(&self, w: &mut Writer) {
        w.small(self.suite.number().into());
        w.text(self.stream.department.as_str());
        w.text(self.stream.dataset.as_str());
        w.small(self.stream.partition.0);
        w.unsigned(self.epoch.0);
        w.unsigned(self.sequence.0);
        w.digest(&self.digest);
        w.digest(&self.previous);
        // -1 where there is none: no log has 2^64 entries.
        w.unsigned(self.previous_index.map_or(u64::MAX, |index| index.0));
        w.digest(&self.contract);
        w.small(self.kind.number().into());
        w.unsigned(self.rows);
        w.unsigned(self.transactions_ended);
        w.boolean(self.leaves_open);
        w.small(self.incarnation.0);
        write_mark(&self.first, w);
        write_mark(&self.last, w);
        w.option(self.snapshot, |w, snapshot| snapshot.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<BatchEntry, ParseError> {
        let suite = Suite::from_number(r.short("suite")?)?;
        let (department, dataset) = (r.name("department")?, r.name("dataset")?);
        let partition = Partition(r.small("partition")?);
        let entry = BatchEntry {
            suite,
            stream: StreamId { department, dataset, partition },
            epoch: Epoch(r.unsigned("epoch")?),
            sequence: Sequence(r.unsigned("sequence")?),
            digest: r.digest("digest")?,
            previous: r.digest("previous")?,
            previous_index: match r.long("previous_index")? {
                -1 => None,
                index => {
                    let negative = |_| r.malformed("previous_index", "an index is not negative");
                    Some(LogIndex(u64::try_from(index).map_err(negative)?))
                }
            },
            contract: r.digest("contract")?,
            kind: read_kind(r)?,
            rows: r.unsigned("rows")?,
            transactions_ended: r.unsigned("transactions_ended")?,
            leaves_open: r.boolean("leaves_open")?,
            incarnation: r.incarnation("incarnation")?,
            first: read_mark(r, "first")?,
            last: read_mark(r, "last")?,
            snapshot: r.option("snapshot", |r| SnapshotPlace::read(r, "snapshot"))?,
        };
        if (entry.kind == Kind::Snapshot) != entry.snapshot.is_some() {
            return Err(r.malformed("snapshot", "the kind and the snapshot do not match"));
        }
        Ok(entry)
    }
}

impl MarkEntry {
    fn write(&self, w: &mut Writer) {
        w.long(self.time.0);
        w.array(&self.streams, |w, stream| {
            w.text(stream.dataset.as_str());
            w.small(stream.partition.0);
            w.option(stream.head.as_ref(), |w, head| head.write(w));
            w.at_place(stream.resolved);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<MarkEntry, ParseError> {
        Ok(MarkEntry {
            time: r.micros("time")?,
            streams: r.array("streams", MARK_STREAMS_MAX, |r| {
                Ok(StreamMark {
                    dataset: r.name("streams.dataset")?,
                    partition: Partition(r.small("streams.partition")?),
                    head: r.option("streams.head", |r| BatchRef::read(r, "streams.head"))?,
                    resolved: r.at_place("streams.resolved")?,
                })
            })?,
        })
    }
}

impl Entry {
    /// The entry of a batch, from its header.
    pub fn of_batch(header: &Header, digest: Digest, previous_index: Option<LogIndex>) -> Entry {
        Entry::Batch(BatchEntry::of(header, digest, previous_index))
    }

    fn number(&self) -> u8 {
        match self {
            Entry::Epoch(_) => 1,
            Entry::Batch(_) => 2,
            Entry::KeyRecord(_) => 3,
            Entry::Rewrap(_) => 4,
            Entry::Contract(_) => 5,
            Entry::Incarnation(_) => 6,
            Entry::Mark(_) => 7,
            Entry::Trust(_) => 8,
        }
    }

    /// The entry's bytes: what is hashed as a leaf.
    ///
    /// # Errors
    /// [`SealError::Limit`] when it is longer than an entry may be.
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        let mut w = Writer::new();
        w.raw(&[self.number()]);
        match self {
            Entry::Epoch(entry) => {
                w.unsigned(entry.epoch.0);
                w.small(entry.incarnation.0);
                w.long(entry.started.0);
            }
            Entry::Batch(entry) => entry.write(&mut w),
            Entry::KeyRecord(frame)
            | Entry::Rewrap(frame)
            | Entry::Contract(frame)
            | Entry::Incarnation(frame) => w.bytes(frame),
            Entry::Mark(entry) => entry.write(&mut w),
            Entry::Trust(entry) => {
                w.unsigned(entry.version);
                w.digest(&entry.digest);
            }
        }
        let bytes = w.into_bytes();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(SealError::limit("the log entry", bytes.len(), ENTRY_BYTES_MAX));
        }
        Ok(bytes)
    }

    /// Reads an entry. A record inside it must have its form's shape; its signatures are not verified here.
    ///
    /// # Errors
    /// [`ParseError`], also for leftover bytes.
    pub fn decode(bytes: &[u8]) -> Result<Entry, ParseError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(ParseError::limit("entry", bytes.len(), ENTRY_BYTES_MAX));
        }
        let r = &mut Reader::new(bytes);
        let entry = match r.byte("entry type")? {
            1 => Entry::Epoch(EpochEntry {
                epoch: Epoch(r.unsigned("epoch")?),
                incarnation: r.incarnation("incarnation")?,
                started: r.micros("started")?,
            }),
            2 => Entry::Batch(BatchEntry::read(r)?),
            3 => {
                let frame = r.bytes("key record", ENTRY_BYTES_MAX)?;
                KEY_RECORD.read(frame, KeyRecord::decode)?;
                Entry::KeyRecord(frame.to_vec())
            }
            4 => {
                let frame = r.bytes("rewrap", ENTRY_BYTES_MAX)?;
                REWRAP.read(frame, Rewrap::decode)?;
                Entry::Rewrap(frame.to_vec())
            }
            5 => {
                let frame = r.bytes("contract record", ENTRY_BYTES_MAX)?;
                CONTRACT.read(frame, ContractRecord::decode)?;
                Entry::Contract(frame.to_vec())
            }
            6 => {
                let frame = r.bytes("incarnation record", ENTRY_BYTES_MAX)?;
                INCARNATION.read(frame, IncarnationRecord::decode)?;
                Entry::Incarnation(frame.to_vec())
            }
            7 => Entry::Mark(MarkEntry::read(r)?),
            8 => Entry::Trust(TrustEntry { version: r.unsigned("version")?, digest: r.digest("digest")? }),
            other => return Err(ParseError::EntryType(other)),
        };
        r.finish()?;
        Ok(entry)
    }
}
