//! A whole subscriber with tables as its sink, on a PostgreSQL server that a test has to itself: it asks for certificates,
//! gives too few rights, is stopped, and is full. `PG` chooses its version.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test ends by panicking, and nobody is outside of it"
)]

#[allow(dead_code, reason = "the connector's tests use all of it")]
#[path = "../../connectors/postgres/tests/postgres/application.rs"]
mod application;
mod away;
#[allow(dead_code, unreachable_pub, reason = "the transport's own tests need more of it")]
#[path = "../../bridge/kafka/tests/real/broker.rs"]
mod broker;
mod grants;
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
mod server;
mod tables;
