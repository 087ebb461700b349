//! encode: rows -> Avro bytes, split into the contract's sections.

use crate::province::province;

#[test]
fn every_shared_column_arrives_as_the_source_has_it() {
    let province = province();
    let numbers = province.numbers(2);
    let (first, second) = (numbers.start, numbers.start + 1);
    province.execute(&format!(
        "INSERT INTO payments VALUES ({first}, '滨江·\"引号\"\\', '增值税', '2024-02-29', '', x'00ff10', '12.3400', '-0.01');
         INSERT INTO payments VALUES ({second}, 'T', 'k', '0001-01-01', 'c', NULL, '99999999999999999999.99', NULL)"
    ));
    let rows = province.delivered("audit", &numbers, 2);
    let expected = [
        serde_json::json!({
            "payment_id": first, "taxpayer_no": "滨江·\"引号\"\\", "tax_kind": "增值税", "paid_on": "2024-02-29", "channel": "",
            "receipt_digest": "AP8Q", "amount": "12.3400", "late_fee": "-0.01"
        }),
        serde_json::json!({
            "payment_id": second, "taxpayer_no": "T", "tax_kind": "k", "paid_on": "0001-01-01", "channel": "c",
            "receipt_digest": null, "amount": "99999999999999999999.99", "late_fee": null
        }),
    ];
    assert_eq!([&rows[0]["after"], &rows[1]["after"]], [&expected[0], &expected[1]]);
}
