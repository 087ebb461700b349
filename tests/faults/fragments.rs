//! kill -9 of the connector in the midst of a row that is larger than a record.

use bridge_envelope::Header;
use bridge_suite::sha256;
use serde_json::Value;

use crate::reckoning::{Received, Stage, killed_by};
use crate::running::{FAULT, FIRST, quorum};

/// A text of so many bytes that compresses to no less than half.
fn text(bytes: usize) -> String {
    let lines = (0_u64..).map(|line| sha256(&[b"text", &line.to_be_bytes()]).to_string());
    let mut text: String = lines.take(bytes / 64 + 1).collect();
    text.truncate(bytes);
    text
}

/// Three payments in one transaction; the second one's channel is as long as it is told.
fn pay(stage: &Stage, first: i64, channel: &str) {
    let mut application = stage.scene.application();
    let transaction = application.transaction().unwrap();
    for (number, channel) in (first..).zip(["counter", channel, "counter"]) {
        let sql =
            "INSERT INTO payments VALUES (?1, 'T9901000021', 'vat', '2026-09-01', ?2, NULL, '12.30', NULL)";
        transaction.execute(sql, (number, channel)).unwrap();
    }
    transaction.commit().unwrap();
}

/// The fragments of one row among the batches that readers accept.
fn fragments(accepted: &[Header], commit: u64) -> Vec<&Header> {
    let of = |header: &&Header| header.fragment.is_some() && header.first.mark.commit == commit;
    accepted.iter().filter(of).collect()
}

#[test]
fn a_connector_killed_between_the_fragments_of_a_row_goes_on_with_the_next() {
    let stage = Stage::new(&["payments"]);
    let witnesses = quorum(&stage);
    // A snapshot with a row in two fragments, broken off between them, is begun again.
    let (in_snapshot, in_stream) = (text(1200 * 1024), text(3 * 1024 * 1024));
    pay(&stage, FIRST, &in_snapshot);
    killed_by(stage.scene.connector_with(&[], &[(FAULT, "in-snapshot:3")]), "in-snapshot:3");
    let mut connector = stage.scene.connector();
    stage.scene.make_subscriber("audit", "");
    connector.healthy();
    let mut auditor = stage.scene.subscriber("audit");
    auditor.until("the snapshot is delivered", || stage.scene.rows("audit").len() >= 6);
    assert_eq!(connector.stop().0.code(), Some(0));

    pay(&stage, FIRST + 10, &in_stream);
    let kill = |fault: &'static str| killed_by(stage.scene.connector_with(&[], &[(FAULT, fault)]), fault);
    let in_the_midst = || stage.accepted("payments").last().unwrap().0.last.mark.is_unfinished();
    // Each of these lives sends two batches at most, and the row has five fragments.
    for _ in 0..10 {
        kill("after-seal:3");
        if in_the_midst() {
            break;
        }
    }
    assert!(in_the_midst());
    kill("after-publish:1");
    let mut connector = stage.scene.connector();
    connector.healthy();
    stage.until_received("audit", &mut auditor, 3);
    pay(&stage, FIRST + 20, "counter");
    stage.until_received("audit", &mut auditor, 6);
    assert_eq!(connector.stop().0.code(), Some(0));
    assert_eq!(auditor.stop().0.code(), Some(0));
    stage.log_and_topic_agree("payments");

    let lines = stage.scene.rows("audit");
    assert_eq!(Received::of(&lines).table, stage.source());
    let channel_of = |number: i64| {
        let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: Vec<Value> = lines.filter(|line| line["after"]["payment_id"] == number).collect();
        assert_eq!(found.len(), 1, "payment {number} is delivered once");
        (found[0]["after"]["channel"].as_str().unwrap().to_owned(), found[0].clone())
    };
    assert!(channel_of(FIRST + 1).0 == in_snapshot, "the snapshot's row is whole");
    let (channel, line) = channel_of(FIRST + 11);
    assert!(channel == in_stream, "the stream's row is whole");

    let accepted: Vec<Header> = stage.accepted("payments").into_iter().map(|(header, _)| header).collect();
    let parts = fragments(&accepted, line["source"]["commit"].as_u64().unwrap());
    assert!(parts.len() >= 5, "{} fragments", parts.len());
    for (index, header) in (0_u32..).zip(&parts) {
        let part = header.fragment.unwrap();
        assert_eq!((part.index, usize::try_from(part.of).unwrap()), (index, parts.len()));
    }
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    assert!(first.epoch < last.epoch, "the row was sent in more than one life");
    assert_eq!(line["provenance"]["sequence"], last.sequence.0, "the last fragment's batch proves the row");
    drop(witnesses);
}
