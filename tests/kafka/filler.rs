//! A start on a topic that is full of other people's records.

use std::time::{Duration, Instant};

use bridge_event::Partition;
use bridge_kafka::{Properties, PublishError, Publisher};
use serde_json::Value;

use crate::broker::Broker;
use crate::process::Process;
use crate::reckoning::Stage;
use crate::running::quorum;

const TOPIC: &str = "govbridge.tax.payments";
/// Records after the last beacon, and before the first.
const FILLER: (u64, u64) = (1_000_000, 200_000);

/// Small records that are no frames, as anybody with access to the broker can put them there.
fn fill(bootstrap: &str, count: u64) {
    let properties = Properties::of_brokers(bootstrap).unwrap().with("linger.ms", "5").unwrap();
    let mut publisher = Publisher::new(&properties).unwrap();
    let (mut sent, mut delivered) = (0, 0);
    while delivered < count {
        let full = sent == count
            || match publisher.publish(TOPIC, Partition(0), "", b"filler", sent) {
                Ok(()) => {
                    sent += 1;
                    false
                }
                Err(PublishError::QueueFull) => true,
                Err(error) => panic!("{error}"),
            };
        if full {
            publisher.poll(Duration::from_millis(10), &mut |delivery| {
                delivery.result.unwrap();
                delivered += 1;
            });
        }
    }
}

/// What the last start says that it read, and how many milliseconds it took.
fn started(connector: &Process) -> (u64, Value) {
    let said = connector.said();
    let line = said.lines().rfind(|line| line.contains("\"started\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    (line["records"].as_u64().unwrap(), line["took_ms"].clone())
}

#[test]
fn a_start_finds_its_place_among_a_million_small_records_without_reading_them_thrice() {
    let broker = Broker::start("");
    let stage = Stage::on_kafka(&broker.plain(), &["payments"]);
    let _witnesses = quorum(&stage);
    let mut connector = stage.scene.connector();
    connector.healthy();
    assert_eq!(connector.stop().0.code(), Some(0));
    fill(&broker.plain(), FILLER.1);
    let mut connector = stage.scene.connector();
    connector.healthy();
    assert_eq!(connector.stop().0.code(), Some(0));
    fill(&broker.plain(), FILLER.0);
    // Without the log's own memory of a place the beacon's has to do.
    std::fs::remove_file(stage.scene.tax().join("log/heads")).unwrap();
    let mut connector = stage.scene.connector();
    connector.healthy();
    let (records, took_ms) = started(&connector);
    println!("a start read {records} records in {took_ms} ms");
    // Backwards to the beacon, in windows of which the last may be as long as all before it, and forwards once.
    assert!(records > FILLER.0 && records <= 3 * FILLER.0, "{records} records were read");
    // A reader that begins now, at the newest beacon.
    stage.scene.make_subscriber("audit", "start = \"latest\"");
    let begun = Instant::now();
    let mut auditor = stage.scene.subscriber("audit");
    auditor.healthy();
    println!("a subscriber was healthy after {} ms", begun.elapsed().as_millis());
}
