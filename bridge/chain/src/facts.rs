//! What the machine is told of a verified frame.

use bridge_envelope::{Header, Notice, SnapshotPlace};
use bridge_event::{Epoch, IncarnationNumber, Kind, Mark, Sequence};
use bridge_suite::Digest;

/// What the machine needs of a verified batch; pipeline and subscriber take it from the signed header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The epoch of the connector that sealed it.
    pub epoch: Epoch,
    /// Its number in the stream.
    pub sequence: Sequence,
    /// Its own digest.
    pub digest: Digest,
    /// The digest of the batch before it, as its header names it.
    pub previous: Digest,
    /// What it is for.
    pub kind: Kind,
    /// The life of the source that its positions belong to.
    pub incarnation: IncarnationNumber,
    /// Where its first row stands; in a batch without rows the same as `last`.
    pub first: Mark,
    /// Where its last row stands. A batch without rows repeats the stream's last position; a snapshot batch has its
    /// as-of position's end ([`Mark::end_of`]); a GAP or RETRACT the position up to which it speaks.
    pub last: Mark,
    /// Rows, or fragments of one, that it carries.
    pub rows: u64,
    /// Whether it goes on with the source transaction that the batch before left open (its commit is `first.commit`).
    /// Never in a snapshot, GAP or RETRACT.
    pub continues: bool,
    /// Whether it leaves a source transaction open (its commit is `last.commit`). Never in a snapshot, GAP or RETRACT.
    pub leaves_open: bool,
    /// Source transactions whose first row in this stream is in it.
    pub begun: u64,
    /// Source transactions that end in it: `continues + begun = ended + leaves_open`, counting a yes as 1.
    pub ended: u64,
    /// Generation, chunk and end of a snapshot batch; `None` in every other batch.
    pub snapshot: Option<SnapshotPlace>,
    /// The sequences that a GAP names as lost, with their digests, in order; empty in every other batch.
    pub lost: Vec<(Sequence, Digest)>,
    /// The previous digest of the first of `lost`; [`Digest::ZERO`] when nothing is lost.
    pub lost_previous: Digest,
    /// The commits of the open transactions that a GAP or RETRACT voids; empty in every other batch.
    pub voids: Vec<u64>,
}

impl Facts {
    /// What the machine needs, from the signed header of a verified or sealed batch and the batch's digest.
    pub fn of(header: &Header, digest: Digest) -> Facts {
        let (lost, lost_previous, voids) = match &header.notice {
            Some(Notice::Gap(gap)) => {
                let lost = gap.lost.iter().map(|lost| (lost.sequence, lost.digest)).collect();
                (lost, gap.lost_previous, gap.voids.clone())
            }
            Some(Notice::Retract(retract)) => (Vec::new(), Digest::ZERO, retract.voids.clone()),
            None => (Vec::new(), Digest::ZERO, Vec::new()),
        };
        Facts {
            epoch: header.epoch,
            sequence: header.sequence,
            digest,
            previous: header.previous,
            kind: header.kind,
            incarnation: header.incarnation,
            first: header.first.mark,
            last: header.last.mark,
            rows: header.rows(),
            continues: header.continues,
            leaves_open: header.leaves_open,
            begun: header.transactions_begun,
            ended: header.transactions_ended,
            snapshot: header.snapshot.as_ref().map(SnapshotPlace::of),
            lost,
            lost_previous,
            voids,
        }
    }
}

/// A verified frame, as the machine sees it.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every frame of a stream is a batch, so a box would cost one for each"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A fence: the epoch begins here in this stream.
    Fence {
        /// The epoch that it opens.
        epoch: Epoch,
    },
    /// A batch.
    Batch(Facts),
    /// A beacon.
    Beacon {
        /// The epoch of the connector that sent it.
        epoch: Epoch,
        /// The last batch that Kafka had acknowledged to it; `None` before the stream's first.
        head: Option<(Sequence, Digest)>,
    },
}
