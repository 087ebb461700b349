//! capture: database log -> whole source transactions with their position.

use crate::province::{payment, province};

#[test]
fn what_was_there_before_is_a_snapshot_and_comes_first() {
    let province = province();
    let rows = province.delivered("audit", &(810_001..810_004), 3);
    assert!(rows.iter().all(|row| row["op"] == "r" && row["source"]["snapshot"] == true), "{rows:?}");
    let lines = province.lines("audit");
    let payments = |line: &&serde_json::Value| line["source"]["dataset"] == "payments";
    assert!(lines.iter().filter(payments).take(3).all(|line| line["op"] == "r"));
}

#[test]
fn each_change_comes_as_what_it_was_with_the_states_before_and_after() {
    let province = province();
    let numbers = province.numbers(1);
    let id = numbers.start;
    province.execute(&payment(id));
    province.execute(&format!("UPDATE payments SET amount = '45.60' WHERE payment_id = {id}"));
    province.execute(&format!("DELETE FROM payments WHERE payment_id = {id}"));
    let changes = province.delivered("audit", &numbers, 3);
    let said: Vec<_> = changes
        .iter()
        .map(|change| (&change["op"], &change["before"]["amount"], &change["after"]["amount"]))
        .map(|(op, before, after)| (op.as_str().unwrap(), before.as_str(), after.as_str()))
        .collect();
    let expected =
        [("c", None, Some("12.30")), ("u", Some("12.30"), Some("45.60")), ("d", Some("45.60"), None)];
    assert_eq!(said, expected);
}

#[test]
fn what_was_rolled_back_never_comes() {
    let province = province();
    let numbers = province.numbers(2);
    let application = province.stage.scene.application();
    let rolled_back = format!("BEGIN IMMEDIATE; {}; ROLLBACK", payment(numbers.start));
    application.execute_batch(&rolled_back).unwrap();
    province.execute(&payment(numbers.start + 1));
    let rows = province.delivered("audit", &numbers, 1);
    assert_eq!(rows[0]["after"]["payment_id"], numbers.start + 1);
}
