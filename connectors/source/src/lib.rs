//! The trait that a connector fulfils, and the suite that every connector passes.
//!
//! *In scope*: what a department's database must be asked and what it must answer, whatever its engine; the errors
//! that every engine shares; the conformance suite (feature `conformance`). *Out of scope*: an engine
//! (`connectors/<engine>`), batches, Kafka, the log (`bridge-pipeline` calls this trait).
//!
//! ```text
//!   claim (the engine's own constructor)
//!     |
//!     v            snapshot: begin(as of), row*            all rows as of one place
//!   Source ------> poll: (begin, row*, commit)*, or Idle   whole transactions, in commit order
//!     ^                |
//!     |                v
//!     '--- acknowledge(through)                            what the source may forget
//! ```
//!
//! Invariants that the suite checks of every engine: transactions come in commit order, each exactly once between two
//! rewinds; the boundaries and the order are the same after every restart; a snapshot and the stream after it lose
//! nothing and repeat nothing; nothing is forgotten that was not acknowledged; one connector holds the claim.

mod capture;
mod claimant;
mod error;
mod finding;
mod source;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use bridge_event::Disposition;
pub use capture::{Capture, SnapshotRows, Stop};
pub use claimant::Claimant;
pub use error::SourceError;
pub use finding::{Finding, Severity};
pub use source::{Gauge, Polled, Recognised, Retained, Source, Table};
