//! What the machine is told of a verified frame.

use std::fmt;

use bridge_event::{At, Epoch, IncarnationNumber, Kind, Sequence};
use bridge_suite::Digest;

/// Where a row, or a fragment of one, stands in one incarnation of the source.
///
/// Marks compare by commit, then ordinal, then fragment; marks of two incarnations do not compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Commit LSN, changelog id, binlog file and offset: what grows with every commit of the source.
    pub commit: u64,
    /// The row's number in its transaction in this stream, from 1; `u64::MAX` stands after the last row.
    pub ordinal: u64,
    /// The fragment's index, from 0; 0 for a row that is not cut.
    pub fragment: u32,
}

impl Mark {
    /// Before everything.
    pub const START: Mark = Mark { commit: 0, ordinal: 0, fragment: 0 };

    /// A whole row's mark.
    pub fn row(at: At) -> Mark {
        Mark { commit: at.commit, ordinal: at.ordinal, fragment: 0 }
    }

    /// After the last row of `commit`: the as-of position of a snapshot.
    pub fn end_of(commit: u64) -> Mark {
        Mark::row(At::end_of(commit))
    }

    /// Whether the mark is a transaction's end rather than a row.
    pub fn is_end(&self) -> bool {
        self.ordinal == u64::MAX
    }

    /// The mark without its fragment.
    pub fn at(&self) -> At {
        At { commit: self.commit, ordinal: self.ordinal }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fragment == 0 { self.at().fmt(f) } else { write!(f, "{}.{}", self.at(), self.fragment) }
    }
}

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
    /// The sequences that a GAP names as lost, with their digests, in order; empty in every other batch.
    pub lost: Vec<(Sequence, Digest)>,
    /// The previous digest of the first of `lost`; [`Digest::ZERO`] when nothing is lost.
    pub lost_previous: Digest,
    /// The commits of the open transactions that a GAP or RETRACT voids; empty in every other batch.
    pub voids: Vec<u64>,
}

/// A verified frame, as the machine sees it.
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
