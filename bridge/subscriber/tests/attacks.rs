//! Attacks by whoever holds the broker, the log's web server, or a signing key that is over.

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
use std::path::Path;
use std::sync::Arc;

use bridge_envelope::{
    ContractRecord, Entry, EpochEntry, Fence, FrameKind, KeyRecord, Rewrap, SchemaFile, WrapTo, sign_fence,
};
use bridge_event::{At, Epoch, IncarnationNumber, LogIndex, Offset};
use bridge_subscriber::{Report, check};
use bridge_suite::{Role, SigningKey, sha256};
use bridge_tlog::Tile;
use bridge_trust::Trust;
use running::{deliver, halted, ids, lines};
use sender::{ORIGIN, Sender, Shape, key, line, micros, part, recipient, trust_with};
use serde_json::Value;

fn unchanged(_: &mut Value) {}

fn source(settings: &mut Value) {
    settings["mode"] = "source".into();
}

/// The first key ends where the second one begins.
fn rotated(at: u64) -> Arc<Trust> {
    trust_with(|draft| {
        let (tax, old) = ("tax".parse().unwrap(), line(Role::Signing, "signing", "tax"));
        draft.end_signing(&tax, &old, LogIndex(at)).unwrap();
        let new = line(Role::Signing, "signing/new", "tax");
        draft.add_signing(&tax, &new, &ORIGIN.parse().unwrap(), LogIndex(at)).unwrap();
    })
}

/// A department that changed its key after its first transaction: epoch 2 is the new key's. Gives the old key.
fn after_a_rotation(datasets: &[&str]) -> (Sender, SigningKey) {
    let mut sender = Sender::new(datasets);
    for stream in 0..datasets.len() {
        sender.transact(stream, &[part(1, &[10 + stream as i64])]);
    }
    let at = sender.entries.len() as u64;
    sender.trust = rotated(at);
    let old = std::mem::replace(&mut sender.signing, key(Role::Signing, "signing/new"));
    sender.epoch = Epoch(2);
    let begun = EpochEntry { epoch: Epoch(2), incarnation: IncarnationNumber(1), started: micros(0) };
    sender.entries.push(Entry::Epoch(begun).encode().unwrap());
    for stream in 0..datasets.len() {
        let fence = fence(&sender, stream, Epoch(2), LogIndex(at), &sender.signing);
        sender.publish(stream, &fence);
        let beacon = sender.beacon(stream);
        sender.publish(stream, &beacon);
    }
    (sender, old)
}

fn fence(sender: &Sender, stream: usize, epoch: Epoch, log_index: LogIndex, by: &SigningKey) -> Vec<u8> {
    let fence = Fence {
        origin: ORIGIN.parse().unwrap(),
        stream: sender.streams[stream].id.clone(),
        epoch,
        log_index,
        incarnation: IncarnationNumber(1),
    };
    sign_fence(fence, &[by]).unwrap().into_frame()
}

/// What `make` gives, signed with a stolen key.
fn stolen(
    sender: &mut Sender,
    thief: SigningKey,
    make: impl FnOnce(&mut Sender) -> Vec<u8>,
) -> (Vec<u8>, SigningKey) {
    let own = std::mem::replace(&mut sender.signing, thief);
    let frame = make(sender);
    (frame, std::mem::replace(&mut sender.signing, own))
}

fn checked(sender: &Sender, folder: &Path) -> Report {
    check(sender.subscriber("health", folder, &unchanged)).unwrap()
}

#[test]
fn a_fence_of_a_key_that_is_over_does_not_end_the_department_s_epoch() {
    for log_index in [LogIndex(0), LogIndex(1), LogIndex(u64::MAX)] {
        let (mut sender, old) = after_a_rotation(&["payments"]);
        let last = fence(&sender, 0, Epoch(u64::MAX), log_index, &old);
        sender.publish(0, &last);
        sender.transact(0, &[part(2, &[20])]);
        let folder = tempfile::tempdir().unwrap();
        deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 4).unwrap();
        assert_eq!(ids(&lines(folder.path())), [10, 20]);
        let report = checked(&sender, folder.path());
        assert!(report.has("VER076") && !report.streams[0].halted, "{:?}", report.findings);
    }
}

