//! Changes of a PostgreSQL database, from its logical replication slot.
//!
//! The server decodes its own write-ahead log with `pgoutput` (protocol version 1) and sends whole transactions in commit
//! order. The session is `bridge_pgwire`'s, the types are this crate's own: a value goes from the socket's buffer to whoever
//! encodes it without a copy, but for the few that have another form there (a binary `numeric`, a `bytea` as text).
//!
//! *In scope*: the claim on a slot, snapshots, the stream, its values, what stands against capturing a table, publication
//! and slot. *Out of scope*: contracts, batches, Kafka, the log.
//!
//! ```text
//!   server                               connector
//!     slot (confirmed place) --- stream ---> poll: B, rows, C          (walsender; a thread answers while the path is blocked)
//!     advisory lock, catalog  <--- SQL ----> claim, drift, the log's end            (ordinary session)
//!     exported snapshot       <-- SELECT --- snapshot: rows as of one place         (a third one, for its time)
//!     what the slot retains   <-- SELECT --- gauge                                  (a fourth one, from another thread)
//! ```
//!
//! Invariants: the slot moves only over what was acknowledged, or over what holds nothing of ours; a transaction is told from
//! another by its commit's place, never a row's; what the server sends has the types that were accepted, or capture halts before
//! the row; nothing is written into the department's database but publication, comment and slot, by `--create`.

mod array;
mod catalog;
mod claim;
mod create;
mod decode;
mod gauge;
mod history;
mod interval;
mod preflight;
mod replication;
mod server;
mod shape;
mod snapshot;
mod source;
mod values;

pub use bridge_pgwire::{SslMode, Tls};
pub use connectors_source::{Claimant, Finding, Severity};
pub use create::{Created, create, script};
pub use preflight::preflight;
pub use server::Server;
pub use source::PostgresSource;
