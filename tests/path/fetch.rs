//! fetch: Kafka record -> untrusted bytes.

use crate::process::metric;
use crate::province::{payment, province, until};

#[test]
fn every_record_of_the_streams_is_fetched_from_the_first_one_on_and_once() {
    let province = province();
    let numbers = province.numbers(2);
    numbers.clone().for_each(|number| province.execute(&payment(number)));
    province.delivered("audit", &numbers, 2);
    let fetched = || metric(&province.auditor, "govbridge_fetch_records_total");
    let there = || {
        let records =
            |dataset: &str| province.stage.records(&format!("govbridge.tax.{dataset}")).len() as u64;
        records("payments") + records("taxpayers")
    };
    // Both go on while beacons come; no record is fetched twice, and none is left out.
    until("all records are fetched", || {
        let (before, count, after) = (there(), fetched(), there());
        assert!(count <= there(), "{count} fetched, {after} there");
        before <= count && count <= after
    });
    assert_eq!(metric(&province.auditor, "govbridge_fetch_refetches_total"), 0);
}
