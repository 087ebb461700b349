//! The path and its faults on Apache Kafka itself: real processes, a real broker that is stopped, killed and paused under
//! them, and topics that somebody changes, cuts, deletes and makes anew.
//!
//! Each test has a broker of its own, because topics have fixed names. `GOVBRIDGE_AWAY_S` says how long the broker stays away
//! (20 s when nothing is set).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test ends by panicking, and nobody is outside of it"
)]

mod away;
#[allow(dead_code, unreachable_pub, reason = "the transport's own tests need more of it")]
#[path = "../../bridge/kafka/tests/real/broker.rs"]
mod broker;
mod filler;
#[allow(dead_code, unreachable_pub, reason = "the harness has hands that only other tests need")]
#[path = "../process.rs"]
mod process;
#[allow(dead_code, unreachable_pub, reason = "the path's tests use other parts")]
#[path = "../reckoning.rs"]
mod reckoning;
mod rights;
#[allow(dead_code, unreachable_pub, reason = "the faults' tests use other parts")]
#[path = "../faults/running.rs"]
mod running;
mod topics;
