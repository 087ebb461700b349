//! The receiving flow: fetch, verify, open, deliver.
//!
//! *In scope*: which records are read and from where, what is trusted of them and at which level, the department's own
//! sections as rows, the sink and its progress, check mode, `/metrics` and `/health`. *Out of scope*: what a batch is
//! (`bridge-envelope`), whether it follows its chain (`bridge-chain`), who holds which key (`bridge-trust`), reading
//! configuration, key files and the clock (`bridge-cli`).
//!
//! ```text
//! Fetcher -> verify: signature, chain -> wait for the level -> open: key record, section -> sink -> fsync -> progress
//!                      ^                        ^
//!                  contracts             beacons: log proof, cosignatures
//! ```
//!
//! Invariants:
//! - nothing is opened that is not signed by its department and does not follow its chain, and nothing is delivered below
//!   the least level;
//! - every row is in the sink exactly once: a file is cut back to what the progress says, a database has both in one
//!   transaction, and the progress never goes past a record that is not wholly delivered, or that halted;
//! - a record that nobody entitled has signed is dropped and told; it cannot stop delivery;
//! - no row's value is logged.

mod assurance;
mod check;
mod checkpoints;
mod clock;
mod deliver;
mod disk;
mod error;
mod event_rows;
mod finding;
mod flow;
mod freshness;
mod json;
mod keys;
mod lane;
mod memory;
mod merge;
mod metrics;
mod on_record;
mod postgres;
mod probe;
mod progress;
mod promise;
mod quiet;
mod records;
mod run;
mod serve;
mod settings;
mod sink;
mod start;
mod verify;

pub use assurance::Level;
pub use bridge_event::Disposition;
pub use check::{Report, StreamReport, check};
pub use clock::Clock;
pub use disk::{Act, Disk, Fault};
pub use error::{DeliverError, RunError, SettingsError};
pub use finding::{Consequence, Found};
pub use postgres::{Created, Password, SinkError, create, script};
pub use probe::{Interrupted, Point, Probe, Unwatched};
pub use progress::Started;
pub use run::{Subscriber, run};
pub use settings::{Least, Limits, Mode, Postgres, Settings, Sink, Start, Subscribed};
