//! A stream's state and its places: what is stored, sent in beacons and begun from.

use bridge_envelope::SnapshotPlace;
use bridge_event::{Epoch, IncarnationNumber, Offset, Sequence};
use bridge_suite::Digest;

use crate::Mark;

/// The last position that a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Last {
    /// The life of the source that the mark belongs to.
    pub incarnation: IncarnationNumber,
    /// The last row's mark, or a snapshot's as-of position.
    pub mark: Mark,
}

/// A source transaction that a stream's head leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Its commit.
    pub commit: u64,
}

/// The machine's state right after a record: all that the rules remember of a stream.
///
/// The fields are plain, so that a beacon, a `heads` file or a sink's progress can write them and read them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The newest fenced epoch; `Epoch(0)` before the first fence.
    pub fenced: Epoch,
    /// The head's sequence and digest; `None` before sequence 0.
    pub head: Option<(Sequence, Digest)>,
    /// The last position; means nothing while `head` is `None`.
    pub last: Last,
    /// The source transaction that the head leaves open.
    pub open: Option<Open>,
    /// The newest snapshot chunk; `None` before the first one, and after a GAP: what is missing may have held chunks.
    pub snapshot: Option<SnapshotPlace>,
}

impl State {
    /// Before a stream's first record.
    pub const START: State = State {
        fenced: Epoch(0),
        head: None,
        last: Last { incarnation: IncarnationNumber(0), mark: Mark::START },
        open: None,
        snapshot: None,
    };

    /// Whether a snapshot has begun whose last chunk is not there: nothing but the snapshot may bring rows.
    pub fn in_snapshot(&self) -> bool {
        self.snapshot.is_some_and(|snapshot| !snapshot.last)
    }
}

/// An offset together with the state right after the record before it: where reading can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The next record to read.
    pub offset: Offset,
    /// The state before that record.
    pub state: State,
}

impl Place {
    /// The beginning of a stream whose first record is still there.
    pub const START: Place = Place { offset: Offset(0), state: State::START };

    /// The place that a beacon carries.
    pub fn of(place: &bridge_envelope::Place) -> Place {
        let state = State {
            fenced: place.epoch,
            head: place.head.map(|head| (head.sequence, head.digest)),
            last: Last { incarnation: place.incarnation, mark: place.last },
            open: place.open.map(|commit| Open { commit }),
            snapshot: place.snapshot,
        };
        Place { offset: place.offset, state }
    }

    /// The place as a beacon carries it.
    pub fn wire(&self) -> bridge_envelope::Place {
        let State { fenced, head, last, open, snapshot } = self.state;
        bridge_envelope::Place {
            offset: self.offset,
            epoch: fenced,
            head: head.map(|(sequence, digest)| bridge_envelope::BatchRef { sequence, digest }),
            incarnation: last.incarnation,
            last: last.mark,
            open: open.map(|open| open.commit),
            snapshot,
        }
    }
}
