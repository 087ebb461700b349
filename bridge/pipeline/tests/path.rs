//! The sending flow from a real SQLite file into a trial cluster and a real log.

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

use bridge_envelope::{Entry, Header};
use bridge_event::{Kind, LogIndex, Sequence};
use bridge_ledger::TileReader;
use sender::{Scene, stream};

const INSERT: &str = "INSERT INTO payments VALUES (?1, '91999900MA00000001', 'vat', '2026-09-01', 'bank', NULL, '12.30', '0.00')";

fn insert(connection: &rusqlite::Connection, id: i64) {
    let columns: usize = connection.prepare("SELECT * FROM payments").unwrap().column_count();
    let sql = if columns == 8 { INSERT.to_owned() } else { panic!("payments has {columns} columns") };
    connection.execute(&sql, [id]).unwrap();
}

fn count(connection: &rusqlite::Connection) -> u64 {
    let rows: i64 = connection.query_row("SELECT count(*) FROM payments", [], |row| row.get(0)).unwrap();
    u64::try_from(rows).unwrap()
}

fn chained(scene: &Scene, dataset: &str) -> Vec<Header> {
    let batches = scene.batches(dataset);
    let mut previous = Header::genesis(&stream(dataset), &scene.origin());
    for (n, header) in batches.iter().enumerate() {
        assert_eq!(header.sequence, Sequence(u64::try_from(n).unwrap()));
        assert_eq!(header.previous, previous);
        previous = header.digest();
    }
    batches
}

#[test]
fn a_snapshot_and_the_changes_after_it_are_sealed_in_one_chain_and_stand_in_the_log() {
    let scene = Scene::new(&["payments", "taxpayers"]);
    let running = scene.start();
    scene.until(&running, "snapshots", || {
        ["payments", "taxpayers"]
            .iter()
            .all(|d| scene.batches(d).iter().any(|h| h.snapshot.as_ref().is_some_and(|part| part.last)))
    });
    let application = scene.application();
    for id in 1000..1050 {
        insert(&application, id);
    }
    scene.until(&running, "50 rows", || scene.rows("payments") == 50);
    running.stop().unwrap();

    let batches = chained(&scene, "payments");
    assert_eq!(batches[0].kind, Kind::Snapshot);
    assert!(batches.iter().skip(1).any(|h| h.kind == Kind::Stream));
    chained(&scene, "taxpayers");

    // The log holds an entry for each batch, and its checkpoint covers them.
    let tiles = TileReader::directory(&scene.log_dir());
    let checkpoint = tiles.checkpoint().unwrap();
    let size: u64 = checkpoint.text().lines().nth(1).unwrap().parse().unwrap();
    let entries = tiles.entries(LogIndex(0)..LogIndex(size), size).unwrap();
    let logged: Vec<_> = entries
        .iter()
        .filter_map(|bytes| match Entry::decode(bytes).unwrap() {
            Entry::Batch(entry) if entry.stream == stream("payments") => Some(entry.digest),
            _ => None,
        })
        .collect();
    let sent: Vec<_> = batches.iter().map(Header::digest).collect();
    assert_eq!(logged, sent);

    // The last beacon says that the stream is complete and proves its head.
    let beacon = scene.beacons("payments").pop().unwrap();
    assert_eq!(beacon.head.as_ref().unwrap().digest, *sent.last().unwrap());
    let appended = beacon.appended.unwrap();
    let Entry::Batch(entry) = Entry::decode(&appended.entry).unwrap() else { panic!("no batch entry") };
    assert_eq!(entry.digest, *sent.last().unwrap());
    sender::dump(&scene, "path");
}

#[test]
fn a_restart_goes_on_with_a_higher_epoch_and_repeats_nothing() {
    let scene = Scene::new(&["payments"]);
    let application = scene.application();
    for life in 0..3 {
        let running = scene.start();
        let before = life * 20;
        for id in 0..20 {
            insert(&application, 5000 + before + id);
        }
        // What was inserted before the snapshot is in it, everything else in the stream.
        let rows = || scene.batches("payments").iter().map(|h| h.row_events).sum::<u64>();
        scene.until(&running, "the life's rows", || rows() == count(&application));
        running.stop().unwrap();
    }
    let batches = chained(&scene, "payments");
    let rows: u64 = batches.iter().map(|h| h.row_events).sum();
    assert_eq!(rows, count(&application));
    let epochs: Vec<u64> = batches.iter().map(|h| h.epoch.0).collect();
    assert!(epochs.is_sorted() && *epochs.last().unwrap() == 3, "{epochs:?}");
}
