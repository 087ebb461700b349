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
mod conformance;
mod creation;
mod drift;
mod silence;
mod stream;
mod values;
