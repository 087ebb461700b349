//! Broken variants of the rules, one rule each. The model must find every one of them.

use bridge_chain::{Place, Rules, SnapshotPlace, State};
use bridge_event::{Epoch, Generation, Sequence};
use bridge_suite::Digest;

use crate::explore::{Explored, explore};
use crate::flow::{Flow, at_beacon};
use crate::world::Bounds;

macro_rules! variant {
    ($name:ident, { $($rule:item)* }, { $($flow:item)* }) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub(crate) struct $name;
        impl Rules for $name {
            $($rule)*
        }
        impl Flow for $name {
            $($flow)*
        }
    };
}

variant!(
    FenceOfAnyEpoch,
    {
        const FENCES_RISE: bool = false;
    },
    {}
);
variant!(
    LowerEpochAccepted,
    {
        const LOWER_EPOCH_IS_LATE: bool = false;
    },
    {}
);
variant!(
    EpochWithoutFence,
    {
        const FENCE_COMES_FIRST: bool = false;
        const EVERY_FENCE_ACKNOWLEDGED: bool = false;
    },
    {}
);
variant!(
    SequenceAtLeast,
    {
        const SEQUENCE_IS_EXACT: bool = false;
    },
    {}
);
variant!(
    AheadIsLoss,
    {
        const AHEAD_IS_DROPPED: bool = false;
    },
    {}
);
variant!(
    TailBeforeFence,
    {
        const TAIL_AFTER_FENCE: bool = false;
    },
    {}
);
variant!(
    OneFenceSuffices,
    {
        const EVERY_FENCE_ACKNOWLEDGED: bool = false;
    },
    {}
);
variant!(
    EpochIsKept,
    {
        const EPOCH_IS_NEW: bool = false;
    },
    {}
);
variant!(
    AdoptedNotAppended,
    {
        const ADOPTED_IS_APPENDED: bool = false;
    },
    {}
);
variant!(
    AppendUnchecked,
    {
        const APPEND_NEEDS_NEWEST_EPOCH: bool = false;
    },
    {}
);
variant!(
    SkipByCommit,
    {
        const SKIP_BY_MARK: bool = false;
    },
    {}
);
variant!(
    LastPartForgotten,
    {
        const LAST_PART_IS_OWED: bool = false;
    },
    {}
);
variant!(
    OpenNotTakenOver,
    {
        const OPEN_IS_TAKEN_OVER: bool = false;
    },
    {}
);
variant!(
    BeaconOfSent,
    {
        const BEACON_HEAD_IS_ACKNOWLEDGED: bool = false;
    },
    {}
);
variant!(
    PlaceBeforeAppend,
    {
        const PLACE_AFTER_APPEND: bool = false;
    },
    {}
);
variant!(
    AcknowledgeBeforeAppend,
    {
        const APPEND_BEFORE_ACKNOWLEDGE: bool = false;
    },
    {}
);
variant!(
    AcknowledgeUnresolved,
    {
        const RESOLVED_BOUNDS_ACKNOWLEDGE: bool = false;
    },
    {}
);
variant!(
    KeepaliveInside,
    {
        const KEEPALIVE_NEEDS_CLOSED: bool = false;
    },
    {}
);
variant!(StartAtLastBatch, {}, {
    const START_AT_PLACE: bool = false;
});
variant!(OneTailForAll, {}, {
    const SKIP_BY_OWN_TAIL: bool = false;
});
variant!(EndOnlyWithRows, {}, {
    const END_IN_EVERY_OPEN_STREAM: bool = false;
});
variant!(ReaderAtBeaconHead, {}, {
    fn reader_place(place: Place, epoch: Epoch, head: Option<(Sequence, Digest)>, offset: usize) -> Place {
        at_beacon(place, epoch, head, offset)
    }
});
variant!(ProgressWithoutFence, {}, {
    fn progress(state: &State, before: State) -> State {
        // Written only with what is delivered; a fence delivers nothing.
        if state.head == before.head { before } else { *state }
    }
});
variant!(ProgressWithoutOpen, {}, {
    fn progress(state: &State, _: State) -> State {
        State { open: None, ..*state }
    }
});

