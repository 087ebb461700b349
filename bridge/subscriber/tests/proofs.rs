//! What the log, the witnesses and the trust file prove, and what they give away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod running;
mod sender;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bridge_envelope::{BatchRef, Gap, Notice, RowPosition};
use bridge_event::{At, IncarnationNumber, Kind, LogIndex, Sequence};
use bridge_subscriber::{Act, Disk, Fault, Unwatched, check, run};
use bridge_suite::{Role, sha256};
use running::{deliver, halted, ids, lines};
use sender::{NOW, ORIGIN, Sender, Shape, key, line, micros, part, recipient, trust_with};
use serde_json::Value;

fn unchanged(_: &mut Value) {}

fn reading(folder: &std::path::Path) -> impl Fn(&mut Value) + use<> {
    let address = folder.display().to_string();
    move |settings| settings["logs"] = serde_json::json!({ ORIGIN: address })
}

#[test]
fn a_cut_tail_is_found_by_the_log() {
    let mut sender = Sender::new(&["payments", "refunds"]);
    sender.transact(0, &[part(1, &[10])]);
    sender.transact(1, &[part(1, &[90])]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sender.write_log(log.path());
    let whole = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
    assert!(whole.is_clean(), "{:?}", whole.findings);
    sender.seal(0, &[part(2, &[11])], Shape::default());
    sender.write_log(log.path());
    let cut = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
    let found: Vec<_> = cut.findings.iter().filter(|found| found.code == "VER084").collect();
    assert_eq!(found.len(), 1, "{:?}", cut.findings);
    assert_eq!(found[0].place, "tax/payments/0");
    assert!(!cut.is_clean());
}

#[test]
fn a_log_whose_checkpoint_is_not_its_own_compares_with_nothing() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sender.write_log(log.path());
    let path = log.path().join("checkpoint");
    let text = std::fs::read_to_string(&path).unwrap();
    let root = text.lines().nth(2).unwrap();
    let other = if root.starts_with('A') { root.replacen('A', "B", 1) } else { format!("A{}", &root[1..]) };
    std::fs::File::create(&path).unwrap().write_all(text.replacen(root, &other, 1).as_bytes()).unwrap();
    let report = check(sender.subscriber("health", folder.path(), &reading(log.path()))).unwrap();
    let found: Vec<_> = report.findings.iter().filter(|found| found.code == "VER070").collect();
    assert_eq!((found.len(), found[0].place.as_str()), (1, ORIGIN), "{:?}", report.findings);
    assert!(!report.is_clean());
}

#[test]
fn a_topic_without_beacons_is_not_taken_for_complete() {
    let mut sender = Sender::new(&["payments"]);
    let batch = sender.seal(0, &[part(1, &[10])], Shape::default());
    sender.publish(0, &batch);
    let folder = tempfile::tempdir().unwrap();
    let report = check(sender.subscriber("health", folder.path(), &unchanged)).unwrap();
    assert!(report.has("VER081") && report.has("VER085") && !report.is_clean());
}

#[test]
fn an_old_topic_is_overdue_by_this_machines_clock() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
    subscriber.clock = Arc::new(|| micros(NOW + 3600));
    assert!(check(subscriber).unwrap().has("VER081"));
}

#[test]
fn two_roots_of_one_size_halt_and_both_are_kept() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 2).unwrap();
    sender.entries[0] = b"\x00another".to_vec();
    let beacon = sender.beacon(0);
    sender.publish(0, &beacon);
    // It halts too when the disk does not take them: the next start meets the same record, and keeps what is missing.
    for fault in [Fault::Lost, Fault::Full, Fault::AppliedButFailed] {
        let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        subscriber.disk = Disk::with_faults(move |act| {
            (act == Act::Evidence && count.fetch_add(1, Ordering::SeqCst) == 0).then_some(fault)
        });
        assert_eq!(halted(subscriber, folder.path()), ["VER073"]);
        assert!(fired.load(Ordering::SeqCst) >= 1, "{fault:?}");
        let kept = folder.path().join("progress/conflict-5-remembered.txt").exists();
        assert_eq!(kept, fault == Fault::AppliedButFailed, "{fault:?}");
    }
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["VER073"]);
    for side in ["remembered", "other"] {
        let kept =
            std::fs::read_to_string(folder.path().join(format!("progress/conflict-5-{side}.txt"))).unwrap();
        assert!(kept.starts_with(ORIGIN));
    }
}

#[test]
fn a_larger_tree_that_dropped_what_it_had_halts() {
    let mut sender = Sender::new(&["payments"]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sender.transact(0, &[part(1, &[10])]);
    sender.write_log(log.path());
    deliver(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path(), 2).unwrap();
    sender.transact(0, &[part(2, &[11])]);
    sender.write_log(log.path());
    deliver(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path(), 4).unwrap();
    sender.entries[0] = b"\x00another".to_vec();
    sender.transact(0, &[part(3, &[12])]);
    sender.write_log(log.path());
    assert_eq!(
        halted(sender.subscriber("health", folder.path(), &reading(log.path())), folder.path()),
        ["VER074"]
    );
    assert_eq!(ids(&lines(folder.path())), [10, 11]);
}

#[test]
fn a_key_that_signed_after_its_end_halts() {
    let mut sender = Sender::new(&["payments"]);
    sender.trust = trust_with(|draft| {
        let signing = line(Role::Signing, "signing", "tax");
        draft.end_signing(&"tax".parse().unwrap(), &signing, LogIndex(5)).unwrap();
    });
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 2).unwrap();
    sender.transact(0, &[part(2, &[11])]);
    assert_eq!(halted(sender.subscriber("health", folder.path(), &unchanged), folder.path()), ["VER076"]);
    assert_eq!(ids(&lines(folder.path())), [10]);
}

