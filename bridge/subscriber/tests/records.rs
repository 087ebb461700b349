//! Key records, rewraps and contracts: when they take effect, and what is asked of the log about them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod running;
mod sender;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bridge_subscriber::{Interrupted, Point, Probe, check, run};
use bridge_tlog::Tile;
use running::{LIMIT, deliver, halted, ids, lines};
use sender::{NOW, ORIGIN, Sender, micros, part};
use serde_json::Value;

fn unchanged(_: &mut Value) {}

/// Counts the batches that were opened, as far as the department may.
#[derive(Default)]
struct Opened(AtomicUsize);

impl Probe for Opened {
    fn reach(&self, point: Point) -> Result<(), Interrupted> {
        if point == Point::AfterOpen {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[test]
fn a_rewrap_takes_effect_while_the_subscriber_runs() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let opened = Arc::new(Opened::default());
    let mut subscriber = sender.subscriber("school", folder.path(), &unchanged);
    subscriber.probe = Arc::clone(&opened) as Arc<dyn Probe>;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = std::thread::spawn(move || {
        runtime.block_on(run(subscriber, None, async move { drop(stopped.await) }))
    });
    let deadline = Instant::now() + LIMIT;
    let until = |what: &str, there: &dyn Fn() -> bool| {
        while !there() {
            assert!(Instant::now() < deadline && !running.is_finished(), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("the first batch is met without a key", &|| opened.0.load(Ordering::SeqCst) == 1);
    // The school's grant begins in 2035.
    let frame = sender.rewrap(0, 0, ("school", "school"), micros(NOW + 200_000_000));
    sender.send("govbridge.keys", &frame);
    // The rewrap comes by another topic: it counts from one of the next batches on.
    let mut commit = 1;
    while ids(&lines(folder.path())).is_empty() {
        commit += 1;
        assert!(Instant::now() < deadline, "the rewrap has no effect");
        sender.transact(0, &[part(commit, &[i64::try_from(commit).unwrap()])]);
        let met = usize::try_from(commit).unwrap();
        until("the batch is met", &|| opened.0.load(Ordering::SeqCst) >= met);
    }
    stop.send(()).unwrap();
    running.join().unwrap().unwrap();
    let rows = lines(folder.path());
    assert_eq!(rows[0]["source"]["sections"], serde_json::json!(["amounts"]));
}

#[test]
fn records_that_had_to_go_for_lack_of_room_are_read_again() {
    let mut sender = Sender::new(&["payments", "refunds"]);
    for commit in 1..=2 {
        sender.transact(0, &[part(commit, &[i64::try_from(commit).unwrap()])]);
        sender.transact(1, &[part(commit, &[100 + i64::try_from(commit).unwrap()])]);
    }
    let folder = tempfile::tempdir().unwrap();
    // Nothing finds room.
    let none = |settings: &mut Value| settings["limits"] = serde_json::json!({"verified_bytes_max": 1});
    deliver(sender.subscriber("audit", folder.path(), &none), folder.path(), 8).unwrap();
    let mut delivered = ids(&lines(folder.path()));
    delivered.sort_unstable();
    assert_eq!(delivered, [1, 2, 101, 102]);
}

fn reading(log: &std::path::Path) -> impl Fn(&mut Value) + use<> {
    let address = log.display().to_string();
    move |settings| settings["logs"] = serde_json::json!({ ORIGIN: address })
}

/// What the rows say of their records.
fn records(folder: &std::path::Path) -> Vec<String> {
    let of = |line: &Value| line["provenance"]["records"].as_str().map(str::to_owned);
    lines(folder).iter().filter_map(of).collect()
}

#[test]
fn records_that_stand_in_the_log_are_as_well_known_as_the_batch() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sender.write_log(log.path());
    deliver(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path(), 2).unwrap();
    assert_eq!(records(folder.path()), ["witnessed"]);
    let report = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[test]
fn a_log_that_does_not_answer_stops_nothing_and_each_row_says_so() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    deliver(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path(), 2).unwrap();
    sender.transact(0, &[part(2, &[20])]);
    sender.write_log(log.path());
    deliver(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path(), 4).unwrap();
    let rows = lines(folder.path());
    assert_eq!((ids(&rows), rows[0]["provenance"]["level"].as_str()), (vec![10, 20], Some("witnessed")));
    assert_eq!(records(folder.path()), ["signed", "witnessed"]);
}

#[test]
fn a_record_that_is_not_in_the_log_before_its_first_batch_halts() {
    // The contract, the key records of both sections; one that comes after its batch.
    for (missing, late) in [(1, false), (2, false), (3, false), (2, true)] {
        let mut sender = Sender::new(&["payments"]);
        let entry = std::mem::replace(&mut sender.entries[missing], b"\x00another".to_vec());
        sender.transact(0, &[part(1, &[10])]);
        let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if late {
            sender.entries.push(entry);
            sender.transact(0, &[part(2, &[20])]);
        }
        sender.write_log(log.path());
        let subscriber = sender.subscriber("health", folder.path(), &reading(log.path()));
        assert_eq!(halted(subscriber, folder.path()), ["VER065"], "{missing} {late}");
        assert!(records(folder.path()).iter().all(|word| word == "signed"), "its rows never said more");
        let report = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
        assert!(report.has("VER065"), "{:?}", report.findings);
    }
}

#[test]
fn changed_tiles_accuse_nobody_of_a_missing_record() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sender.write_log(log.path());
    let tile = log.path().join(Tile::new(0, 0, u16::try_from(sender.entries.len()).unwrap()).unwrap().path());
    let mut lie = std::fs::read(&tile).unwrap();
    lie[2 * 32] ^= 1;
    std::fs::File::create(&tile).unwrap().write_all(&lie).unwrap();
    let report = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
    assert!(report.has("VER075") && !report.has("VER065"), "{:?}", report.findings);
    deliver(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path(), 2).unwrap();
    assert_eq!(records(folder.path()), ["signed"]);
}

#[test]
fn a_key_version_that_is_used_past_its_end_halts() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    // Versions end at NOW + 1000: a batch may still be on its way some minutes later.
    for (clock, commit) in [(NOW + 1300, 2), (NOW + 2000, 3)] {
        let beacon = sender.beacon_with(0, |beacon| {
            (beacon.clock, beacon.next_due) = (micros(clock), micros(clock + 10));
        });
        sender.publish(0, &beacon);
        sender.transact(0, &[part(commit, &[i64::try_from(commit).unwrap()])]);
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["VER055"]);
    assert_eq!(ids(&lines(folder.path())), [10, 2]);
}

#[test]
fn the_sections_of_a_batch_together_have_a_limit() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10, 11, 12])]);
    let folder = tempfile::tempdir().unwrap();
    let small = |settings: &mut Value| settings["limits"] = serde_json::json!({"opened_bytes_max": 100});
    assert_eq!(halted(sender.subscriber("audit", folder.path(), &small), folder.path()), ["OPE009"]);
    assert!(lines(folder.path()).is_empty());
}

#[test]
fn a_record_far_from_its_batch_is_found_among_all_leaves() {
    for there in [true, false] {
        let mut sender = Sender::new(&["payments"]);
        let record = std::mem::replace(&mut sender.entries[2], b"\x00another".to_vec());
        let fill = |sender: &mut Sender, entries: usize| {
            while sender.entries.len() < entries {
                sender.entries.push(format!("\x00{}", sender.entries.len()).into_bytes());
            }
        };
        // Neither in the log's first tile nor in one of those before the batch.
        fill(&mut sender, 300);
        sender.entries.push(if there { record } else { b"\x00nothing".to_vec() });
        fill(&mut sender, 1600);
        sender.transact(0, &[part(1, &[10])]);
        let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sender.write_log(log.path());
        let report = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
        assert_eq!((report.is_clean(), report.has("VER065")), (there, !there), "{:?}", report.findings);
    }
}
