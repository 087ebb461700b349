//! acknowledge: appended batch -> the database may forget.

use crate::process::metric;
use crate::province::{payment, province, until};

#[test]
fn the_source_forgets_a_change_once_it_is_in_the_log_and_never_before() {
    let province = province();
    let numbers = province.numbers(4);
    let application = province.stage.scene.application();
    let number = |sql: &str| application.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    numbers.clone().for_each(|number| province.execute(&payment(number)));
    let newest = number("SELECT seq FROM sqlite_sequence WHERE name = 'govbridge_changelog'");
    until("the source may forget all of it", || {
        number("SELECT acknowledged FROM govbridge_source") >= newest
    });
    // The entries were there before.
    let rows: u64 = province.stage.accepted("payments").iter().map(|(header, _)| header.row_events).sum();
    assert!(rows >= 3 + 4);
    assert!(!province.stage.logged("payments").is_empty());
    until("they are forgotten", || {
        number(&format!("SELECT count(*) FROM govbridge_changelog WHERE id <= {newest}")) == 0
    });
    assert!(metric(&province.connector, "govbridge_acknowledge_commit") > 0);
    // The application's own rows are its own.
    let kept = format!(
        "SELECT count(*) FROM payments WHERE payment_id >= {} AND payment_id < {}",
        numbers.start, numbers.end
    );
    assert_eq!(number(&kept), 4);
}
