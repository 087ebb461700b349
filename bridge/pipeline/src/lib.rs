//! The sending flow: capture, encode, seal, publish, append, acknowledge.
//!
//! ```text
//!                    lives, one after the other (run)
//!   start ----------> capture --Encoded--> seal, publish --Published--> append --Appended--> acknowledge
//!   (chain::start)      ^                      ^   |                      |  |                    |
//!                       |                      |   `-> Kafka              |  `-> log              |
//!                       |                      `------ beacons ----------'        ^               |
//!                       |                                              checkpoints, witnesses     |
//!                       `-------------------------------------------------------------------------'
//! ```
//!
//! *In scope*: the connector process's threads and what they hand to each other; key versions; beacons; when a
//! checkpoint is signed. *Out of scope*: what decides (`bridge-chain`), formats (`bridge-envelope`), engines
//! (`connectors/*`), the log's files (`bridge-ledger`).
//!
//! Trust: this crate believes its own signing key, its own log after the checks of a start, and the trust file.
//! Kafka, the witnesses and what stands in the topics are verified.
//!
//! Invariants: a stage takes only what the stage before made; the source forgets only what the log holds; a batch is
//! sealed only under a key version whose term holds that instant, and its record is durable before; after any delivery
//! error the producer is destroyed and a new epoch begins; the order of a stop stands in `run::run_life`.

mod append;
mod batch;
mod beacon;
mod capture;
mod checkpoint;
mod error;
mod heads;
mod identity;
mod keys;
mod life;
mod logged;
mod metrics;
mod outside;
mod retained;
mod run;
mod seal;
mod serve;
mod settings;
mod shutdown;
mod start;
mod streams;
mod tail;
mod topics;

pub use capture::CaptureError;
pub use error::ConnectorError;
pub use metrics::Metrics;
pub use outside::{Clock, NoProbe, Point, Probe, Random, RandomError};
pub use run::{Claim, Connector, Promise, run};
pub use settings::{BatchLimits, Intervals, TopicSettings};
pub use shutdown::Shutdown;
