//! The header of a batch: everything that is signed, and readable without a key.
//!
//! Avro record `govbridge.Header` (docs/spec/header.avsc), the fields in the order of [`Header`]'s codec.

use bridge_event::{
    At, Epoch, Generation, IncarnationNumber, Kind, Origin, Partition, Sequence, StreamId, UnixMicros,
};
use bridge_suite::{Digest, Suite, sha256};

use crate::section::SECTIONS_MAX;
use crate::signed::BATCH;
use crate::wire::{Reader, TEXT_BYTES_MAX, Writer};
use crate::{BatchRef, ParseError, RowPosition};

/// Most extensions of a header.
pub const EXTENSIONS_MAX: usize = 16;

/// Longest content of an extension, in bytes: 16 of them leave no room for more in a header of 64 KiB.
pub const EXTENSION_BYTES_MAX: usize = 4096;

/// Most batches or commits that a notice names: 64 KiB of header hold fewer than this of 9 bytes and more.
const NOTICE_ITEMS_MAX: usize = 8192;

/// Why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// At a source commit.
    Commit,
    /// By a limit of rows, bytes or time, perhaps inside a transaction.
    Limit,
    /// Because a section's schema changes after it.
    Schema,
}

/// What a batch of a snapshot says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The number of the snapshot.
    pub generation: Generation,
    /// The position as of which its rows were read.
    pub as_of: RowPosition,
    /// The chunk's number, from 0.
    pub chunk: u64,
    /// Whether it is the last chunk.
    pub last: bool,
}

/// Which piece of a row too large for one record a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentPart {
    /// The piece's index, from 0.
    pub index: u32,
    /// How many pieces there are.
    pub of: u32,
    /// The length of the whole row's records in all sections, in bytes.
    pub total_bytes: u64,
}

/// What an operator accepted, in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Changes between two positions may be missing.
    Gap(Gap),
    /// Published changes vanished at the source.
    Retract(Retract),
}

/// Between which positions changes may be missing, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why, in words.
    pub reason: String,
    /// Up to here nothing is missing (exclusive).
    pub from: RowPosition,
    /// Up to here changes may be missing (inclusive), `None` when unknown.
    pub to: Option<RowPosition>,
    /// Batches that were published and are lost, from the sequence after the stream's head on.
    pub lost: Vec<BatchRef>,
    /// The previous digest of the first lost batch, so that a reader sees that the hole begins at its head; zeros when
    /// nothing is lost.
    pub lost_previous: Digest,
    /// Digest of the incarnation record before.
    pub before: Digest,
    /// Digest of the incarnation record after.
    pub after: Digest,
    /// Commits of open transactions that this notice voids.
    pub voids: Vec<u64>,
}

/// Which published changes vanished at the source, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retract {
    /// Why, in words.
    pub reason: String,
    /// The leaves that vanished, batch by batch.
    pub vanished: Vec<Vanished>,
    /// Digest of the incarnation record before.
    pub before: Digest,
    /// Digest of the incarnation record after.
    pub after: Digest,
    /// Commits of open transactions that this notice voids.
    pub voids: Vec<u64>,
}

/// Leaves of one batch that vanished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// The batch.
    pub batch: BatchRef,
    /// Its first leaf that vanished, from 0.
    pub first_leaf: u64,
    /// Its last one, inclusive.
    pub last_leaf: u64,
}

/// Something that a later version of the format adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its number; a header's extensions ascend by it.
    pub id: u32,
    /// Whether a reader that does not know it must refuse the batch.
    pub critical: bool,
    /// Its content.
    pub content: Vec<u8>,
}

/// The signed header of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream's algorithms.
    pub suite: Suite,
    /// Department, dataset and partition.
    pub stream: StreamId,
    /// The connector's log.
    pub origin: Origin,
    /// The connector's life.
    pub epoch: Epoch,
    /// The batch's number in the stream's whole life.
    pub sequence: Sequence,
    /// The digest of the batch before it; of the stream's genesis at sequence 0.
    pub previous: Digest,
    /// What the batch is for.
    pub kind: Kind,
    /// SHA-256 of the exact contract file.
    pub contract: Digest,
    /// 32 random bytes that make the batch's keys its own.
    pub nonce: [u8; 32],
    /// The source's incarnation.
    pub incarnation: IncarnationNumber,
    /// The first row; without rows, the last one before the batch.
    pub first: RowPosition,
    /// The last row; without rows, as `first`.
    pub last: RowPosition,
    /// Whether the first row continues the transaction that the batch before left open.
    pub continues: bool,
    /// Whether the last row's transaction goes on in the next batch.
    pub leaves_open: bool,
    /// Why the batch was closed.
    pub closed_by: ClosedBy,
    /// Up to here every change is in a batch up to this one.
    pub resolved: At,
    /// Source transactions that begin in the batch.
    pub transactions_begun: u64,
    /// Source transactions that end in the batch.
    pub transactions_ended: u64,
    /// The first transaction's commit time, by the source's clock.
    pub first_commit_time: UnixMicros,
    /// The last transaction's commit time, by the source's clock.
    pub last_commit_time: UnixMicros,
    /// Rows read, inserted, updated or deleted, and fragments.
    pub row_events: u64,
    /// Truncates.
    pub truncates: u64,
    /// For a snapshot.
    pub snapshot: Option<SnapshotPart>,
    /// For a fragment of a row.
    pub fragment: Option<FragmentPart>,
    /// For a GAP or RETRACT.
    pub notice: Option<Notice>,
    /// Digests of the section blocks, in contract order; sealing fills them in.
    pub sections: Vec<Digest>,
    /// Additions of later versions.
    pub extensions: Vec<Extension>,
}

