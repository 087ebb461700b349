//! The receiving flow against the trial cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

mod running;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bridge_event::{Cell, Epoch, Operation};
use bridge_subscriber::{Interrupted, Point, Probe, Report, RunError, Subscriber, check};
use running::{LIMIT, deliver, halted, ids, lines};
use sender::{ORIGIN, Part, Row, Sender, Shape, part, recipient};
use serde_json::Value;

fn unchanged(_: &mut Value) {}

fn checked(subscriber: Subscriber) -> Report {
    check(subscriber).unwrap()
}

#[test]
fn each_department_sees_its_own_sections_and_nothing_else() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10, 11])]);
    for (department, sections) in [("health", vec!["amounts"]), ("audit", vec!["amounts", "account"])] {
        let folder = tempfile::tempdir().unwrap();
        deliver(sender.subscriber(department, folder.path(), &unchanged), folder.path(), 3).unwrap();
        let lines = lines(folder.path());
        assert_eq!(ids(&lines), [10, 11]);
        let row = &lines[0];
        assert_eq!((row["op"].as_str(), row["before"].is_null()), (Some("c"), true));
        assert_eq!(row["after"]["amount"], "12.30");
        assert!(row["after"]["note"].is_null() && row["after"].as_object().unwrap().contains_key("note"));
        assert_eq!(row["after"].get("account").is_some(), department == "audit");
        assert_eq!(row["source"]["sections"], serde_json::json!(sections));
        assert_eq!(row["source"]["transaction"], 1001);
        assert_eq!(row["provenance"]["level"], "witnessed");
        assert_eq!((&row["provenance"]["sequence"], &lines[1]["provenance"]["leaf"]), (&0.into(), &1.into()));
        assert_eq!((&lines[2]["commit"]["rows"], &lines[2]["commit"]["commit"]), (&2.into(), &1.into()));
    }
}

#[test]
fn a_department_without_a_grant_verifies_everything_and_opens_nothing() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sender.write_log(log.path());
    let address = log.path().display().to_string();
    let reading = move |settings: &mut Value| settings["logs"] = serde_json::json!({ ORIGIN: address });
    let report = checked(sender.subscriber("school", folder.path(), &reading));
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.batches, report.rows), (1, 0));
    assert_eq!(report.streams[0].witnessed, Some(0));
}

#[test]
fn a_wrong_key_halts_and_says_that_it_is_not_the_one() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
    subscriber.keys = vec![recipient("audit")];
    assert_eq!(halted(subscriber, folder.path()), ["OPE010"]);
    let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
    subscriber.keys.clear();
    assert_eq!(halted(subscriber, folder.path()), ["OPE010"]);
    assert!(lines(folder.path()).is_empty());
}

#[test]
fn a_key_wrapped_for_an_outsider_halts() {
    let mut sender = Sender::unfenced(&["payments"], &["health", "audit", "school"]);
    let fence = sender.fence(0);
    sender.publish(0, &fence);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["VER050"]);
}

#[test]
fn a_department_that_was_left_out_is_noticed_by_everyone() {
    let mut sender = Sender::unfenced(&["payments"], &["health"]);
    let fence = sender.fence(0);
    sender.publish(0, &fence);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let report = checked(sender.subscriber("health", folder.path(), &unchanged));
    assert!(report.has("VER051") && !report.is_clean());
}

#[test]
fn nothing_is_delivered_before_its_level() {
    let mut sender = Sender::new(&["payments"]);
    sender.witnesses = vec!["health", "tax"];
    sender.transact(0, &[part(1, &[10])]);
    let logged = tempfile::tempdir().unwrap();
    let at = |level: &'static str| move |settings: &mut Value| settings["least"] = level.into();
    deliver(sender.subscriber("health", logged.path(), &at("logged")), logged.path(), 2).unwrap();
    assert_eq!(lines(logged.path())[0]["provenance"]["level"], "logged");
    // The owner's own witness does not count, so the first batch is witnessed only with the second one's beacon.
    sender.witnesses = vec!["health", "audit"];
    sender.transact(0, &[part(2, &[11])]);
    let witnessed = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", witnessed.path(), &at("witnessed")), witnessed.path(), 4).unwrap();
    let rows = lines(witnessed.path());
    assert!(
        rows.iter()
            .filter(|row| row.get("op").is_some())
            .all(|row| row["provenance"]["level"] == "witnessed")
    );
    let signed = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", signed.path(), &at("signed")), signed.path(), 4).unwrap();
    assert_eq!(lines(signed.path())[0]["provenance"]["level"], "signed");
}

