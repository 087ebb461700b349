//! Tests of the SQLite connector on real files.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, and says so by it"
)]

mod bench;
mod boundaries;
mod conformance;
mod drift;
mod processes;
mod vectors;
mod writes;