impl Header {
    /// What stands in `previous` of a stream's first batch.
    pub fn genesis(stream: &StreamId, origin: &Origin) -> Digest {
        // Names have at most 255 bytes, so a length always fits.
        let lp = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
        let (origin, department, dataset) =
            (origin.as_str(), stream.department.as_str(), stream.dataset.as_str());
        sha256(&[
            b"govbridge/v1/genesis\0",
            &lp(origin),
            origin.as_bytes(),
            &lp(department),
            department.as_bytes(),
            &lp(dataset),
            dataset.as_bytes(),
            &stream.partition.0.to_be_bytes(),
        ])
    }

    /// The events of the batch: leaves of each of its sections.
    pub fn rows(&self) -> u64 {
        self.row_events.saturating_add(self.truncates)
    }

    /// The batch's digest: `SHA-256("govbridge/v1/batch\0" || header bytes)`. It is computed from an encoding made
    /// now; who received a batch uses the digest of the received bytes.
    pub fn digest(&self) -> Digest {
        BATCH.digest(&self.encode())
    }

    /// The header's Avro bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.small(self.suite.number().into());
        w.text(self.stream.department.as_str());
        w.text(self.stream.dataset.as_str());
        w.text(self.origin.as_str());
        w.small(self.stream.partition.0);
        w.unsigned(self.epoch.0);
        w.unsigned(self.sequence.0);
        w.digest(&self.previous);
        w.small(self.kind.number().into());
        w.digest(&self.contract);
        w.raw(&self.nonce);
        w.small(self.incarnation.0);
        self.first.write(&mut w);
        self.last.write(&mut w);
        w.boolean(self.continues);
        w.boolean(self.leaves_open);
        w.small(self.closed_by.number());
        w.at_place(self.resolved);
        w.unsigned(self.transactions_begun);
        w.unsigned(self.transactions_ended);
        w.long(self.first_commit_time.0);
        w.long(self.last_commit_time.0);
        w.unsigned(self.row_events);
        w.unsigned(self.truncates);
        w.option(self.snapshot.as_ref(), |w, s| s.write(w));
        w.option(self.fragment.as_ref(), |w, f| f.write(w));
        write_notice(&mut w, self.notice.as_ref());
        w.array(&self.sections, |w, digest| w.digest(digest));
        w.array(&self.extensions, |w, e| {
            w.small(e.id);
            w.boolean(e.critical);
            w.bytes(&e.content);
        });
        w.into_bytes()
    }

    /// Reads a header. Nothing about it is verified.
    ///
    /// # Errors
    /// [`ParseError`], also for leftover bytes.
    pub fn decode(bytes: &[u8]) -> Result<Header, ParseError> {
        let r = &mut Reader::new(bytes);
        let suite = Suite::from_number(r.short("suite")?)?;
        let (department, dataset, origin) = (r.name("department")?, r.name("dataset")?, r.name("origin")?);
        let partition = Partition(r.small("partition")?);
        let header = Header {
            suite,
            stream: StreamId { department, dataset, partition },
            origin,
            epoch: Epoch(r.unsigned("epoch")?),
            sequence: Sequence(r.unsigned("sequence")?),
            previous: r.digest("previous")?,
            kind: read_kind(r)?,
            contract: r.digest("contract")?,
            nonce: r.fixed("nonce")?,
            incarnation: r.incarnation("incarnation")?,
            first: RowPosition::read(r, "first")?,
            last: RowPosition::read(r, "last")?,
            continues: r.boolean("continues")?,
            leaves_open: r.boolean("leaves_open")?,
            closed_by: ClosedBy::read(r)?,
            resolved: r.at_place("resolved")?,
            transactions_begun: r.unsigned("transactions_begun")?,
            transactions_ended: r.unsigned("transactions_ended")?,
            first_commit_time: r.micros("first_commit_time")?,
            last_commit_time: r.micros("last_commit_time")?,
            row_events: r.unsigned("row_events")?,
            truncates: r.unsigned("truncates")?,
            snapshot: r.option("snapshot", SnapshotPart::read)?,
            fragment: r.option("fragment", FragmentPart::read)?,
            notice: read_notice(r)?,
            sections: r.array("sections", SECTIONS_MAX, |r| r.digest("sections"))?,
            extensions: r.array("extensions", EXTENSIONS_MAX, Extension::read)?,
        };
        r.finish()?;
        Ok(header)
    }
}

