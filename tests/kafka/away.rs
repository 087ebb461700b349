//! The broker restarts, is away, and stands still, while everything runs and the source goes on writing.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::process::{Process, get, metric};
use crate::reckoning::{PACE, Stage};
use crate::running::Running;

/// The most memory that a process may ever have had, in KiB.
const PEAK_KIB_MAX: u64 = 192 * 1024;

fn away() -> Duration {
    let seconds = std::env::var("GOVBRIDGE_AWAY_S").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

/// Waits until a process says by itself that Kafka is away.
fn says_that_kafka_is_away(process: &mut Process, address: &str) {
    process.until("its health says that Kafka is away", || {
        let (status, words) = get(address, "/health").unwrap_or_default();
        status == 503
            && (words.contains("Kafka is away") || words.contains("FET002") || words.contains("PUB005"))
    });
}

/// Up to where the source may forget.
fn acknowledged(stage: &Stage) -> i64 {
    let application = stage.scene.application();
    application.query_row("SELECT acknowledged FROM govbridge_source", [], |row| row.get(0)).unwrap()
}

/// A payment in one row of five megabytes.
fn pay_much(stage: &Stage, number: i64) -> String {
    let channel: String = (0..5 * 1024 * 1024 / 8)
        .map(|part: u64| format!("{:08x}", part.wrapping_mul(0x9e37_79b9) & 0xffff_ffff))
        .collect();
    let sql = "INSERT INTO payments VALUES (?1, 'T9901000021', 'vat', '2026-09-01', ?2, NULL, '12.30', NULL)";
    stage.scene.application().execute(sql, (number, &channel)).unwrap();
    channel
}

#[test]
fn nothing_is_lost_repeated_or_out_of_order_while_kafka_restarts_is_away_and_stands_still() {
    let mut broker = Broker::start("");
    let stage = Stage::on_kafka(&broker.plain(), &["payments"]);
    let mut running = Running::on(stage, "", &[], PACE);
    let mut connector = running.connector();
    let address = connector.healthy();
    let auditor = running.auditor.as_mut().unwrap().address();

    // A restart under load: the same epoch goes on, or a new one begins.
    running.all_arrives();
    broker.stop();
    broker.begin();
    running.all_arrives();

    // Away, with much to send meanwhile: both say so, and neither grows.
    let restarts = metric(&address, "govbridge_publish_restarts_total");
    broker.kill();
    let since = Instant::now();
    says_that_kafka_is_away(&mut connector, &address);
    says_that_kafka_is_away(running.auditor.as_mut().unwrap(), &auditor);
    connector.until("Kafka was away long enough, and the epoch is over", || {
        since.elapsed() > away() && metric(&address, "govbridge_publish_restarts_total") > restarts
    });
    broker.begin();
    running.all_arrives();

    // It stands still with its connections open: whether a frame came is not known until it goes on.
    let restarts = metric(&address, "govbridge_publish_restarts_total");
    broker.pause();
    running.application.as_ref().unwrap().goes_on(50);
    connector.until("a frame was not acknowledged in time", || {
        metric(&address, "govbridge_publish_restarts_total") > restarts
    });
    // The source keeps all that Kafka has not confirmed, and a connector that is killed then has it sent again.
    let kept = acknowledged(&running.stage);
    running.application.as_ref().unwrap().goes_on(100);
    assert_eq!(acknowledged(&running.stage), kept, "nothing is forgotten before it is acknowledged");
    connector.kill();
    broker.go_on();
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();

    // A row of five megabytes, in fragments.
    let (number, lines) = (900_000_001, running.stage.scene.rows("audit").len());
    let channel = pay_much(&running.stage, number);
    let scene = &running.stage.scene;
    let told = format!("\"payment_id\":{number},");
    let auditor = running.auditor.as_mut().unwrap();
    auditor.until("the large row is delivered", || {
        scene.rows("audit").iter().skip(lines).any(|line| line.contains(&told) && line.contains(&channel))
    });
    scene.application().execute("DELETE FROM payments WHERE payment_id = ?1", [number]).unwrap();

    let peaks = [connector.peak_kib(), running.auditor.as_ref().unwrap().peak_kib()];
    println!("connector and subscriber had at most {peaks:?} KiB");
    assert!(peaks.iter().all(|peak| *peak < PEAK_KIB_MAX), "{peaks:?} KiB");
    // Two changes are not the application's own count.
    let extra = 2;
    let written = running.application.take().unwrap().stop();
    let mut auditor = running.auditor.take().unwrap();
    running.stage.until_received("audit", &mut auditor, written.changes + extra);
    assert_eq!(connector.stop().0.code(), Some(0));
    assert_eq!(auditor.stop().0.code(), Some(0));
    running.stage.log_and_topic_agree("payments");
    // Every line once, in order, in whole transactions; and the table that they give is the source's.
    let received = crate::reckoning::Received::of(&running.stage.scene.rows("audit"));
    assert_eq!(received.changes, written.changes + extra, "every change once");
    assert_eq!(received.table, running.stage.source(), "the source's rows");
}
