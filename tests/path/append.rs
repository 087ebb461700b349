//! append: published batch -> an entry in the connector's append-only log, fsynced.

use bridge_ledger::TileReader;
use std::time::Duration;

use crate::process::ORIGIN;
use crate::province::{payment, province, until};

#[test]
fn every_batch_stands_in_the_log_in_the_streams_order() {
    let province = province();
    let numbers = province.numbers(3);
    numbers.clone().for_each(|number| province.execute(&payment(number)));
    province.delivered("audit", &numbers, 3);
    let accepted: Vec<_> =
        province.stage.accepted("payments").into_iter().map(|(_, digest)| digest).collect();
    until("the log has what the topic has", || province.stage.logged("payments").len() >= accepted.len());
    assert_eq!(province.stage.logged("payments")[..accepted.len()], accepted);
}

#[test]
fn a_quorum_that_does_not_count_the_logs_owner_cosigns_what_the_log_serves() {
    let province = province();
    let policy = province.stage.trust().policy_for(&ORIGIN.parse().unwrap()).unwrap();
    let tiles = TileReader::http(&format!("http://{}", province.connector), Duration::from_secs(5)).unwrap();
    let mut counted = Vec::new();
    until("the served checkpoint has a quorum", || {
        let standing = policy.evaluate(&tiles.checkpoint().unwrap()).unwrap();
        counted = standing.cosigned.iter().map(|cosigned| cosigned.witness.clone()).collect();
        standing.quorum
    });
    assert!(counted.len() >= 2 && counted.iter().all(|name| !name.contains("/tax/")), "{counted:?}");
    let shown = province.stage.scene.run(&["log", "show", "--directory", "tax/log"]);
    assert!(shown.contains("cosigned by"), "{shown}");
}