variant!(
    ChunkLost,
    {
        const CHUNKS_ARE_DENSE: bool = false;
    },
    {
        const EVERY_CHUNK_IS_SENT: bool = false;
    }
);
variant!(
    GenerationKept,
    {
        const GENERATIONS_ARE_DENSE: bool = false;
    },
    {
        fn snapshot_again(before: SnapshotPlace) -> Option<(Generation, u64)> {
            Some((before.generation, 0))
        }
    }
);
variant!(
    SnapshotForgotten,
    {
        const SNAPSHOT_ENDS_FIRST: bool = false;
    },
    {
        fn snapshot_again(_: SnapshotPlace) -> Option<(Generation, u64)> {
            None
        }
    }
);
variant!(SnapshotGoesOn, {}, {
    fn snapshot_again(before: SnapshotPlace) -> Option<(Generation, u64)> {
        Some((before.generation, before.chunk + 1))
    }
});
variant!(PlaceWithoutSnapshot, {}, {
    fn kept(place: Place) -> Place {
        Place { state: State { snapshot: None, ..place.state }, ..place }
    }
});
variant!(ProgressWithoutSnapshot, {}, {
    fn progress(state: &State, _: State) -> State {
        State { snapshot: None, ..*state }
    }
});

/// One variant and the exploration that must find it.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// The bounds, by their name in [`crate::bounds`].
    pub(crate) bounds: &'static str,
    /// The invariant that breaks first.
    pub(crate) breaks: &'static str,
    pub(crate) explore: fn(&Bounds, usize) -> Explored,
}

macro_rules! variants {
    ($(($name:ident, $bounds:literal, $breaks:literal)),* $(,)?) => {
        pub(crate) const VARIANTS: &[Variant] = &[$(Variant {
            name: stringify!($name), bounds: $bounds, breaks: $breaks, explore: explore::<$name>,
        }),*];
    };
}

variants!(
    (TailBeforeFence, "late requests", "false alarm"),
    (StartAtLastBatch, "failures", "false alarm"),
    (BeaconOfSent, "beacons", "false alarm"),
    (OpenNotTakenOver, "late requests", "false alarm"),
    (AppendUnchecked, "two alive", "log = readers"),
    (AcknowledgeBeforeAppend, "late requests", "acknowledged"),
    (EpochIsKept, "late requests", "false alarm"),
    (EpochWithoutFence, "failures", "false alarm"),
    (SequenceAtLeast, "late requests", "false alarm"),
    (SkipByCommit, "late requests", "whole transactions"),
    (OneTailForAll, "late requests", "exactly once"),
    (PlaceBeforeAppend, "late requests", "false alarm"),
    (AdoptedNotAppended, "late requests", "log = readers"),
    (LastPartForgotten, "late requests", "exactly once"),
    (EndOnlyWithRows, "late requests", "exactly once"),
    (FenceOfAnyEpoch, "late requests", "false alarm"),
    (LowerEpochAccepted, "late requests", "false alarm"),
    (OneFenceSuffices, "failures", "false alarm"),
    (AheadIsLoss, "late requests", "false alarm"),
    (AcknowledgeUnresolved, "two alive", "acknowledged"),
    (KeepaliveInside, "late requests", "acknowledged"),
    (ReaderAtBeaconHead, "two alive", "exactly once"),
    (ProgressWithoutFence, "failures", "false alarm"),
    (ProgressWithoutOpen, "late requests", "false alarm"),
    (ChunkLost, "snapshot", "exactly once"),
    (GenerationKept, "snapshot", "exactly once"),
    (SnapshotForgotten, "snapshot", "exactly once"),
    (SnapshotGoesOn, "snapshot", "false alarm"),
    (PlaceWithoutSnapshot, "snapshot", "false alarm"),
    (ProgressWithoutSnapshot, "snapshot", "false alarm"),
);
