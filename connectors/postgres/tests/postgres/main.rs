//! The connector against a real PostgreSQL, which `deploy/dev/services.sh` starts when none runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

mod application;
mod bench;
mod claims;
#[allow(dead_code, reason = "the tests of faults use all of it")]
mod cluster;
mod conformance;
mod copies;
mod creation;
mod drift;
mod order;
mod silence;
mod stream;
mod unfit;
mod values;
