//! Grants that start and end while the connector runs: the key version changes at that instant, for exactly those who
//! are entitled then.

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

use bridge_envelope::KeyRecord;
use bridge_event::UnixMicros;
use bridge_pipeline::NoProbe;
use sender::{NOW, Scene, promise_with};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// 2026-09-21T14:13:20Z is the test's now; one hour later education joins, two hours later social security leaves.
const JOINS: &str = "2026-09-21T15:13:20Z";
const LEAVES: &str = "2026-09-21T16:13:20Z";
const HOUR: i64 = 3_600_000_000;

fn with_life(contract: String) -> String {
    let social = contract.find("recipient = \"social-security\"").unwrap();
    let start = social + contract[social..].find("start = ").unwrap();
    let (before, after) = contract.split_at(start);
    format!(
        "{before}end = {LEAVES}\n{after}\n[[grant]]\nsection = \"settlement\"\nrecipient = \"education\"\npurpose = \"核对\"\nlegal_basis = \"示例\"\nstart = {JOINS}\n"
    )
}

fn settlement(records: &[KeyRecord]) -> Vec<(i64, i64, Vec<String>)> {
    let of_section = records.iter().filter(|record| record.terms.section.as_str() == "settlement");
    of_section
        .map(|record| {
            let mut recipients: Vec<String> = record.wraps.iter().map(|w| w.recipient.to_string()).collect();
            recipients.sort();
            (record.terms.valid_from.0 - NOW, record.terms.not_after.0 - NOW, recipients)
        })
        .collect()
}

#[test]
fn a_grant_that_starts_or_ends_changes_the_key_version_at_that_instant_before_the_next_batch() {
    let scene = Scene::new(&["payments"]);
    let application = scene.application();
    let mut connector = scene.connector(Arc::new(NoProbe));
    connector.promises = vec![promise_with("payments", with_life)];
    let contract = Arc::clone(&connector.promises[0].contract);
    let running = scene.start_with(connector);
    let sent = |wanted: u64| scene.rows("payments") >= wanted;
    scene.until(&running, "the snapshot", || !scene.batches("payments").is_empty());

    let mut id = 9000;
    let mut insert = |expected: u64| {
        application
            .execute("INSERT INTO payments VALUES (?1, '91999900MA00000001', 'vat', '2026-09-01', 'bank', NULL, '1.00', '0.00')", [id])
            .unwrap();
        id += 1;
        scene.until(&running, "a row", || sent(expected));
    };
    insert(1);
    // One microsecond before, nothing changes; at the instant, everything does.
    scene.clock.0.store(NOW + HOUR - 1, Ordering::SeqCst);
    insert(2);
    scene.clock.0.store(NOW + HOUR, Ordering::SeqCst);
    insert(3);
    scene.clock.0.store(NOW + 2 * HOUR, Ordering::SeqCst);
    insert(4);
    running.stop().unwrap();

    let records = scene.key_records();
    let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let versions = settlement(&records);
    assert_eq!(versions[0], (0, HOUR, all(&["audit", "social-security", "tax"])));
    assert_eq!(versions[1], (HOUR, 2 * HOUR, all(&["audit", "education", "social-security", "tax"])));
    assert_eq!(versions[2].0, 2 * HOUR);
    assert_eq!(versions[2].2, all(&["audit", "education", "tax"]));
    assert_eq!(versions.len(), 3);

    // What a reader checks of each record holds.
    for record in &records {
        let terms = &record.terms;
        let entitled = contract.entitled(&terms.section, terms.valid_from);
        let change = contract.next_change(&terms.section, terms.valid_from);
        let known = |department: &bridge_event::Department, key: &bridge_suite::KeyId| {
            scene.trust.recipient_keys(department).iter().any(|k| k.id() == *key)
        };
        assert_eq!(record.check_grants(&entitled, change, &known), vec![]);
        assert!(terms.not_after > terms.valid_from);
        assert_ne!(terms.valid_from, UnixMicros(0));
    }
}
