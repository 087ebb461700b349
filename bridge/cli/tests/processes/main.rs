//! The real binary's processes, each started, questioned, stopped and killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

mod connector;
#[allow(dead_code, unreachable_pub, reason = "tests/process.rs has hands that only other tests need")]
#[path = "../../../../tests/process.rs"]
mod process;
mod subscriber;
mod witness;

use bridge_kafka::trial::Cluster;
use process::{Binary, Scene};

/// A scene with its transport, in which tax sends these datasets.
fn scene(datasets: &[&str]) -> (Scene, Cluster) {
    let cluster = Cluster::start(1).unwrap();
    let scene = Scene::new(Binary::at(env!("CARGO_BIN_EXE_govbridge")), cluster.bootstrap(), datasets);
    for topic in scene.topics() {
        cluster.create_topic(&topic, 1).unwrap();
    }
    (scene, cluster)
}
