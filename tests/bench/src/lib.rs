//! What the benchmarks share: the row of the baselines, a contract of two sections, and both ends of the path.
//!
//! ```text
//! Sending    rows -> encode -> seal -> frames
//! Receiving  frames -> verify -> open -> read -> compared with the rows that went in
//! ```
//!
//! *In scope*: the stages that need a processor and nothing else. *Out of scope*: sources, Kafka, the log's disk.
//!
//! Everything runs on one thread, and what a stage costs is that thread's CPU time: another process on the machine
//! makes the run longer, not the figure larger.

mod clock;
mod receiving;
mod row;
mod scene;
mod sending;

pub use clock::{CpuClock, Spent};
pub use receiving::{Receipt, Receiving};
pub use row::{COLUMNS, ROWS_PER_TRANSACTION, Row};
pub use scene::Scene;
pub use sending::{Sending, seal_batch};