#[test]
fn columns_that_are_unchanged_or_absent_are_listed_and_not_null() {
    let mut sender = Sender::new(&["payments"]);
    let update = Row { operation: Operation::Update, note: Cell::Unchanged, ..Row::insert(10, 1, 0) };
    let delete = Row { operation: Operation::Delete, ..Row::insert(10, 2, 1) };
    sender.transact(0, &[Part { commit: 1, rows: vec![update, delete] }]);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("audit", folder.path(), &unchanged), folder.path(), 3).unwrap();
    let rows = lines(folder.path());
    assert_eq!(rows[0]["unchanged"], serde_json::json!({"after": ["note"]}));
    assert_eq!(rows[0]["absent"], serde_json::json!({"before": ["amount", "note", "account"]}));
    assert!(rows[0]["after"].get("note").is_none());
    assert_eq!((rows[1]["op"].as_str(), &rows[1]["before"]), (Some("d"), &serde_json::json!({"id": 10})));
}

#[test]
fn rubbish_and_replays_are_dropped_and_delivery_goes_on() {
    let mut sender = Sender::new(&["payments", "refunds"]);
    let first = sender.seal(0, &[part(1, &[10])], Shape::default());
    let second = sender.seal(0, &[part(2, &[11])], Shape::default());
    let foreign = sender.seal(1, &[part(1, &[90])], Shape::default());
    let mut damaged = second.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut forged = second.clone();
    forged[20] ^= 1;
    let fence = sender.fence(0);
    for record in [&b"rubbish"[..], b"", &first, &forged, &damaged, &foreign, &first, &second, &fence] {
        sender.publish(0, record);
    }
    let beacon = sender.beacon(0);
    sender.publish(0, &beacon);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 4).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10, 11]);
    let report = checked(sender.subscriber("health", folder.path(), &unchanged));
    for code in ["VER001", "VER020", "VER041", "CHA010", "CHA011"] {
        assert!(report.has(code), "{code}: {:?}", report.findings);
    }
    assert!(!report.is_clean() && report.first_finding_ms.is_some());
    assert!(report.findings.iter().all(|found| !found.halts()), "{:?}", report.findings);
}

#[test]
fn a_dropped_batch_is_a_loss_when_a_beacon_names_its_successor() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    sender.seal(0, &[part(2, &[11])], Shape::default());
    sender.transact(0, &[part(3, &[12])]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["CHA004"]);
    assert_eq!(ids(&lines(folder.path())), [10], "what came before stands");
    // The progress did not go past the evidence: the next start meets it again.
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["CHA004"]);
    let report = checked(sender.subscriber("health", folder.path(), &unchanged));
    assert!(report.has("CHA013") && report.has("CHA004") && report.streams[0].halted);
}

#[test]
fn two_batches_of_one_sequence_are_a_fork() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (head, last) = (sender.streams[0].head, sender.streams[0].last);
    sender.transact(0, &[part(2, &[11])]);
    (sender.streams[0].head, sender.streams[0].last) = (head, last);
    sender.transact(0, &[part(2, &[66])]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["CHA002"]);
    assert_eq!(ids(&lines(folder.path())), [10, 11]);
}

#[test]
fn a_batch_that_the_log_does_not_hold_is_found_by_the_beacon() {
    let mut sender = Sender::new(&["payments"]);
    let (head, last) = (sender.streams[0].head, sender.streams[0].last);
    let logged = sender.seal(0, &[part(1, &[10])], Shape::default());
    let entry = sender.streams[0].newest_entry.clone();
    drop(logged);
    (sender.streams[0].head, sender.streams[0].last) = (head, last);
    let shown = sender.seal(0, &[part(1, &[66])], Shape::default());
    sender.publish(0, &shown);
    sender.transact(0, &[part(2, &[11])]);
    sender.streams[0].newest_entry = entry;
    let beacon = sender.beacon(0);
    sender.publish(0, &beacon);
    let folder = tempfile::tempdir().unwrap();
    let report = checked(sender.subscriber("health", folder.path(), &unchanged));
    assert!(report.has("VER072"), "{:?}", report.findings);
}