#[test]
fn a_batch_or_beacon_of_a_key_that_is_over_halts_nobody() {
    let (mut sender, old) = after_a_rotation(&["payments"]);
    // A fork of the next batch, and beacons that claim a loss and an epoch without a fence.
    let head = (sender.streams[0].head, sender.streams[0].last);
    let (entries, newest) = (sender.entries.clone(), sender.streams[0].newest_entry.clone());
    let (fork, old) = stolen(&mut sender, old, |sender| sender.seal(0, &[part(2, &[66])], Shape::default()));
    let (loss, old) =
        stolen(&mut sender, old, |sender| sender.beacon_with(0, |beacon| beacon.appended = None));
    let (unfenced, _) = stolen(&mut sender, old, |sender| {
        sender.beacon_with(0, |beacon| {
            (beacon.epoch, beacon.appended) = (Epoch(99), None);
        })
    });
    sender.entries = entries;
    (sender.streams[0].head, sender.streams[0].last) = head;
    sender.forget_entry(0, newest);
    for frame in [&loss, &unfenced, &fork] {
        sender.publish(0, frame);
    }
    sender.transact(0, &[part(2, &[20])]);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 4).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10, 20]);
}

#[test]
fn a_start_in_mid_stream_takes_no_place_of_a_key_that_is_over() {
    let (mut sender, old) = after_a_rotation(&["payments"]);
    let (lie, _) = stolen(&mut sender, old, |sender| {
        sender.beacon_with(0, |beacon| {
            beacon.epoch = Epoch(u64::MAX);
            beacon.place.epoch = Epoch(u64::MAX);
            beacon.place.offset = Offset(0);
        })
    });
    sender.publish(0, &lie);
    let folder = tempfile::tempdir().unwrap();
    let batch = sender.seal(0, &[part(2, &[20])], Shape::default());
    sender.publish(0, &batch);
    let latest = |settings: &mut Value| {
        (settings["start"], settings["least"]) = ("latest".into(), "signed".into());
    };
    let report = check(sender.subscriber("health", folder.path(), &latest)).unwrap();
    assert!(report.streams[0].started.offset > 0, "{:?}", report.streams);
    deliver(sender.subscriber("health", folder.path(), &latest), folder.path(), 2).unwrap();
    assert_eq!(ids(&lines(folder.path())), [20]);
}

#[test]
fn a_stream_that_goes_back_behind_its_own_word_halts_instead_of_losing_rows() {
    let mut sender = Sender::new(&["payments", "refunds"]);
    sender.transact(0, &[part(5, &[50])]);
    // Signed by the department's own key, and not true: refunds has a row of commit 3 still to come.
    let beacon = sender.beacon_with(1, |beacon| beacon.resolved = At::end_of(9));
    sender.publish(1, &beacon);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &source), folder.path(), 2).unwrap();
    sender.transact(1, &[part(3, &[30])]);
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(halted(sender.subscriber("health", folder.path(), &source), folder.path()), ["VER086"]);
    assert_eq!(ids(&lines(folder.path())), [50]);
    // Who reads both streams from their beginning may meet the lie before the row of the other stream, and never the row behind it.
    assert_eq!(halted(sender.subscriber("health", fresh.path(), &source), fresh.path()), ["VER086"]);
    let delivered = ids(&lines(fresh.path()));
    assert!(delivered.iter().all(|id| *id == 50), "{delivered:?}");
}

#[test]
fn tiles_that_a_stranger_changed_accuse_no_log_of_a_fork() {
    let mut sender = Sender::new(&["payments"]);
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = log.path().display().to_string();
    let reading = move |settings: &mut Value| settings["logs"] = serde_json::json!({ ORIGIN: address });
    sender.entries.push(b"\x00second".to_vec());
    sender.transact(0, &[part(1, &[10])]);
    sender.write_log(log.path());
    deliver(sender.subscriber("health", folder.path(), &reading), folder.path(), 2).unwrap();
    while sender.entries.len() < 255 {
        sender.entries.push(format!("\x00{}", sender.entries.len()).into_bytes());
    }
    sender.transact(0, &[part(2, &[11])]);
    assert_eq!(sender.entries.len(), 256);
    // A full tile: its root stands in the tile above it as well, so the leaves can lie and the tree's root still fits.
    sender.write_log(log.path());
    let above = Tile::new(1, 0, 1).unwrap();
    let leaves = log.path().join(Tile::new(0, 0, 256).unwrap().path());
    let root = sender.root();
    let path = log.path().join(above.path());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().write_all(root.as_bytes()).unwrap();
    let mut lie = std::fs::read(&leaves).unwrap();
    lie[32] ^= 1;
    std::fs::File::create(&leaves).unwrap().write_all(&lie).unwrap();
    deliver(sender.subscriber("health", folder.path(), &reading), folder.path(), 4).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10, 11]);
}

