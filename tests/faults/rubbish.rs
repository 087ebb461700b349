//! Rubbish in the topic, and a stop in the middle of the work.

use std::time::{Duration, Instant};

use crate::process::{get, metric};
use crate::reckoning::has_page;
use crate::running::Running;

#[test]
fn rubbish_in_the_topic_is_dropped_with_a_code_by_readers_and_stops_nobody() {
    let mut running = Running::after_the_snapshot(&[]);
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    let stage = &running.stage;
    let batch = stage
        .records("govbridge.tax.payments")
        .into_iter()
        .find(|record| record.starts_with(b"GBB1"))
        .unwrap();
    let newest = stage
        .records("govbridge.tax.payments")
        .into_iter()
        .rfind(|record| record.starts_with(b"GBB1"))
        .unwrap();
    let flipped = |at: usize| {
        let mut copy = batch.clone();
        copy[at] ^= 1;
        copy
    };
    let key_record = stage.records("govbridge.keys").remove(0);
    let rubbish: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GBB1".to_vec(),
        b"{\"not\":\"a frame\"}".to_vec(),
        vec![0xff; 100_000],
        [b"GBB1".as_slice(), &[0xff; 64]].concat(),
        batch[..batch.len() - 1].to_vec(),
        [batch.as_slice(), b"x"].concat(),
        flipped(40),
        flipped(batch.len() - 10),
        key_record,
        // Whole batches once more: they come twice, and are delivered once.
        batch.clone(),
        newest,
    ];
    for record in &rubbish {
        stage.put("payments", record);
    }
    running.application.as_ref().unwrap().goes_on(30);
    running.all_arrives();
    let auditor = running.auditor.as_mut().unwrap();
    let address = auditor.address();
    auditor.until("all of it was noticed", || {
        metric(&address, "govbridge_verify_findings_total") >= rubbish.len() as u64
    });
    let (_, metrics) = get(&address, "/metrics").unwrap();
    let codes: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("govbridge_verify_findings_total{code=\"")?.split('"').next())
        .collect();
    assert!(codes.len() >= 6 && codes.contains(&"CHA010") && codes.contains(&"CHA011"), "{codes:?}");
    codes.iter().for_each(|code| has_page(code));
    // The next start reads over it, too.
    connector.kill();
    running.one_good_life();
    running.reckon();
}

#[test]
fn a_connector_under_load_drains_within_five_seconds_and_leaves_nothing_behind() {
    let mut running = Running::after_the_snapshot(&[]);
    for _ in 0..3 {
        let mut connector = running.connector();
        connector.healthy();
        running.application.as_ref().unwrap().goes_on(30);
        let (status, took) = connector.stop();
        assert_eq!(status.code(), Some(0));
        assert!(took.as_secs() < 5, "{took:?}");
        // A clean stop has handed over what it captured: the last beacon is under its own last checkpoint.
        running.stage.log_and_topic_agree("payments");
    }
    // The same while Kafka does not answer: what cannot be handed over is left for the next start.
    let mut connector = running.connector();
    connector.healthy();
    running.stage.cluster.as_ref().unwrap().delay(None, Duration::from_secs(10)).unwrap();
    running.application.as_ref().unwrap().goes_on(30);
    let begun = Instant::now();
    connector.terminate();
    let (status, said) = connector.end();
    assert!(begun.elapsed().as_secs() < 6, "{:?}", begun.elapsed());
    assert_eq!(status.code(), Some(0), "{said}");
    running.stage.cluster.as_ref().unwrap().delay(None, Duration::ZERO).unwrap();
    running.one_good_life();
    running.reckon();
}
