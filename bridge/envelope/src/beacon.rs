//! A beacon: the signed liveness frame of a stream.

use bridge_event::{
    At, Epoch, Generation, IncarnationNumber, LogIndex, Offset, Origin, Partition, Sequence, StreamId,
    UnixMicros,
};
use bridge_suite::{Digest, SigningKey};

use crate::entry::ENTRY_BYTES_MAX;
use crate::mark::{read_mark, write_mark};
use crate::signed::{Attested, BEACON, Signed, Signers, Verdict};
use crate::verify::Expected;
use crate::wire::{Reader, Writer};
use crate::{BatchRef, Entry, Finding, Mark, ParseError, RowPosition, SealError, SnapshotPart};

/// Longest inclusion path: a tree of 2^63 leaves has 63 levels below its root.
pub const PATH_HASHES_MAX: usize = 63;

/// Longest checkpoint note, in bytes; a beacon's body of 64 KiB holds no longer one.
const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;

/// Where a reader can begin: an offset, and the chain machine's state right before the record that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The next record to read.
    pub offset: Offset,
    /// The fenced epoch, 0 when none is.
    pub epoch: Epoch,
    /// The stream's head there.
    pub head: Option<BatchRef>,
    /// The incarnation of `last`.
    pub incarnation: IncarnationNumber,
    /// The last row there; zeros without a head.
    pub last: Mark,
    /// The commit of the transaction that is open there.
    pub open: Option<u64>,
    /// The snapshot that is under way or was the last one there.
    pub snapshot: Option<SnapshotPlace>,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotPlace {
    /// The snapshot's number.
    pub generation: Generation,
    /// Its newest chunk.
    pub chunk: u64,
    /// Whether that is its last one.
    pub last: bool,
}

/// The last acknowledged batch of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub sequence: Sequence,
    /// Its digest.
    pub digest: Digest,
    /// Its last position.
    pub last: RowPosition,
}

/// Proof that the log's cosigned checkpoint holds a batch of this stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The exact log entry of the stream's newest batch under the checkpoint.
    pub entry: Vec<u8>,
    /// Its index in the log.
    pub index: LogIndex,
    /// Its inclusion path at the checkpoint's size.
    pub path: Vec<Digest>,
    /// The signed note with its cosignatures.
    pub checkpoint: String,
}

/// What a beacon says. Avro record `govbridge.Beacon` (docs/spec/beacon.avsc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The connector's log.
    pub origin: Origin,
    /// The stream.
    pub stream: StreamId,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// The source's incarnation.
    pub incarnation: IncarnationNumber,
    /// The last batch that Kafka acknowledged, never one merely sent.
    pub head: Option<Head>,
    /// The connector's place in the stream.
    pub place: Place,
    /// Every event with a commit at or before it is in a batch up to the head.
    pub resolved: At,
    /// What the log holds of the stream, once a checkpoint is cosigned.
    pub appended: Option<Appended>,
    /// The connector's clock.
    pub clock: UnixMicros,
    /// When the next beacon is due, by the same clock.
    pub next_due: UnixMicros,
}

impl SnapshotPlace {
    /// The place right after a snapshot's batch.
    pub fn of(part: &SnapshotPart) -> SnapshotPlace {
        SnapshotPlace { generation: part.generation, chunk: part.chunk, last: part.last }
    }

    pub(crate) fn write(self, w: &mut Writer) {
        w.unsigned(self.generation.0);
        w.unsigned(self.chunk);
        w.boolean(self.last);
    }

    pub(crate) fn read(r: &mut Reader<'_>, field: &'static str) -> Result<SnapshotPlace, ParseError> {
        Ok(SnapshotPlace {
            generation: Generation(r.unsigned(field)?),
            chunk: r.unsigned(field)?,
            last: r.boolean(field)?,
        })
    }
}

