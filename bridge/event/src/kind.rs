//! What a batch is for.

/// The kind of a batch. The number is the wire's (docs/spec/sealed-batch.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Changes, in commit order.
    Stream,
    /// Rows found by a snapshot, as of one position.
    Snapshot,
    /// A section's schema changes.
    Schema,
    /// An operator's signed statement that changes between two positions may be missing.
    Gap,
    /// An operator's signed statement that published changes vanished at the source.
    Retract,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 5] = [Kind::Stream, Kind::Snapshot, Kind::Schema, Kind::Gap, Kind::Retract];

    /// The kind's number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Kind::Stream => 0,
            Kind::Snapshot => 1,
            Kind::Schema => 2,
            Kind::Gap => 3,
            Kind::Retract => 4,
        }
    }

    /// The kind of a number, `None` when there is none.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number)).copied()
    }

    /// The kind's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Stream => "stream",
            Kind::Snapshot => "snapshot",
            Kind::Schema => "schema",
            Kind::Gap => "gap",
            Kind::Retract => "retract",
        }
    }
}
