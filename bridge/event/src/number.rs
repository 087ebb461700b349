//! Numbers that could be swapped, each with a type of its own.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $type:ident, $of:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub $of);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A partition of a dataset, from 0.
    Partition, u32
);
number!(
    /// One life of a connector in its log and streams, from 1; every start takes the next one.
    Epoch, u64
);
number!(
    /// The dense number of a batch in its stream's whole life, from 0.
    Sequence, u64
);
number!(
    /// The index of an entry in a log, from 0.
    LogIndex, u64
);
number!(
    /// Kafka's offset of a record in its partition; nothing else is called an offset.
    Offset, i64
);
number!(
    /// The number of an incarnation of a source; it rises with every change of the source's identity.
    IncarnationNumber, u32
);
number!(
    /// The number of a snapshot of a dataset, from 1.
    Generation, u64
);
number!(
    /// Microseconds since 1970-01-01T00:00:00Z.
    UnixMicros, i64
);

impl Sequence {
    /// The number of the batch after this one.
    ///
    /// `None` at the end of 64 bits: a stream ends rather than wraps.
    pub fn next(self) -> Option<Sequence> {
        self.0.checked_add(1).map(Sequence)
    }
}

impl Epoch {
    /// The epoch after this one, `None` at the end of 64 bits.
    pub fn next(self) -> Option<Epoch> {
        self.0.checked_add(1).map(Epoch)
    }
}
