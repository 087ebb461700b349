//! Changes of a SQLite file, from a changelog that triggers write.
//!
//! SQLite has no log that another process can read, so [`create`] installs triggers in the department's file. They
//! write each change of a shared table into a changelog, in the application's own transaction; the connector
//! reads it, delivers it, and prunes what was acknowledged. The format is `docs/spec/changelog.md`; how
//! transactions are told apart is `docs/decisions/0003-sqlite-transactions.md`.
//!
//! *In scope*: the claim on a file, snapshots, the changelog, its values, what stands against capturing a table.
//! *Out of scope*: contracts, batches, Kafka, the log.
//!
//! ```text
//!   application                      connector
//!     BEGIN                            claim: lock file + token in the file
//!     write person ---trigger--+       poll:  close what is committed and open (one short transaction)
//!     write payment --trigger--|              read (place, closed], make it durable, deliver
//!     COMMIT                   v       acknowledge: token? then prune, in chunks
//!                    govbridge_changelog
//!                    govbridge_commit
//! ```
//!
//! Invariants: a delivered transaction is one or several whole transactions of the application, never a part of one;
//! boundaries are in the file before they are delivered, so every restart finds the same; what is delivered is
//! durable at the source first; no write without the token; the ids of the changelog are dense, and a hole halts.

mod claim;
mod create;
mod decode;
mod file;
mod layout;
mod preflight;
mod replication;
mod schema;
mod shape;
mod snapshot;
mod source;
mod triggers;
mod values;

pub use claim::holder;
pub use connectors_source::{Claimant, Finding, Severity};
pub use create::{Created, create, script};
pub use preflight::preflight;
pub use source::SqliteSource;
