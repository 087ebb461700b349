//! The rules of a stream, one machine for both ends: epochs, fences, sequences, places, resume, acknowledgement.
//!
//! *In scope*: whether a frame follows its chain and what it means when it does not ([`Machine`]); how a connector
//! starts ([`start`]), what it skips and takes over ([`skip`]), what it may say of batches that it sent
//! ([`outgoing`]), and how far the source may forget ([`cuts`]). *Out of scope*: bytes, signatures and keys
//! (`bridge-envelope`), Kafka, the log on disk, sinks. Nothing here does I/O, reads a clock or draws a number; the
//! flows perform the effects and hand back what came of them.
//!
//! ```text
//!             connector                                            subscriber
//!   start ----> Machine (adopts up to its own fence)                 Machine (every frame, in partition order)
//!     |            |                                                    |
//!   skip        outgoing: seal -> acknowledged -> appended            Step: Accepted, Late, ..., Halt(Finding)
//!                  |
//!                cuts: what the source may forget
//! ```
//!
//! Invariants, explored by the model in `tests/` over these very types: every committed source transaction is
//! accepted exactly once, in order and whole; no [`Finding`] in an honest run; nothing is acknowledged to the source that is
//! not in Kafka and in the log; the log's batch entries of a stream are exactly what readers accept.

pub mod cuts;
mod facts;
mod machine;
pub mod outgoing;
mod rules;
pub mod skip;
pub mod start;
mod state;
mod step;

pub use bridge_envelope::SnapshotPlace;
pub use bridge_event::Mark;
pub use facts::{Facts, Input};
pub use machine::{Machine, RECENT_DIGESTS_MAX};
pub use rules::{Rules, Shipped};
pub use state::{Last, Open, Place, State};
pub use step::{Finding, Step};