#[test]
fn a_key_for_another_log_does_not_sign_here() {
    let mut sender = Sender::new(&["payments"]);
    sender.trust = trust_with(|draft| {
        let other = line(Role::Signing, "signing/other", "tax");
        draft
            .add_signing(
                &"tax".parse().unwrap(),
                &other,
                &"gov.example/tax/other".parse().unwrap(),
                LogIndex(0),
            )
            .unwrap();
    });
    sender.transact(0, &[part(1, &[10])]);
    sender.signing = key(Role::Signing, "signing/other");
    sender.transact(0, &[part(2, &[11])]);
    let folder = tempfile::tempdir().unwrap();
    let report = check(sender.subscriber("health", folder.path(), &unchanged)).unwrap();
    assert!(report.has("VER011") && report.batches == 1, "{:?}", report.findings);
}

#[test]
fn a_changed_recipient_key_needs_a_rewrap() {
    let mut sender = Sender::new(&["payments"]);
    sender.trust = trust_with(|draft| {
        let newer = line(Role::Recipient, "recipient/health-2", "health");
        draft.add_recipient(&"health".parse().unwrap(), &newer).unwrap();
    });
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let with_new_key = |sender: &Sender| {
        let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
        subscriber.keys = vec![recipient("health-2")];
        subscriber
    };
    assert_eq!(halted(with_new_key(&sender), folder.path()), ["OPE010"]);
    let frame = sender.rewrap(0, 0, ("health", "health-2"), micros(NOW));
    sender.send("govbridge.keys", &frame);
    deliver(with_new_key(&sender), folder.path(), 2).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10]);
}

#[test]
fn a_gap_voids_what_never_ended_and_the_stream_goes_on() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let open = sender.seal(0, &[part(2, &[66])], Shape { leaves_open: true, ..Shape::default() });
    sender.publish(0, &open);
    let (_, open_digest) = sender.streams[0].head.unwrap();
    let lost = BatchRef { sequence: Sequence(2), digest: sha256(&[b"lost"]) };
    let gap = sender.seal_with(0, &[], Shape::default(), |header| {
        let from = RowPosition { mark: header.last.mark, token: Default::default() };
        (header.kind, header.sequence, header.previous) = (Kind::Gap, Sequence(3), lost.digest);
        header.incarnation = IncarnationNumber(2);
        (header.first, header.last) = (RowPosition::default(), RowPosition::default());
        header.resolved = At::START;
        header.notice = Some(Notice::Gap(Gap {
            reason: "the disk was lost".to_owned(),
            from,
            to: None,
            lost: vec![lost],
            lost_previous: open_digest,
            before: sha256(&[b"before"]),
            after: sha256(&[b"after"]),
            voids: vec![2],
        }));
    });
    sender.publish(0, &gap);
    sender.incarnation = IncarnationNumber(2);
    sender.transact(0, &[part(1, &[11])]);
    for (mode, wanted) in [("stream", vec![10, 66, 11]), ("source", vec![10, 11])] {
        let folder = tempfile::tempdir().unwrap();
        let change = move |settings: &mut Value| settings["mode"] = mode.into();
        let subscriber = sender.subscriber("health", folder.path(), &change);
        deliver(subscriber, folder.path(), wanted.len() + 3).unwrap();
        let rows = lines(folder.path());
        assert_eq!(ids(&rows), wanted, "{mode}");
        let gap = rows.iter().position(|row| row.get("gap").is_some()).unwrap();
        assert_eq!(rows[gap]["gap"]["voids"], serde_json::json!([2]));
        let ended: Vec<_> = rows.iter().filter_map(|row| row["commit"]["commit"].as_u64()).collect();
        assert_eq!(ended, [1, 1], "{mode}: the voided transaction never ends");
        assert!(gap >= 2 && gap < rows.len() - 2);
    }
}

fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn health_is_true_only_while_delivery_follows() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let folder = tempfile::tempdir().unwrap();
    let late = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = Arc::clone(&late);
    let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
    subscriber.probe = Arc::new(Unwatched);
    subscriber.clock = Arc::new(move || {
        micros(if told.load(std::sync::atomic::Ordering::Relaxed) { NOW + 3600 } else { NOW })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(run(subscriber, Some(listener), async move {
            let _ = stopped.await;
        }));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while lines(folder.path()).len() < 2 {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let asked = |path: &'static str| tokio::task::spawn_blocking(move || ask(address, path));
        assert!(asked("/health").await.unwrap().starts_with("HTTP/1.1 200"));
        let metrics = asked("/metrics").await.unwrap();
        assert!(metrics.contains("govbridge_deliver_rows_total 1"), "{metrics}");
        late.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asked("/health").await.unwrap().starts_with("HTTP/1.1 503"));
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    });
}
