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

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bridge_subscriber::{Interrupted, Point, Probe, run};
use running::{LIMIT, deliver, ids, lines};
use sender::{NOW, Sender, micros, part};
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
    assert!(!ids(&rows).contains(&10), "what was delivered without the key stays as it was");
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
