//! The rules that stand in the flows rather than in `bridge-chain`; the model performs them, and breaks them too.

use bridge_chain::{Place, Rules, Shipped, SnapshotPlace, State};
use bridge_event::{Epoch, Generation, Offset, Sequence};
use bridge_suite::Digest;

/// A set of rules: those of `bridge-chain` and those of the flows around it.
pub(crate) trait Flow: Rules {
    /// A connector begins at a place, not at the last verified batch of the stream.
    const START_AT_PLACE: bool = true;
    /// Each stream skips what it has itself, not what the first stream has.
    const SKIP_BY_OWN_TAIL: bool = true;
    /// A source transaction that a stream has open gets its end there.
    const END_IN_EVERY_OPEN_STREAM: bool = true;

    /// Every chunk of a snapshot is sent.
    const EVERY_CHUNK_IS_SENT: bool = true;

    /// Generation and chunk with which a snapshot goes on that lacks its last chunk; `None` when it does not.
    fn snapshot_again(before: SnapshotPlace) -> Option<(Generation, u64)> {
        Some((Generation(before.generation.0 + 1), 0))
    }

    /// What is kept of a place for a start.
    fn kept(place: Place) -> Place {
        place
    }

    /// What a reader stores after a record: all of the state.
    fn progress(state: &State, _before: State) -> State {
        *state
    }

    /// Where a reader that starts in mid-stream begins, for a beacon at `offset`: at its place.
    fn reader_place(place: Place, _epoch: Epoch, _head: Option<(Sequence, Digest)>, _offset: usize) -> Place {
        place
    }
}

impl Flow for Shipped {}

/// The place that a reader would begin at who believed a beacon's head instead of its place.
pub(crate) fn at_beacon(
    place: Place,
    epoch: Epoch,
    head: Option<(Sequence, Digest)>,
    offset: usize,
) -> Place {
    let state = State { fenced: epoch, head, ..place.state };
    Place { offset: Offset(i64::try_from(offset).unwrap() + 1), state }
}
