//! Rows larger than a record: put together, delivered once, and never in part.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod running;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_event::Cell;
use bridge_subscriber::{Interrupted, Point, Probe, RunError, check};
use running::{deliver, halted, ids, lines};
use sender::large::long_note;
use sender::{Part, Row, Sender, part};
use serde_json::{Value, json};

fn unchanged(_: &mut Value) {}

/// A transaction of one row with a note of 4,500 bytes: five fragments.
fn large(commit: u64, id: i64) -> Part {
    Part { commit, rows: vec![Row { note: long_note(4500), ..Row::insert(id, 1, 0) }] }
}

/// Three transactions, a beacon after each; the second one's row is large, with a beacon in its midst.
fn sender() -> Sender {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10, 11])]);
    for index in 0..5 {
        let frame = sender.seal_large_at(0, &large(2, 20), index);
        sender.publish(0, &frame);
        if index == 2 {
            let beacon = sender.beacon(0);
            sender.publish(0, &beacon);
        }
    }
    let beacon = sender.beacon(0);
    sender.publish(0, &beacon);
    sender.transact(0, &[part(3, &[30])]);
    sender
}

/// Ends the flow when a point is reached for the `n`-th time.
struct Killer {
    point: Point,
    left: AtomicUsize,
}

impl Probe for Killer {
    fn reach(&self, point: Point) -> Result<(), Interrupted> {
        let due = point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if due { Err(Interrupted(point)) } else { Ok(()) }
    }
}

fn delivered_once(mode: &'static str) {
    let sender = sender();
    let change = move |settings: &mut Value| {
        settings["mode"] = mode.into();
        settings["limits"] = json!({"group_ms": 0});
    };
    let reference = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("audit", reference.path(), &change), reference.path(), 7).unwrap();
    let rows = lines(reference.path());
    assert_eq!(ids(&rows), [10, 11, 20, 30]);
    let row = &rows[3];
    let Cell::Value(bridge_event::Value::Text(note)) = long_note(4500) else { panic!("a text") };
    assert_eq!(row["after"]["note"].as_str(), Some(note));
    assert_eq!(row["after"]["account"], "6222-01");
    // The last fragment's batch is the one whose leaf proves the row.
    assert_eq!((&row["provenance"]["sequence"], &row["provenance"]["leaf"]), (&5.into(), &0.into()));
    assert_eq!(rows[4]["commit"]["rows"], 1);
    let whole = std::fs::read(reference.path().join("rows.jsonl")).unwrap();
    for point in Point::ALL {
        for n in [3, 5, 7] {
            let folder = tempfile::tempdir().unwrap();
            let mut subscriber = sender.subscriber("audit", folder.path(), &change);
            subscriber.probe = Arc::new(Killer { point, left: AtomicUsize::new(n) });
            match deliver(subscriber, folder.path(), 7) {
                Err(RunError::Interrupted(at)) => assert_eq!(at.0, point),
                // The point is not reached so often.
                other => other.unwrap(),
            }
            // The first start may only cut back what was written and not synced: the lines were there before it.
            for _ in 0..2 {
                deliver(sender.subscriber("audit", folder.path(), &change), folder.path(), 7).unwrap();
            }
            let again = std::fs::read(folder.path().join("rows.jsonl")).unwrap();
            assert!(again == whole, "{mode}, killed at {point:?} the {n}th time");
        }
    }
}

#[test]
fn a_row_in_fragments_is_delivered_once_whenever_the_subscriber_is_killed() {
    delivered_once("stream");
}

#[test]
fn a_row_in_fragments_is_delivered_once_in_its_whole_transaction() {
    delivered_once("source");
}

#[test]
fn a_department_that_opens_a_part_of_the_sections_gets_its_part_of_the_row() {
    let sender = sender();
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 7).unwrap();
    let rows = lines(folder.path());
    assert_eq!(ids(&rows), [10, 11, 20, 30]);
    assert_eq!(rows[3]["after"]["note"].as_str().unwrap().len(), 4500);
    assert!(rows[3]["after"].get("account").is_none());
    let nothing = tempfile::tempdir().unwrap();
    let report = check(sender.subscriber("school", nothing.path(), &unchanged)).unwrap();
    assert_eq!((report.batches, report.rows), (7, 0));
    assert!(!report.has("OPE013"));
}

#[test]
fn a_fragment_that_is_left_out_halts_and_nothing_of_the_row_is_delivered() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let mut frames = Vec::new();
    // The sender goes on as if it had sent the third one: sequences and digests are dense.
    for index in 0..5 {
        let (head, last) = (sender.streams[0].head, sender.streams[0].last);
        let frame = sender.seal_large_at(0, &large(2, 20), index);
        if index == 2 {
            (sender.streams[0].head, sender.streams[0].last) = (head, last);
        } else {
            frames.push(frame);
        }
    }
    frames.iter().for_each(|frame| sender.publish(0, frame));
    let folder = tempfile::tempdir().unwrap();
    let signed = |settings: &mut Value| settings["least"] = "signed".into();
    assert_eq!(halted(sender.subscriber("audit", folder.path(), &signed), folder.path()), ["CHA009"]);
    assert_eq!(ids(&lines(folder.path())), [10]);
    // The next start begins before the row, and meets the same batch again.
    assert_eq!(halted(sender.subscriber("audit", folder.path(), &signed), folder.path()), ["CHA009"]);
    assert_eq!(ids(&lines(folder.path())), [10]);
}

#[test]
fn a_place_in_the_midst_of_a_row_is_not_begun_at() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let frames = sender.seal_large(0, &large(2, 20));
    frames.iter().for_each(|frame| sender.publish(0, frame));
    // The newest beacon's place stands behind the row's fourth fragment.
    let offset = sender.streams[0].offset - 1;
    let beacon = sender.beacon_with(0, |beacon| {
        beacon.place.offset = bridge_event::Offset(offset);
        beacon.place.last.fragment = 4;
        beacon.place.open = Some(2);
        let batch = bridge_envelope::verify_batch(&frames[3], &*sender.trust, &sender.expected(0));
        let batch = batch.into_verified().unwrap();
        beacon.place.head =
            Some(bridge_envelope::BatchRef { sequence: batch.header().sequence, digest: batch.digest() });
    });
    sender.publish(0, &beacon);
    let folder = tempfile::tempdir().unwrap();
    let latest = |settings: &mut Value| settings["start"] = "latest".into();
    deliver(sender.subscriber("audit", folder.path(), &latest), folder.path(), 2).unwrap();
    let rows = lines(folder.path());
    assert_eq!(ids(&rows), [20]);
    assert_eq!(rows[0]["provenance"]["started"]["after_sequence"], 0);
}
