//! The row record: what stands at the head of a row's bytes.
//!
//! ```text
//! operation    enum{read,insert,update,delete,truncate}
//! commit       long    the same 64 bits
//! ordinal      long    the same 64 bits
//! commit_time  long    microseconds
//! transaction  long    the same 64 bits
//! index        long    the same 64 bits
//! parts        int     bit 0 a before state follows, bit 1 an after state follows
//! key columns          bare values in contract order; none for a truncate
//! for each group, then for the ungrouped columns:
//!   before state       if bit 0: for each column a union [T, null, Unchanged, Absent]
//!   after state        if bit 1: the same
//! ```

use bridge_event::{Change, Operation, Transaction, UnixMicros};

/// Most bytes of one row of a section; a larger one halts the connector.
pub const ROW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most rows of one batch, so of one section's content.
pub(crate) const ROWS_MAX: usize = 65_536;

/// Least bytes of one row: seven numbers of at least one byte each.
pub(crate) const ROW_BYTES_MIN: usize = 7;

/// The facts at the head of each row's bytes, beside its operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHead {
    /// The place of the transaction's commit.
    pub commit: u64,
    /// The row's number in its transaction in this stream, from 1.
    pub ordinal: u64,
    /// When the transaction committed, by the source's clock.
    pub commit_time: UnixMicros,
    /// The engine's number of the transaction.
    pub transaction: u64,
    /// The row's index in the whole source transaction, from 0.
    pub index: u64,
}

impl EventHead {
    /// The head of a change, the `ordinal`-th row of its transaction in its stream.
    pub fn of(change: &Change<'_>, transaction: &Transaction, ordinal: u64) -> EventHead {
        EventHead {
            commit: transaction.commit,
            ordinal,
            commit_time: transaction.committed_at,
            transaction: transaction.number,
            index: change.index,
        }
    }
}

/// Which states a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum States {
    /// None: a truncate, which has no key either.
    None,
    /// The state before: a delete.
    Before,
    /// The state after: an insert, a read, or an update whose before state is not known.
    After,
    /// Both: an update.
    Both,
}

impl States {
    /// All of them, in the order of their numbers.
    pub const ALL: [States; 4] = [States::None, States::Before, States::After, States::Both];

    /// The lowest two bits of `parts`.
    pub fn number(self) -> u8 {
        match self {
            States::None => 0,
            States::Before => 1,
            States::After => 2,
            States::Both => 3,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<States> {
        States::ALL.into_iter().find(|states| u64::from(states.number()) == number)
    }

    /// Whether a before state follows.
    pub fn has_before(self) -> bool {
        matches!(self, States::Before | States::Both)
    }

    /// Whether an after state follows.
    pub fn has_after(self) -> bool {
        matches!(self, States::After | States::Both)
    }

    /// Whether a row of this operation can hold these states.
    pub(crate) fn fit(self, operation: Operation) -> bool {
        match operation {
            Operation::Read | Operation::Insert => self == States::After,
            Operation::Update => self.has_after(),
            Operation::Delete => self == States::Before,
            Operation::Truncate => self == States::None,
        }
    }
}

/// An operation's number on the wire.
pub(crate) fn operation_number(operation: Operation) -> u8 {
    match operation {
        Operation::Read => 0,
        Operation::Insert => 1,
        Operation::Update => 2,
        Operation::Delete => 3,
        Operation::Truncate => 4,
    }
}

pub(crate) fn operation_of(number: u64) -> Option<Operation> {
    [Operation::Read, Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate]
        .into_iter()
        .find(|operation| u64::from(operation_number(*operation)) == number)
}
