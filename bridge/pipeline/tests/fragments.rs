//! Rows larger than a record, from a real SQLite file into a trial cluster.

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

use bridge_envelope::{FRAGMENT_BYTES, Header};
use bridge_event::{Kind, Mark};
use bridge_suite::sha256;
use sender::Scene;

/// Payments in one transaction, with a channel of so many bytes each.
fn pay(scene: &Scene, first: i64, lengths: &[usize]) {
    let mut application = scene.application();
    let transaction = application.transaction().unwrap();
    for (id, length) in (first..).zip(lengths) {
        let lines = (0_u64..).map(|line| sha256(&[&line.to_be_bytes()]).to_string());
        let mut channel: String = lines.take(length / 64 + 1).collect();
        channel.truncate(*length);
        let sql = "INSERT INTO payments VALUES (?1, '91999900MA00000001', 'vat', '2026-09-01', ?2, NULL, '1.00', NULL)";
        transaction.execute(sql, (id, channel)).unwrap();
    }
    transaction.commit().unwrap();
}

/// Each batch in a word: whole rows, a fragment, or a transaction's end without rows.
fn words(batches: &[Header]) -> Vec<String> {
    let word = |header: &Header| match header.fragment {
        Some(part) => format!("{}/{}", part.index, part.of),
        None => format!("{}", header.rows()),
    };
    batches.iter().map(word).collect()
}

#[test]
fn large_rows_of_a_snapshot_and_of_a_transaction_go_in_fragments_and_small_ones_whole() {
    let scene = Scene::new(&["payments"]);
    let (small, fits, large) = (10, FRAGMENT_BYTES, 2 * FRAGMENT_BYTES);
    pay(&scene, 2_000_000, &[small, large]);
    let running = scene.start();
    let last = |scene: &Scene| scene.batches("payments").pop();
    scene.until(&running, "the snapshot", || {
        last(&scene).is_some_and(|header| header.snapshot.is_some_and(|part| part.last))
    });
    let snapshot = scene.batches("payments");
    let sample = snapshot[0].rows();
    assert_eq!(words(&snapshot), [format!("{sample}"), "0/3".into(), "1/3".into(), "2/3".into(), "0".into()]);
    let chunks: Vec<u64> = snapshot.iter().map(|header| header.snapshot.as_ref().unwrap().chunk).collect();
    assert_eq!(chunks, [0, 1, 2, 3, 4]);

    pay(&scene, 3_000_000, &[small, small, large, fits, large, small]);
    scene.until(&running, "the transaction", || {
        last(&scene).is_some_and(|h| h.kind == Kind::Stream && !h.leaves_open)
    });
    running.stop().unwrap();
    let stream: Vec<Header> = scene.batches("payments").split_off(snapshot.len());
    let expected = ["2", "0/3", "1/3", "2/3", "1", "0/3", "1/3", "2/3", "1"];
    assert_eq!(words(&stream), expected);
    let fragments: Vec<u32> = stream.iter().map(|header| header.last.mark.fragment).collect();
    let end = Mark::LAST_FRAGMENT;
    assert_eq!(fragments, [0, 1, 2, end, 0, 1, 2, end, 0]);
    assert!(stream.iter().skip(1).all(|header| header.continues && header.transactions_begun == 0));
    let total = stream[1].fragment.unwrap().total_bytes;
    assert!(stream[1..4].iter().all(|header| header.fragment.unwrap().total_bytes == total));
    assert!(total > u64::try_from(large).unwrap());
    sender::dump(&scene, "fragments");
}

#[test]
fn a_large_row_at_the_end_of_its_transaction_is_followed_by_its_end() {
    let scene = Scene::new(&["payments"]);
    let running = scene.start();
    scene.until(&running, "the snapshot", || !scene.batches("payments").is_empty());
    pay(&scene, 2_000_000, &[900 * 1024]);
    scene.until(&running, "the end", || scene.batches("payments").iter().any(|h| h.transactions_ended == 1));
    running.stop().unwrap();
    let stream: Vec<Header> =
        scene.batches("payments").into_iter().filter(|header| header.kind == Kind::Stream).collect();
    assert_eq!(words(&stream), ["0/2", "1/2", "0"]);
    assert_eq!((stream[2].first.mark, stream[2].continues), (stream[1].last.mark, true));
}

#[test]
fn a_row_over_64_mib_halts_before_anything_of_it_is_sent() {
    let scene = Scene::new(&["payments"]);
    let running = scene.start();
    scene.until(&running, "the snapshot", || !scene.batches("payments").is_empty());
    pay(&scene, 2_000_000, &[(64 << 20) + 1]);
    let error = running.wait().unwrap_err().to_string();
    assert!(error.contains("ENC009"), "{error}");
    assert!(scene.batches("payments").iter().all(|header| header.kind == Kind::Snapshot));
}
