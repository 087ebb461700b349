//! The words that every stage shares: who (departments), what (datasets, sections), where (positions), and the
//! rows and changes themselves.
//!
//! *In scope*: names with their rules, numbers that must not be swapped, positions and how they compare, values
//! that borrow from whoever read them, encoded rows and their parts. *Out of scope*: bytes on the wire (`bridge-envelope`), Avro (`schemas`),
//! rules of a stream (`bridge-chain`).
//!
//! Invariants: a name that exists is valid; a number of one kind cannot be passed for another; positions of two
//! incarnations do not compare.

mod change;
mod disposition;
mod kind;
mod name;
mod number;
mod position;
mod rows;

pub use change::{Cell, Change, Operation, Transaction, Value};
pub use disposition::Disposition;
pub use kind::Kind;
pub use name::{Dataset, Department, GroupName, NameError, Origin, SectionName, StreamId};
pub use number::{Epoch, Generation, IncarnationNumber, LogIndex, Offset, Partition, Sequence, UnixMicros};
pub use position::{At, Incarnation, Mark, Position, PositionError, TOKEN_BYTES_MAX, Token};
pub use rows::{GroupParts, RowParts, RowSplit, Rows, SplitError};
