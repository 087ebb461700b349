//! What the machine says of a frame.

use std::fmt;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Step {
    /// The batch follows its chain and is the new head.
    Accepted,
    /// The fence opened its epoch.
    Fenced,
    /// The beacon is of this epoch and its head is one accepted: its resolved position counts.
    BeaconSeen,
    /// A fence, batch or beacon of an epoch that was over: dropped, counted.
    Late,
    /// The batch was accepted before: dropped.
    Duplicate,
    /// A batch, or a beacon's head, from before the digests at hand: dropped, counted, to be compared with archive or
    /// log ([`Step::compared`]).
    Old,
    /// A batch beyond the next sequence: dropped. A beacon says whether anything is lost.
    Ahead,
    /// The frame cannot be honest: the reader halts, and its state stays as it was.
    Halt(Finding),
}

/// Why a reader halts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// A batch or beacon of an epoch whose fence the stream does not hold.
    Unfenced,
    /// Another digest than the accepted one at the same sequence.
    Fork,
    /// The next sequence, but it names another batch than the head as the one before it.
    BrokenChain,
    /// A beacon's head is beyond the last batch: batches vanished.
    Loss,
    /// The batch's position is at or before one that the stream has.
    PositionBack,
    /// A fragment of a row that does not follow the one before it, or something else between a row's fragments.
    RowBroken,
    /// A batch without rows that does not repeat the last position, or a snapshot batch that is not at its as-of end.
    PositionMoved,
    /// The batch continues, leaves open or voids another source transaction than the stream has open, or its counts do
    /// not add up.
    OpenMismatch,
    /// Another incarnation without a GAP or RETRACT, or a lower one.
    IncarnationChanged,
    /// A snapshot's chunk that is not the next one or the first of the next generation, or rows of the stream before the
    /// snapshot's last chunk.
    SnapshotBroken,
}

impl Finding {
    /// All findings.
    pub const ALL: [Finding; 10] = [
        Finding::Unfenced,
        Finding::Fork,
        Finding::BrokenChain,
        Finding::Loss,
        Finding::PositionBack,
        Finding::RowBroken,
        Finding::PositionMoved,
        Finding::OpenMismatch,
        Finding::IncarnationChanged,
        Finding::SnapshotBroken,
    ];

    /// The finding's word.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Unfenced => "unfenced",
            Finding::Fork => "fork",
            Finding::BrokenChain => "broken-chain",
            Finding::Loss => "loss",
            Finding::PositionBack => "position-back",
            Finding::RowBroken => "row-broken",
            Finding::PositionMoved => "position-moved",
            Finding::OpenMismatch => "open-mismatch",
            Finding::IncarnationChanged => "incarnation-changed",
            Finding::SnapshotBroken => "snapshot-broken",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Step {
    /// The step's word; a finding's own word when it halts.
    pub fn name(self) -> &'static str {
        match self {
            Step::Accepted => "accepted",
            Step::Fenced => "fenced",
            Step::BeaconSeen => "beacon-seen",
            Step::Late => "late",
            Step::Duplicate => "duplicate",
            Step::Old => "old",
            Step::Ahead => "ahead",
            Step::Halt(finding) => finding.name(),
        }
    }

    /// The finding, when the reader halts.
    pub fn finding(self) -> Option<Finding> {
        match self {
            Step::Halt(finding) => Some(finding),
            _ => None,
        }
    }

    /// What an [`Step::Old`] batch is, once archive or log told the digest accepted at its sequence.
    pub fn compared(found: bridge_suite::Digest, accepted: bridge_suite::Digest) -> Step {
        if found == accepted { Step::Duplicate } else { Step::Halt(Finding::Fork) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
