//! deliver: rows -> the department's sink, position stored with them.

use crate::province::{payment, province, until};

#[test]
fn a_transaction_comes_whole_in_its_order_and_a_line_ends_it() {
    let province = province();
    let numbers = province.numbers(20);
    province.execute(&numbers.clone().map(payment).collect::<String>());
    let rows = province.delivered("audit", &numbers, 20);
    let commits: Vec<_> = rows.iter().map(|row| row["source"]["commit"].as_u64().unwrap()).collect();
    assert!(commits.iter().all(|commit| *commit == commits[0]), "one transaction: {commits:?}");
    let order: Vec<_> = rows.iter().map(|row| row["after"]["payment_id"].as_i64().unwrap()).collect();
    assert_eq!(order, numbers.collect::<Vec<_>>());
    let mut end = None;
    until("the line that ends it", || {
        let lines = province.lines("audit");
        end = lines
            .into_iter()
            .map(|line| line["commit"].clone())
            .find(|commit| commit["commit"] == commits[0]);
        end.is_some()
    });
    let end = end.unwrap();
    assert!(end["rows"].as_u64() >= Some(20) && end["dataset"] == "payments", "{end}");
}

#[test]
fn every_row_of_every_dataset_is_there_once_for_every_department() {
    let province = province();
    for department in ["audit", "social-security"] {
        province.delivered(department, &(810_001..810_004), 3);
        let mut places: Vec<String> = province
            .lines(department)
            .iter()
            .filter(|line| line["provenance"]["batch"].is_string())
            .map(|line| format!("{} {}", line["provenance"]["batch"], line["provenance"]["leaf"]))
            .collect();
        let all = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), all, "{department}");
    }
}
