//! A value that the contract's type cannot hold: the connector halts before its position moves, and goes on with all that
//! waits once the contract holds the value.

use std::collections::BTreeSet;
use std::path::Path;

use crate::process::repository;
use crate::reckoning::{Stage, Written, refused};
use crate::running::{FIRST, SMALL_BATCHES, quorum};

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// The contract in a folder of the scene, where the department can amend it.
fn own_contract(stage: &Stage) -> std::path::PathBuf {
    let (from, to) = (repository().join("schemas/tax/payments"), stage.scene.tax().join("payments"));
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(&from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let config = stage.scene.tax().join("connector.toml");
    edit(&config, &format!("{:?}", from.display().to_string()), "\"payments\"");
    to
}

fn acknowledged(stage: &Stage) -> i64 {
    let application = stage.scene.application();
    application.query_row("SELECT acknowledged FROM govbridge_source", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_value_that_the_contract_cannot_hold_waits_until_the_contract_is_amended_and_nothing_is_lost() {
    let stage = Stage::new(&["payments"]);
    let contract = own_contract(&stage);
    let start = || stage.scene.connector_with(&[], SMALL_BATCHES);
    let witnesses = quorum(&stage);
    let mut connector = start();
    stage.scene.make_subscriber("audit", "");
    connector.healthy();
    let mut auditor = stage.scene.subscriber("audit");
    auditor.until("the snapshot is delivered", || stage.scene.rows("audit").len() >= 3);
    stage.scene.pay(FIRST..FIRST + 5);
    stage.until_received("audit", &mut auditor, 5);

    // The second row of a transaction: every row is a batch, so the first is sent and the transaction stands open.
    let (good, bad, last) = (FIRST + 5, FIRST + 6, FIRST + 7);
    let row = |id: i64, day: &str| {
        format!(
            "INSERT INTO payments VALUES ({id}, 'T9901000021', '增值税', '{day}', '银行', NULL, '12.30', NULL);"
        )
    };
    let rows = [row(good, "2026-09-01"), row(bad, "不详"), row(last, "2026-09-02")].concat();
    stage.scene.application().execute_batch(&format!("BEGIN; {rows} COMMIT;")).unwrap();
    let said = refused(connector, 1, "ENC005");
    assert!(said.contains("paid_on") && !said.contains("不详"), "{said}");

    // It stays so: nothing moves, also when the row is corrected, because the changelog has the change.
    let before = acknowledged(&stage);
    let correction = format!("UPDATE payments SET paid_on = '2026-09-03' WHERE payment_id = {bad}");
    stage.scene.application().execute_batch(&correction).unwrap();
    stage.scene.pay(FIRST + 10..FIRST + 13);
    refused(start(), 1, "ENC005");
    assert_eq!(acknowledged(&stage), before);

    // Readers know a contract by its own file: one whose schema alone changed is refused before anything is sent.
    let date = "{\"type\": \"int\", \"logicalType\": \"date\"}";
    edit(&contract.join("settlement.avsc"), date, "\"string\"");
    refused(start(), 2, "STA023");
    edit(&contract.join("contract.toml"), "revision = 1", "revision = 2");
    let mut connector = start();
    connector.healthy();
    stage.until_received("audit", &mut auditor, 12);

    // A reader who begins now goes through both contracts.
    stage.scene.make_subscriber("social-security", "");
    let mut late = stage.scene.subscriber("social-security");
    stage.until_received("social-security", &mut late, 12);
    let lines = stage.scene.rows("social-security");
    assert_eq!(
        lines.iter().filter(|line| line.contains("\"paid_on\":\"不详\"")).count(),
        2,
        "before and after"
    );

    // Back is no way: what was sent under the wider type would not fit.
    assert_eq!(connector.stop().0.code(), Some(0));
    edit(&contract.join("contract.toml"), "revision = 2", "revision = 3");
    edit(
        &contract.join("settlement.avsc"),
        "{\"name\": \"paid_on\", \"type\": \"string\"}",
        &format!("{{\"name\": \"paid_on\", \"type\": {date}}}"),
    );
    refused(start(), 2, "STA023");

    for process in [auditor, late].into_iter().chain(witnesses) {
        assert_eq!(process.stop().0.code(), Some(0));
    }
    stage.log_and_topic_agree("payments");
    let ends = BTreeSet::from([1, 2, 3, 4, 5, 8, 9, 10, 11, 12]);
    stage.receiver_has_the_source("audit", &Written { changes: 12, ends });
}