pub(crate) fn read_kind(r: &mut Reader<'_>) -> Result<Kind, ParseError> {
    let number = r.choice("kind", 5)?;
    Kind::from_number(number).ok_or_else(|| r.malformed("kind", "there is no such kind"))
}

impl ClosedBy {
    fn number(self) -> u32 {
        match self {
            ClosedBy::Commit => 0,
            ClosedBy::Limit => 1,
            ClosedBy::Schema => 2,
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<ClosedBy, ParseError> {
        Ok(match r.choice("closed_by", 3)? {
            0 => ClosedBy::Commit,
            1 => ClosedBy::Limit,
            _ => ClosedBy::Schema,
        })
    }
}

impl SnapshotPart {
    fn write(&self, w: &mut Writer) {
        w.unsigned(self.generation.0);
        self.as_of.write(w);
        w.unsigned(self.chunk);
        w.boolean(self.last);
    }

    fn read(r: &mut Reader<'_>) -> Result<SnapshotPart, ParseError> {
        Ok(SnapshotPart {
            generation: Generation(r.unsigned("snapshot.generation")?),
            as_of: RowPosition::read(r, "snapshot.as_of")?,
            chunk: r.unsigned("snapshot.chunk")?,
            last: r.boolean("snapshot.last")?,
        })
    }
}

impl FragmentPart {
    /// Whether the row ends with it.
    pub fn is_last(&self) -> bool {
        self.index.saturating_add(1) >= self.of
    }

    fn write(&self, w: &mut Writer) {
        w.small(self.index);
        w.small(self.of);
        w.unsigned(self.total_bytes);
    }

    fn read(r: &mut Reader<'_>) -> Result<FragmentPart, ParseError> {
        Ok(FragmentPart {
            index: r.small("fragment.index")?,
            of: r.small("fragment.of")?,
            total_bytes: r.unsigned("fragment.total_bytes")?,
        })
    }
}

impl Extension {
    fn read(r: &mut Reader<'_>) -> Result<Extension, ParseError> {
        Ok(Extension {
            id: r.small("extension.id")?,
            critical: r.boolean("extension.critical")?,
            content: r.bytes("extension.content", EXTENSION_BYTES_MAX)?.to_vec(),
        })
    }
}

fn write_notice(w: &mut Writer, notice: Option<&Notice>) {
    match notice {
        None => w.long(0),
        Some(Notice::Gap(gap)) => {
            w.long(1);
            w.text(&gap.reason);
            gap.from.write(w);
            w.option(gap.to.as_ref(), |w, to| to.write(w));
            w.array(&gap.lost, |w, lost| lost.write(w));
            w.digest(&gap.lost_previous);
            w.digest(&gap.before);
            w.digest(&gap.after);
            w.array(&gap.voids, |w, commit| w.unsigned(*commit));
        }
        Some(Notice::Retract(retract)) => {
            w.long(2);
            w.text(&retract.reason);
            w.array(&retract.vanished, |w, vanished| {
                vanished.batch.write(w);
                w.unsigned(vanished.first_leaf);
                w.unsigned(vanished.last_leaf);
            });
            w.digest(&retract.before);
            w.digest(&retract.after);
            w.array(&retract.voids, |w, commit| w.unsigned(*commit));
        }
    }
}

fn read_notice(r: &mut Reader<'_>) -> Result<Option<Notice>, ParseError> {
    Ok(match r.choice("notice", 3)? {
        0 => None,
        1 => Some(Notice::Gap(Gap {
            reason: r.text("notice.reason", TEXT_BYTES_MAX)?.to_owned(),
            from: RowPosition::read(r, "notice.from")?,
            to: r.option("notice.to", |r| RowPosition::read(r, "notice.to"))?,
            lost: r.array("notice.lost", NOTICE_ITEMS_MAX, |r| BatchRef::read(r, "notice.lost"))?,
            lost_previous: r.digest("notice.lost_previous")?,
            before: r.digest("notice.before")?,
            after: r.digest("notice.after")?,
            voids: r.array("notice.voids", NOTICE_ITEMS_MAX, |r| r.unsigned("notice.voids"))?,
        })),
        _ => Some(Notice::Retract(Retract {
            reason: r.text("notice.reason", TEXT_BYTES_MAX)?.to_owned(),
            vanished: r.array("notice.vanished", NOTICE_ITEMS_MAX, |r| {
                Ok(Vanished {
                    batch: BatchRef::read(r, "notice.vanished")?,
                    first_leaf: r.unsigned("notice.vanished")?,
                    last_leaf: r.unsigned("notice.vanished")?,
                })
            })?,
            before: r.digest("notice.before")?,
            after: r.digest("notice.after")?,
            voids: r.array("notice.voids", NOTICE_ITEMS_MAX, |r| r.unsigned("notice.voids"))?,
        })),
    })
}
