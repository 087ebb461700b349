//! open: a verified batch and the department's key -> rows of the sections it may read.

use crate::province::{payment, province};

#[test]
fn each_department_opens_the_sections_that_it_was_granted_and_no_other() {
    let province = province();
    let numbers = province.numbers(1);
    province.execute(&payment(numbers.start));
    let auditor = province.delivered("audit", &numbers, 1).remove(0);
    let other = province.delivered("social-security", &numbers, 1).remove(0);
    assert_eq!(auditor["source"]["sections"], serde_json::json!(["settlement", "amount"]));
    assert_eq!(other["source"]["sections"], serde_json::json!(["settlement"]));
    assert_eq!(auditor["after"]["amount"], "12.30");
    let columns: Vec<&String> = other["after"].as_object().unwrap().keys().collect();
    assert!(!columns.iter().any(|name| ["amount", "late_fee"].contains(&name.as_str())), "{columns:?}");
    // The same batch, the same place, the same row.
    for name in ["batch", "leaf", "sequence"] {
        assert_eq!(auditor["provenance"][name], other["provenance"][name]);
    }
    assert_eq!(auditor["source"]["commit"], other["source"]["commit"]);
}