impl Place {
    fn write(&self, w: &mut Writer) {
        w.long(self.offset.0);
        w.unsigned(self.epoch.0);
        w.option(self.head.as_ref(), |w, head| head.write(w));
        w.small(self.incarnation.0);
        write_mark(&self.last, w);
        w.option(self.open, Writer::unsigned);
        w.option(self.snapshot, |w, snapshot| snapshot.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Place, ParseError> {
        Ok(Place {
            offset: Offset(r.long("place.offset")?),
            epoch: Epoch(r.unsigned("place.epoch")?),
            head: r.option("place.head", |r| BatchRef::read(r, "place.head"))?,
            incarnation: r.incarnation("place.incarnation")?,
            last: read_mark(r, "place.last")?,
            open: r.option("place.open", |r| r.unsigned("place.open"))?,
            snapshot: r.option("place.snapshot", |r| SnapshotPlace::read(r, "place.snapshot"))?,
        })
    }
}

impl Beacon {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.text(self.origin.as_str());
        w.text(self.stream.department.as_str());
        w.text(self.stream.dataset.as_str());
        w.small(self.stream.partition.0);
        w.unsigned(self.epoch.0);
        w.small(self.incarnation.0);
        w.option(self.head.as_ref(), |w, head| {
            w.unsigned(head.sequence.0);
            w.digest(&head.digest);
            head.last.write(w);
        });
        self.place.write(&mut w);
        w.at_place(self.resolved);
        w.option(self.appended.as_ref(), |w, appended| {
            w.bytes(&appended.entry);
            w.unsigned(appended.index.0);
            w.array(&appended.path, |w, hash| w.digest(hash));
            w.text(&appended.checkpoint);
        });
        w.long(self.clock.0);
        w.long(self.next_due.0);
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Beacon, ParseError> {
        let r = &mut Reader::new(bytes);
        let beacon = Beacon {
            origin: r.name("origin")?,
            stream: StreamId {
                department: r.name("department")?,
                dataset: r.name("dataset")?,
                partition: Partition(r.small("partition")?),
            },
            epoch: Epoch(r.unsigned("epoch")?),
            incarnation: r.incarnation("incarnation")?,
            head: r.option("head", |r| {
                Ok(Head {
                    sequence: Sequence(r.unsigned("head.sequence")?),
                    digest: r.digest("head.digest")?,
                    last: RowPosition::read(r, "head.last")?,
                })
            })?,
            place: Place::read(r)?,
            resolved: r.at_place("resolved")?,
            appended: r.option("appended", |r| {
                Ok(Appended {
                    entry: r.bytes("appended.entry", ENTRY_BYTES_MAX)?.to_vec(),
                    index: LogIndex(r.unsigned("appended.index")?),
                    path: r.array("appended.path", PATH_HASHES_MAX, |r| r.digest("appended.path"))?,
                    checkpoint: r.text("appended.checkpoint", CHECKPOINT_BYTES_MAX)?.to_owned(),
                })
            })?,
            clock: r.micros("clock")?,
            next_due: r.micros("next_due")?,
        };
        r.finish()?;
        Ok(beacon)
    }

    /// Everything in the beacon that contradicts the rest of it.
    pub fn contradictions(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let mut say = |wrong: bool, what: &'static str| {
            if wrong {
                found.push(what);
            }
        };
        let head = self.head.as_ref();
        let place = &self.place;
        say(self.epoch.0 == 0, "the epoch is 0, and epochs begin at 1");
        say(place.offset.0 < 0, "the place's offset is negative");
        say(place.epoch > self.epoch, "the place's epoch is above the beacon's");
        say(
            place.head.map(|at| at.sequence) > head.map(|at| at.sequence),
            "the place's head is beyond the beacon's",
        );
        let same = place.head.zip(head).filter(|(at, head)| at.sequence == head.sequence);
        say(same.is_some_and(|(at, head)| at.digest != head.digest), "the place's head is another batch");
        say(place.head.is_none() && place.last != Mark::default(), "the place has a last row and no head");
        say(place.head.is_none() && place.open.is_some(), "the place has an open transaction and no head");
        say(place.head.is_none() && place.snapshot.is_some(), "the place has a snapshot and no head");
        say(self.next_due < self.clock, "the next beacon is due before this one");
        if let Some(appended) = &self.appended {
            say(self.head.is_none(), "the log holds a batch of a stream without a head");
            match Entry::decode(&appended.entry) {
                Ok(Entry::Batch(entry)) => {
                    let head = head.map(|head| (head.sequence, head.digest));
                    let beyond = head.is_some_and(|(sequence, digest)| {
                        entry.sequence > sequence || (entry.sequence == sequence && entry.digest != digest)
                    });
                    say(entry.stream != self.stream, "the log entry is another stream's");
                    say(beyond, "the log entry is beyond the beacon's head, or another batch than it");
                }
                _ => say(true, "the log entry is no batch entry"),
            }
        }
        found
    }
}

/// Signs a beacon.
///
/// # Errors
/// [`SealError`], also when the beacon contradicts itself.
pub fn sign_beacon(beacon: Beacon, signers: &[&SigningKey]) -> Result<Signed<Beacon>, SealError> {
    if let Some(contradiction) = beacon.contradictions().first() {
        return Err(SealError::Contradiction(contradiction));
    }
    let body = beacon.encode();
    Signed::new(&BEACON, beacon, &body, signers)
}

/// Verifies a beacon. The suite of `expected` plays no part. The inclusion proof and the checkpoint's cosignatures
/// are the caller's to verify: they need the log's key and the policy.
pub fn verify_beacon(bytes: &[u8], signers: &dyn Signers, expected: &Expected) -> Verdict<Attested<Beacon>> {
    BEACON.verify(bytes, signers, &expected.stream.department, Beacon::decode, |beacon| {
        let mut findings = expected.check(&beacon.stream, &beacon.origin);
        findings.extend(beacon.contradictions().into_iter().map(Finding::Contradiction));
        findings
    })
}