#[test]
fn rubbish_and_copies_do_not_keep_out_the_rewrap_that_somebody_waits_for() {
    let mut sender = Sender::new(&["payments"]);
    sender.trust = trust_with(|draft| {
        let newer = line(Role::Recipient, "recipient/health-2", "health");
        draft.add_recipient(&"health".parse().unwrap(), &newer).unwrap();
    });
    sender.transact(0, &[part(1, &[10])]);
    let version = &sender.streams[0].keys[0];
    let tax = "tax".parse().unwrap();
    let record = sender.sent.iter().filter(|frame| FrameKind::of(frame) == Some(FrameKind::KeyRecord));
    let record = record
        .filter_map(|frame| KeyRecord::verify(frame, &*sender.trust, &tax).into_verified().ok())
        .find(|record| record.digest() == version.record)
        .unwrap();
    let health = "health".parse().unwrap();
    let public = recipient("health-2").public();
    let (contract, from) = (record.content().terms.contract, record.content().terms.valid_from);
    let made = |reason: String, by: &SigningKey| {
        let to = [WrapTo { recipient: &health, key: &public, seed: sha256(&[reason.as_bytes()]).0 }];
        let rewrap = Rewrap::new(&record, &version.secret, &to, contract, from, reason);
        rewrap.unwrap().sign(&[by]).unwrap().into_frame()
    };
    let strangers: Vec<Vec<u8>> = (0..schemas::GRANTS_MAX)
        .map(|n| made(format!("rubbish {n}"), &key(Role::Signing, "stranger")))
        .collect();
    let genuine = made("a new key".to_owned(), &sender.signing);
    // A true rewrap for another key, over and over.
    let audit = "audit".parse().unwrap();
    let audits = recipient("audit").public();
    let to = [WrapTo { recipient: &audit, key: &audits, seed: sha256(&[b"again"]).0 }];
    let other = Rewrap::new(&record, &version.secret, &to, contract, from, "again".to_owned()).unwrap();
    let copy = other.sign(&[&sender.signing]).unwrap().into_frame();
    for frame in &strangers {
        sender.send("govbridge.keys", frame);
    }
    for _ in 0..schemas::GRANTS_MAX {
        sender.send("govbridge.keys", &copy);
    }
    sender.send("govbridge.keys", &genuine);
    let folder = tempfile::tempdir().unwrap();
    let mut subscriber = sender.subscriber("health", folder.path(), &unchanged);
    subscriber.keys = vec![recipient("health-2")];
    deliver(subscriber, folder.path(), 2).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10]);
}

#[test]
fn a_second_record_of_a_contract_does_not_change_its_schemas() {
    let mut sender = Sender::new(&["payments"]);
    sender.transact(0, &[part(1, &[10])]);
    let first = sender.sent.iter().find(|frame| FrameKind::of(frame) == Some(FrameKind::Contract)).unwrap();
    let record =
        ContractRecord::verify(first, &*sender.trust, &"tax".parse().unwrap()).into_verified().unwrap();
    let ContractRecord { contract, schemas } = record.into_content();
    let schemas = schemas
        .into_iter()
        .map(|file| SchemaFile { content: [&file.content[..], b"\n"].concat(), ..file })
        .collect();
    let other = ContractRecord { contract, schemas }.sign(&[&sender.signing]).unwrap().into_frame();
    sender.send("govbridge.contracts", &other);
    let folder = tempfile::tempdir().unwrap();
    deliver(sender.subscriber("health", folder.path(), &unchanged), folder.path(), 2).unwrap();
    assert_eq!(ids(&lines(folder.path())), [10]);
}
