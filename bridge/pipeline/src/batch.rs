//! What encode gives to seal.

use bridge_chain::Mark;
use bridge_envelope::{ClosedBy, Fragments, SnapshotPart};
use bridge_event::{At, Kind, Rows, Token, UnixMicros};
use std::sync::Arc;

/// One batch of one stream, encoded and not yet sealed. Only [`crate::capture`] makes it.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) stream: usize,
    pub(crate) kind: Kind,
    pub(crate) first: Stand,
    pub(crate) last: Stand,
    pub(crate) continues: bool,
    pub(crate) leaves_open: bool,
    pub(crate) closed_by: ClosedBy,
    /// Up to here every change of the stream is in a batch up to this one.
    pub(crate) resolved: At,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) first_commit_time: UnixMicros,
    pub(crate) last_commit_time: UnixMicros,
    pub(crate) row_events: u64,
    pub(crate) truncates: u64,
    pub(crate) snapshot: Option<SnapshotPart>,
    /// One for each section, in contract order; empty when the batch has no rows, or is a fragment.
    pub(crate) sections: Vec<Rows>,
    /// A fragment of a row, by its index.
    pub(crate) fragment: Option<(Arc<LargeRow>, u32)>,
}

/// A row that is larger than a record: its record in each section, and how it is cut.
#[derive(Debug)]
pub(crate) struct LargeRow {
    pub(crate) sections: Vec<Rows>,
    pub(crate) fragments: Fragments,
}

impl Encoded {
    /// A fragment of a row, closed by the limit. What it says of its transaction or snapshot is the caller's.
    pub(crate) fn fragment(
        stream: usize,
        kind: Kind,
        stand: Stand,
        row: &Arc<LargeRow>,
        index: u32,
    ) -> Encoded {
        Encoded {
            stream,
            kind,
            first: stand.clone(),
            last: stand,
            continues: false,
            leaves_open: false,
            closed_by: ClosedBy::Limit,
            resolved: At::START,
            begun: 0,
            ended: 0,
            first_commit_time: UnixMicros(0),
            last_commit_time: UnixMicros(0),
            row_events: 1,
            truncates: 0,
            snapshot: None,
            sections: Vec::new(),
            fragment: Some((Arc::clone(row), index)),
        }
    }
}

/// Where a row stands, with the engine's name of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stand {
    pub(crate) mark: Mark,
    pub(crate) token: Token,
}

/// What the capture thread tells the sealing thread, in order.
#[derive(Debug)]
pub(crate) enum FromCapture {
    /// Seal and publish this.
    Batch(Box<Encoded>),
    /// Every transaction that ends at or before this place is in the batches sent so far.
    Captured(At),
}
