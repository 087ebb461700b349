//! The path of one change through the real processes, a file for each stage word: what that stage promises.
//!
//! All tests share one scene while they run: a connector of two datasets, four witnesses, and the subscribers of an auditor,
//! who may open everything, and of social security, who may open a part. Each test makes rows of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test ends by panicking, and nobody is outside of it"
)]

mod acknowledge;
mod append;
#[allow(dead_code, reason = "the connector's own tests need more of it")]
#[path = "../../connectors/postgres/tests/postgres/application.rs"]
mod application;
mod capture;
mod deliver;
mod encode;
mod fetch;
mod open;
mod postgres;
#[allow(dead_code, unreachable_pub, reason = "the harness has hands that only other tests need")]
#[path = "../process.rs"]
mod process;
mod province;
mod publish;
#[allow(dead_code, unreachable_pub, reason = "the faults' tests use other parts")]
#[path = "../reckoning.rs"]
mod reckoning;
mod seal;
mod verify;
