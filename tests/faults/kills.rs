//! kill -9 of the connector between each pair of stages.

use crate::reckoning::{Received, Stage, killed_by};
use crate::running::{FAULT, FIRST, Running, SMALL_BATCHES, quorum};

/// Kills a connector at each fault in turn. Each next one starts where the last one fell, and every second time it
/// falls again before it has done anything.
fn killed_at(environment: &'static [(&'static str, &'static str)], faults: &[&str]) {
    let mut running = Running::after_the_snapshot(environment);
    for (turn, fault) in faults.iter().enumerate() {
        running.kill_connector(fault);
        if turn % 2 == 1 {
            running.one_good_life();
        }
    }
    running.reckon();
}

#[test]
fn a_connector_killed_between_capture_and_publish_repeats_and_loses_nothing() {
    let faults = [
        "after-encode:1",
        "after-encode:7",
        "after-seal:1",
        "after-seal:7",
        "after-publish:1",
        "after-publish:7",
    ];
    killed_at(&[], &faults);
}

#[test]
fn a_connector_killed_between_publish_and_acknowledge_repeats_and_loses_nothing() {
    let faults =
        ["before-append:1", "before-append:7", "after-append:1", "after-append:7", "after-acknowledge:1"];
    killed_at(&[], &faults);
}

#[test]
fn a_connector_killed_in_its_start_or_at_a_checkpoint_repeats_and_loses_nothing() {
    let faults =
        ["after-epoch:1", "after-fence:1", "after-key-record:1", "after-checkpoint:1", "after-checkpoint:3"];
    killed_at(&[], &[&faults[..], &["after-beacon:1", "after-beacon:4"]].concat());
}

#[test]
fn a_connector_killed_inside_transactions_larger_than_a_batch_ends_them_whole() {
    let faults =
        ["after-seal:2", "after-publish:11", "before-append:3", "after-append:12", "after-acknowledge:2"];
    killed_at(SMALL_BATCHES, &faults);
}

#[test]
fn a_connector_killed_in_its_snapshot_begins_another_and_ends_it() {
    let stage = Stage::new(&["payments"]);
    let witnesses = quorum(&stage);
    stage.scene.pay(FIRST..FIRST + 200);
    let one_row = SMALL_BATCHES[0];
    // The first two fall before anything of the snapshot stands in Kafka, the others in the middle of it.
    for fault in
        ["after-key-record:1", "in-snapshot:1", "in-snapshot:150", "after-append:2", "after-publish:100"]
    {
        killed_by(stage.scene.connector_with(&[], &[one_row, (FAULT, fault)]), fault);
    }
    let mut connector = stage.scene.connector();
    stage.scene.make_subscriber("audit", "");
    connector.healthy();
    let mut auditor = stage.scene.subscriber("audit");
    auditor.until("the table is there", || Received::of(&stage.scene.rows("audit")).table == stage.source());
    assert_eq!(connector.stop().0.code(), Some(0));
    assert_eq!(auditor.stop().0.code(), Some(0));
    let accepted = stage.accepted("payments");
    let parts: Vec<_> = accepted
        .iter()
        .filter_map(|(header, _)| header.snapshot.as_ref())
        .map(|p| (p.generation.0, p.last))
        .collect();
    let (generation, last) = *parts.last().unwrap();
    assert!(generation >= 2 && last, "the snapshot that was broken off was begun again: {parts:?}");
    assert_eq!(parts.iter().filter(|(_, last)| *last).count(), 1, "and ended once: {parts:?}");
    stage.log_and_topic_agree("payments");
    drop(witnesses);
}
