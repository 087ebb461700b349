//! Much waits for the connector: its memory stays bounded by its queues, not by what waits.

use crate::process::{Process, metric};
use crate::reckoning::Stage;

const ROWS: i64 = 200_000;

/// Most memory that the process may ever have had. It is 22 MiB where this was written; a broker that is slower than the
/// source adds the producer's queue of 16 MiB and 16 batches of 512 KiB between the threads. The rows that wait are 60 MiB
/// in the changelog.
pub const PEAK_KIB_MAX: u64 = 56 * 1024;

/// Payments with these numbers, in transactions of so many.
fn pay_many(stage: &Stage, first: i64, transactions: i64) {
    let application = stage.scene.application();
    let each = ROWS / transactions;
    for transaction in 0..transactions {
        let from = first + transaction * each;
        let until = from + each;
        application
            .execute(
                "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
                 INSERT INTO payments SELECT i, 'T9901000021', '增值税', '2026-09-01', '银行端查询缴税', NULL, i || '.50', NULL FROM n",
                [from, until],
            )
            .unwrap();
    }
}

/// Waits until everything is captured, published, in the log and acknowledged; the peak by then.
pub fn sends(connector: &mut Process, rows: i64) -> u64 {
    let address = connector.address();
    connector.until("everything is sent", || {
        metric(&address, "govbridge_capture_rows_total") >= u64::try_from(rows).unwrap()
            && metric(&address, "govbridge_publish_outstanding_batches") == 0
    });
    let peak = connector.peak_kib();
    println!("{rows} rows were sent with at most {} MiB", peak / 1024);
    peak
}

#[test]
fn a_connector_sends_what_waits_in_bounded_memory_however_large_the_transaction() {
    let stage = Stage::new(&["payments"]);
    let mut connector = stage.scene.connector();
    connector.healthy();
    assert_eq!(connector.stop().0.code(), Some(0));
    let mut peaks = Vec::new();
    for (first, transactions) in [(1_000_000, 2_000), (2_000_000, 1)] {
        pay_many(&stage, first, transactions);
        let mut connector = stage.scene.connector();
        peaks.push(sends(&mut connector, ROWS));
        assert_eq!(connector.stop().0.code(), Some(0));
    }
    // A snapshot of all of it, by a connector that has sent nothing yet.
    let other = Stage::new(&["payments"]);
    pay_many(&other, 1_000_000, 1);
    let mut connector = other.scene.connector();
    peaks.push(sends(&mut connector, ROWS));
    assert_eq!(connector.stop().0.code(), Some(0));
    assert!(peaks.iter().all(|peak| *peak < PEAK_KIB_MAX), "{peaks:?} KiB");
}
