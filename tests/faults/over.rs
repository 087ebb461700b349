//! A row over the limit: the connector halts before its position moves, with the code of a page that says what can be done.

use crate::reckoning::{Stage, refused};
use crate::running::{FIRST, quorum};

/// A little over what one row may have.
const OVER: usize = 65 << 20;

fn pay(stage: &Stage, id: i64, bytes: usize) {
    let sql = "INSERT INTO payments VALUES (?1, 'T9901000021', 'vat', '2026-09-01', ?2, NULL, '12.30', NULL)";
    stage.scene.application().execute(sql, (id, "k".repeat(bytes))).unwrap();
}

fn acknowledged(stage: &Stage) -> i64 {
    let application = stage.scene.application();
    application.query_row("SELECT acknowledged FROM govbridge_source", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_row_over_the_limit_halts_and_the_connector_goes_on_only_when_it_is_mended() {
    let stage = Stage::new(&["payments"]);
    let witnesses = quorum(&stage);
    // In a table that is yet to be sent: shortened, it goes.
    pay(&stage, FIRST, OVER);
    for _ in 0..2 {
        let said = refused(stage.scene.connector(), 1, "ENC009");
        assert!(said.contains("settlement"), "{said}");
    }
    let shorten = format!("UPDATE payments SET channel = 'counter' WHERE payment_id = {FIRST}");
    stage.scene.application().execute_batch(&shorten).unwrap();
    let mut connector = stage.scene.connector();
    stage.scene.make_subscriber("audit", "");
    let mut auditor = stage.scene.subscriber("audit");
    auditor.until("the snapshot is delivered", || stage.scene.rows("audit").len() >= 4);
    connector.healthy();
    stage.scene.pay(FIRST + 1..FIRST + 4);
    stage.until_received("audit", &mut auditor, 3);
    // A change that is committed stands in the changelog as it was: what is before it arrives, nothing of it or after it does,
    // and shortening the row is another change.
    pay(&stage, FIRST + 10, OVER);
    refused(connector, 1, "ENC009");
    let before = acknowledged(&stage);
    let shorten = format!("UPDATE payments SET channel = 'counter' WHERE payment_id = {}", FIRST + 10);
    stage.scene.application().execute_batch(&shorten).unwrap();
    stage.scene.pay(FIRST + 20..FIRST + 22);
    refused(stage.scene.connector(), 1, "ENC009");
    assert_eq!(acknowledged(&stage), before);
    assert_eq!(auditor.stop().0.code(), Some(0));
    let changes = stage.scene.rows("audit").iter().filter(|line| line.starts_with("{\"op\":\"c\"")).count();
    assert_eq!(changes, 3, "nothing of the row, and nothing behind it");
    drop(witnesses);
}