#[test]
fn frames_of_an_epoch_that_is_over_are_late_and_one_without_a_fence_halts() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (head, last) = (sender.streams[0].head, sender.streams[0].last);
    let zombie = sender.seal(0, &[part(2, &[66])], Shape::default());
    (sender.streams[0].head, sender.streams[0].last) = (head, last);
    sender.epoch = Epoch(2);
    let fence = sender.fence(0);
    sender.publish(0, &fence);
    sender.publish(0, &zombie);
    sender.transact(0, &[part(2, &[11])]);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 4).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10, 11]);
    sender.epoch = Epoch(3);
    sender.transact(0, &[part(3, &[12])]);
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["CHA001"]);
}

#[test]
fn a_start_in_mid_stream_goes_to_a_proven_place_and_says_so() {
    let mut sender = Sender::new(&["payments"]);
    for commit in 1..=3 {
        sender.transact(0, &[part(commit, &[commit as i64])]);
    }
    let folder = tempfile::tempdir().unwrap();
    let latest = |settings: &mut Value| settings["start"] = "latest".into();
    let subscriber = sender.subscriber("health", folder.path(), &latest);
    sender.transact(0, &[part(4, &[4])]);
    // The newest place is the one after batch 4, or the one after batch 3 when it was read before.
    sender.transact(0, &[part(5, &[5])]);
    let log = tempfile::tempdir().unwrap();
    sender.write_log(log.path());
    let address = log.path().display().to_string();
    let reading = |settings: &mut Value| {
        latest(settings);
        settings["logs"] = serde_json::json!({ ORIGIN: address });
    };
    let report = checked(sender.subscriber("health", folder.path(), &reading));
    assert_eq!(
        (report.streams[0].started.at.as_str(), report.streams[0].started.after_sequence),
        ("beacon", Some(4))
    );
    assert!(report.is_clean());
    std::thread::scope(|scope| {
        let path = folder.path();
        let delivery = scope.spawn(move || deliver(subscriber, path, 2));
        // It may begin before or after the next batch; either way it begins at a place and delivers what follows.
        let deadline = Instant::now() + LIMIT;
        while !folder.path().join("progress/progress").exists() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        sender.transact(0, &[part(6, &[6])]);
        delivery.join().unwrap().unwrap();
    });
    let rows = lines(folder.path());
    assert_eq!(ids(&rows), [6]);
    assert_eq!(rows[0]["provenance"]["started"], serde_json::json!({"at": "beacon", "after_sequence": 4}));
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

fn killed_everywhere(mode: &'static str) {
    let mut sender = Sender::new(&["payments", "refunds"]);
    for commit in 1..=4_u64 {
        let id = commit as i64 * 10;
        let open = Shape { leaves_open: true, ..Shape::default() };
        let first = sender.seal(0, &[part(commit, &[id])], open);
        sender.publish(0, &first);
        let rest = Part { commit, rows: vec![Row::insert(id + 1, 2, 2)] };
        let second = sender.seal(0, &[rest], Shape { continues: true, ..Shape::default() });
        sender.publish(0, &second);
        let other =
            sender.seal(1, &[Part { commit, rows: vec![Row::insert(id + 5, 1, 1)] }], Shape::default());
        sender.publish(1, &other);
        for stream in [0, 1] {
            let beacon = sender.beacon(stream);
            sender.publish(stream, &beacon);
        }
    }
    let change = move |settings: &mut Value| {
        settings["mode"] = mode.into();
        settings["limits"] = serde_json::json!({"group_ms": 0});
        if mode == "stream" {
            // One stream: the order between streams is not fixed in this mode.
            settings["datasets"].as_array_mut().unwrap().truncate(1);
        }
    };
    let wanted = if mode == "stream" { 12 } else { 16 };
    let reference = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("audit", reference.path(), &change), reference.path(), wanted).unwrap();
    let whole = std::fs::read(reference.path().join("rows.jsonl")).unwrap();
    if mode == "source" {
        let rows = lines(reference.path());
        assert_eq!(ids(&rows[..4]), [10, 15, 11]);
        assert_eq!(
            (&rows[3]["commit"]["rows"], &rows[3]["commit"]["origin"]),
            (&3.into(), &sender::ORIGIN.into())
        );
    }
    for point in Point::ALL {
        let folder = tempfile::tempdir().unwrap();
        for nth in [1, 2] {
            let mut subscriber = sender.subscriber("audit", folder.path(), &change);
            subscriber.probe = Arc::new(Killer { point, left: AtomicUsize::new(nth) });
            match deliver(subscriber, folder.path(), usize::MAX) {
                Err(RunError::Interrupted(at)) => assert_eq!(at.0, point),
                other => panic!("the fault at {point:?} did not fire: {other:?}"),
            }
            let delivered = std::fs::read(folder.path().join("rows.jsonl")).unwrap();
            assert!(whole.starts_with(&delivered), "{point:?} {nth}");
        }
        deliver(sender.subscriber("audit", folder.path(), &change), folder.path(), wanted).unwrap();
        assert_eq!(std::fs::read(folder.path().join("rows.jsonl")).unwrap(), whole, "{point:?}");
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_same_file_in_mode_stream() {
    killed_everywhere("stream");
}

#[test]
fn a_crash_at_any_point_leaves_the_same_file_in_mode_source() {
    killed_everywhere("source");
}

#[test]
fn batches_over_the_memory_limit_are_fetched_again_once_proven() {
    let mut sender = Sender::new(&["payments"]);
    for commit in 1..=20 {
        let batch = sender.seal(0, &[part(commit, &[commit as i64])], Shape::default());
        sender.publish(0, &batch);
    }
    let beacon = sender.beacon(0);
    sender.publish(0, &beacon);
    let folder = tempfile::tempdir().unwrap();
    let small = |settings: &mut Value| settings["limits"] = serde_json::json!({"waiting_bytes_max": 10_000});
    deliver(sender.subscriber("health", folder.path(), &small), folder.path(), 40).unwrap();
    assert_eq!(ids(&lines(folder.path())), (1..=20).collect::<Vec<i64>>());
}

#[test]
fn a_snapshots_rows_come_before_the_stream_that_follows_it() {
    let mut sender = Sender::new(&["payments"]);
    let row = |id, ordinal| Row { operation: Operation::Read, ..Row::insert(id, ordinal, 0) };
    let chunk = Part { commit: 5, rows: vec![row(1, 1), row(2, 2)] };
    let snapshot = sender.seal(0, &[chunk], Shape { snapshot: true, ..Shape::default() });
    sender.publish(0, &snapshot);
    sender.transact(0, &[part(6, &[3])]);
    for mode in ["stream", "source"] {
        let folder = tempfile::tempdir().unwrap();
        let change = move |settings: &mut Value| settings["mode"] = mode.into();
        deliver(sender.subscriber("health", folder.path(), &change), folder.path(), 4).unwrap();
        let rows = lines(folder.path());
        assert_eq!(ids(&rows), [1, 2, 3]);
        assert_eq!((rows[0]["op"].as_str(), &rows[0]["source"]["snapshot"]), (Some("r"), &true.into()));
        let part = serde_json::json!({
            "generation": 1, "as_of": {"commit": 5, "ordinal": u64::MAX}, "chunk": 0, "last": true,
        });
        assert_eq!(rows[0]["provenance"]["snapshot"], part, "{mode}");
        let streamed = rows.iter().find(|row| row["op"] == "c").unwrap();
        assert!(streamed["provenance"].get("snapshot").is_none());
    }
}

/// The sender's own defect: a signed batch whose third row stands before its second.
#[test]
fn no_row_of_a_batch_that_is_wrong_in_its_midst_is_delivered_however_often_it_is_tried() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let rows = [(20, 1), (21, 3), (22, 2), (23, 4)].map(|(id, ordinal)| Row::insert(id, ordinal, ordinal));
    let batch = sender.seal(0, &[Part { commit: 2, rows: rows.into() }], Shape::default());
    sender.publish(0, &batch);
    let beacon = sender.beacon(0);
    sender.publish(0, &beacon);
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let subscriber = sender.subscriber("health", folder.path(), &unchanged);
        let error = deliver(subscriber, folder.path(), usize::MAX).unwrap_err();
        assert!(error.code() == "DEL022" && error.to_string().contains("VER077"), "{error}");
        assert_eq!(ids(&lines(folder.path())), [10]);
    }
}

#[test]
fn a_second_subscriber_on_the_same_sink_is_refused() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let _first = {
        let path = folder.path().join("rows.jsonl.lock");
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
        file.lock().unwrap();
        file
    };
    let error = deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), usize::MAX)
        .unwrap_err();
    assert_eq!(error.code(), "DEL010");
}
