//! Faults of real processes: kill -9 between each pair of stages and at each durable write, two owners, bad keys, bad
//! disks, bad witnesses, rubbish. After each, the same start again: nothing is lost, nothing stands twice, nothing has to
//! be repaired by hand, and what a person meets has a code with a page.
//!
//! A fault that did not fire fails its test. Each test has a scene of its own, so that they run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test ends by panicking, and nobody is outside of it"
)]

mod amended;
#[allow(dead_code, reason = "the connector's tests use all of it")]
#[path = "../../connectors/postgres/tests/postgres/application.rs"]
mod application;
#[allow(dead_code, unreachable_pub, reason = "the transport's own tests need more of it")]
#[path = "../../bridge/kafka/tests/real/broker.rs"]
mod broker;
mod campaign;
#[path = "../../connectors/postgres/tests/postgres/cluster.rs"]
mod cluster;
mod fragments;
mod full;
mod keys;
mod kills;
mod large;
mod leaders;
mod liar;
mod load;
mod older;
mod over;
mod owners;
mod postgres;
#[allow(dead_code, unreachable_pub, reason = "the harness has hands that only other tests need")]
#[path = "../process.rs"]
mod process;
mod receiving;
#[allow(dead_code, unreachable_pub, reason = "the path's tests use other parts")]
#[path = "../reckoning.rs"]
mod reckoning;
mod restored;
mod rubbish;
mod running;
mod tables;
mod truth;
mod vectors;
mod witnesses;
mod writes;
