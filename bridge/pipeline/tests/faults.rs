//! Faults around the sending flow that can be made in one process: a broker that refuses, two connectors, a source that
//! went back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and makes its own files"
)]

#[path = "../../trust/tests/province/mod.rs"]
mod province;
mod sender;

use bridge_envelope::Header;
use bridge_event::{Kind, UnixMicros};
use bridge_kafka::trial::{Fault, Request};
use bridge_ledger::{Disk, Holder, Log, OpenError};
use bridge_pipeline::{BatchLimits, ConnectorError, NoProbe};
use sender::{NOW, Scene, stream};
use std::sync::Arc;

fn insert(connection: &rusqlite::Connection, id: i64) {
    let sql = "INSERT INTO payments VALUES (?1, '91999900MA00000001', 'vat', '2026-09-01', 'bank', NULL, '1.00', '0.00')";
    connection.execute(sql, [id]).unwrap();
}

fn count(connection: &rusqlite::Connection) -> u64 {
    let rows: i64 = connection.query_row("SELECT count(*) FROM payments", [], |row| row.get(0)).unwrap();
    u64::try_from(rows).unwrap()
}

/// The batches that a reader accepts: the chain machine's own rule, by sequence and epoch.
fn accepted(scene: &Scene) -> Vec<Header> {
    let mut machine = bridge_chain::Machine::new(Header::genesis(&stream("payments"), &scene.origin()));
    let expected = scene.expected("payments");
    let mut accepted = Vec::new();
    for bytes in scene.records(&stream("payments").topic()) {
        let (input, header) = match &bytes[..4] {
            b"GBF1" => {
                let fence =
                    bridge_envelope::verify_fence(&bytes, &scene.trust, &expected).into_verified().unwrap();
                (bridge_chain::Input::Fence { epoch: fence.content().epoch }, None)
            }
            b"GBB1" => {
                let batch =
                    bridge_envelope::verify_batch(&bytes, &scene.trust, &expected).into_verified().unwrap();
                let header = batch.header().clone();
                (bridge_chain::Input::Batch(bridge_chain::Facts::of(&header, batch.digest())), Some(header))
            }
            _ => continue,
        };
        let step = machine.step(&input);
        assert!(step.finding().is_none(), "{step} in an honest run");
        if step == bridge_chain::Step::Accepted {
            accepted.push(header.unwrap());
        }
    }
    accepted
}

#[test]
fn a_refused_delivery_begins_a_new_epoch_and_loses_and_repeats_nothing() {
    let scene = Scene::new(&["payments"]);
    let application = scene.application();
    let running = scene.start();
    scene.until(&running, "the snapshot", || !scene.batches("payments").is_empty());
    for id in 0..30 {
        if id == 10 || id == 20 {
            scene.cluster.fail_next(Request::Produce, Fault::TooLarge, 1).unwrap();
        }
        insert(&application, 7000 + id);
        let so_far = count(&application);
        scene.until(&running, "the rows so far", || {
            accepted(&scene).iter().map(|h| h.row_events).sum::<u64>() == so_far
        });
    }
    running.stop().unwrap();
    let epochs: Vec<u64> = accepted(&scene).iter().map(|h| h.epoch.0).collect();
    assert!(epochs.is_sorted());
    assert!(*epochs.last().unwrap() >= 2, "no fault fired: {epochs:?}");
}

#[test]
fn a_transaction_larger_than_a_batch_spans_several_and_is_whole() {
    let scene = Scene::new(&["payments"]);
    let mut application = scene.application();
    let mut connector = scene.connector(Arc::new(NoProbe));
    connector.limits = BatchLimits { rows_max: 100, ..BatchLimits::default() };
    let running = scene.start_with(connector);
    scene.until(&running, "the snapshot", || !scene.batches("payments").is_empty());
    let transaction = application.transaction().unwrap();
    for id in 0..1000 {
        insert(&transaction, 20_000 + id);
    }
    transaction.commit().unwrap();
    scene.until(&running, "the rows", || scene.rows("payments") == 1000);
    scene.until(&running, "the last part", || !accepted(&scene).last().unwrap().leaves_open);
    running.stop().unwrap();
    let parts: Vec<Header> = accepted(&scene).into_iter().filter(|h| h.kind == Kind::Stream).collect();
    assert!(parts.len() >= 10);
    let ended: u64 = parts.iter().map(|h| h.transactions_ended).sum();
    let begun: u64 = parts.iter().map(|h| h.transactions_begun).sum();
    assert_eq!((begun, ended), (1, 1), "one transaction, however many parts");
    for pair in parts.windows(2) {
        assert_eq!(pair[0].leaves_open, pair[1].continues);
    }
}

#[test]
fn a_second_connector_on_one_log_and_source_is_refused_by_name() {
    let scene = Scene::new(&["payments"]);
    let running = scene.start();
    scene.until(&running, "the snapshot", || !scene.batches("payments").is_empty());
    match Log::open(&scene.log_dir(), &Holder::here(UnixMicros(NOW)), Disk::real()) {
        Err(OpenError::Held { holder: Some(holder), .. }) => assert_eq!(holder.pid, std::process::id()),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two connectors hold one log"),
    }
    running.stop().unwrap();
}

#[test]
fn a_connector_whose_log_was_taken_over_ends_and_its_successor_goes_on() {
    let scene = Scene::new(&["payments"]);
    let application = scene.application();
    let first = scene.start();
    scene.until(&first, "the snapshot", || !scene.batches("payments").is_empty());
    // The second one takes log and source, as an operator does when the first hangs.
    let log = Log::take_over(
        &scene.log_dir(),
        &Holder::here(UnixMicros(NOW)),
        std::time::Duration::from_secs(5),
        Disk::real(),
    )
    .unwrap();
    let second = scene.start_on(log, true);
    scene.until(&second, "its fence", || accepted(&scene).len() < usize::MAX && scene.epoch("payments") == 2);
    insert(&application, 30_000);
    scene.until(&second, "the row", || {
        accepted(&scene).iter().map(|h| h.row_events).sum::<u64>() == count(&application)
    });
    match first.wait() {
        Err(ConnectorError::Superseded(_) | ConnectorError::Source(_)) => {}
        other => panic!("the first connector ended with {other:?}"),
    }
    second.stop().unwrap();
    assert_eq!(accepted(&scene).iter().map(|h| h.row_events).sum::<u64>(), count(&application));
}

#[test]
fn a_source_restored_from_an_older_copy_halts_the_connector() {
    let scene = Scene::new(&["payments"]);
    let application = scene.application();
    application.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let copy = std::fs::read(scene.file()).unwrap();
    let running = scene.start();
    for id in 0..5 {
        insert(&application, 40_000 + id);
    }
    scene.until(&running, "the rows", || {
        accepted(&scene).iter().map(|h| h.row_events).sum::<u64>() == count(&application)
    });
    running.stop().unwrap();
    drop(application);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", scene.file().display()));
    }
    std::fs::write(scene.file(), copy).unwrap();
    match scene.start().wait() {
        Err(
            ConnectorError::SourceWentBack { .. }
            | ConnectorError::SourceReplaced { .. }
            | ConnectorError::Source(_),
        ) => {}
        other => panic!("{other:?}"),
    }
}
