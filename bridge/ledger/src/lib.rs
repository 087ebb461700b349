//! The log on disk, its checkpoints, and the witnesses that cosign them.
//!
//! ```text
//! entries -> Log::append -> journal, tiles -> Log::sign_checkpoint -> SignedCheckpoint
//!                                                  |  witnesses over add-checkpoint
//!                                                  v
//! readers <- tile_router / TileReader <- Log::publish (checkpoint with its cosignatures)
//! ```
//!
//! *In scope*: the one writer of a log's directory, what it survives, the rule that a checking witness cosigns by, asking
//! witnesses and being one, reading and serving tiles.
//! *Out of scope*: the formats (`bridge-tlog`), what entries mean (`bridge-envelope`), when to sign and what to do about a
//! missing quorum (`bridge-pipeline`), which witnesses there are (the trust file).
//!
//! Invariants:
//! - `append` returns after fsync; after a failed write this process writes nothing more;
//! - a log never signs below its own newest checkpoint, and never a root that it has not hashed again from the disk;
//! - a process that lost the lock writes nothing, not even the rest of what it had begun;
//! - a witness stores a checkpoint before it answers, and never two that do not follow each other.

mod acknowledged;
mod append;
mod chains;
mod checkpointing;
mod conflict;
mod cosigners;
mod disk;
mod heads;
mod http;
mod journal;
mod levels;
mod lock;
mod log;
mod log_error;
#[cfg(test)]
mod sample;
mod stored;
mod tile_reader;
mod tile_server;
mod witness;
mod witness_client;
mod witness_error;
mod witness_process;
mod witness_server;
mod witness_state;

pub use acknowledged::Acknowledged;
pub use bridge_event::Disposition;
pub use chains::{ChainHead, Chains, Violation};
pub use conflict::Conflict;
pub use cosigners::{Answered, Cosigners, CosignersBell};
pub use disk::{Act, Disk, Fault};
pub use heads::PLACE_BYTES_MAX;
pub use lock::Holder;
pub use log::Log;
pub use log_error::{AppendError, OpenError};
pub use tile_reader::{HashError, ReadError, TileReader};
pub use tile_server::tile_router;
pub use witness::{WatchedLog, Witness};
pub use witness_client::{AskError, Cosignature, WitnessClient};
pub use witness_error::{RefuseError, WitnessError};
pub use witness_process::run_witness;
pub use witness_server::{Clock, witness_router};
