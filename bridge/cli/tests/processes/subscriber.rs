//! The real binary as a subscriber: the whole path, with every process of it.

use super::scene;
use crate::process::{DEPARTMENTS, get, metric};
use std::collections::BTreeSet;

/// The keys of delivered payments, in the order of delivery.
fn keys(rows: &[String]) -> Vec<i64> {
    let key = |line: &String| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["after"]["payment_id"].as_i64()
    };
    rows.iter().filter_map(key).collect()
}

#[test]
fn rows_arrive_once_witnessed_also_when_the_subscriber_is_killed() {
    let (scene, _cluster) = scene(&["payments"]);
    let witnesses: Vec<_> = DEPARTMENTS.iter().map(|department| scene.witness(department)).collect();
    let mut connector = scene.connector();
    let sender = connector.healthy();
    scene.make_subscriber("audit", "");

    let subscriber = scene.subscriber_with("audit", &[("GOVBRIDGE_FAULT", "after-fsync:1")]);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&subscriber.wait()), Some(9));
    let mut subscriber = scene.subscriber("audit");
    let address = subscriber.address();
    let sample = 3;
    subscriber.until("the sample rows are delivered", || keys(&scene.rows("audit")).len() >= sample);
    scene.pay(100_000..100_100);
    subscriber.until("the new rows are delivered", || keys(&scene.rows("audit")).len() >= sample + 100);
    subscriber.until("it is healthy", || get(&address, "/health").is_some_and(|(status, _)| status == 200));
    assert!(metric(&address, "govbridge_deliver_rows_total") >= 100);

    let second = scene.try_run(&["subscriber", "--config", "audit/subscriber.toml"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains("docs/errors/DEL010.md"), "{said}");

    let (status, took) = subscriber.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    let rows = scene.rows("audit");
    let delivered = keys(&rows);
    assert_eq!(delivered.len(), sample + 100, "each row once");
    assert_eq!(delivered.iter().collect::<BTreeSet<_>>().len(), delivered.len());
    for row in rows.iter().filter(|line| line.starts_with("{\"op\"")) {
        assert!(row.contains("\"level\":\"witnessed\""), "{row}");
    }
    assert!(metric(&sender, "govbridge_append_quorum") == 1);

    // The check reads all of it again, from the beginning, and finds nothing.
    let json = scene.run(&["subscriber", "--config", "audit/subscriber.toml", "--check", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((report["clean"].as_bool(), report["rows"].as_u64()), (Some(true), Some(103)), "{json}");
    let words = scene.run(&["subscriber", "--config", "audit/subscriber.toml", "--check"]);
    assert!(words.contains("clean: every batch verifies"), "{words}");
    assert_eq!(connector.stop().0.code(), Some(0));
    drop(witnesses);
}

#[test]
fn a_check_with_a_finding_ends_with_one_and_names_its_page() {
    let (scene, cluster) = scene(&["payments"]);
    let mut connector = scene.connector();
    connector.healthy();
    assert_eq!(connector.stop().0.code(), Some(0));
    scene.make_subscriber("audit", "level = \"logged\"");
    // Somebody without a key writes into the topic.
    let properties = bridge_kafka::Properties::of_brokers(cluster.bootstrap()).unwrap();
    let mut stranger = bridge_kafka::Publisher::new(&properties).unwrap();
    let topic = "govbridge.tax.payments";
    stranger.publish(topic, bridge_event::Partition(0), "", b"GBB1 and then rubbish", 0).unwrap();
    let mut stored = false;
    stranger.poll(crate::process::PATIENCE, &mut |delivery| stored = delivery.result.is_ok());
    assert!(stored);
    let done = scene.try_run(&["subscriber", "--config", "audit/subscriber.toml", "--check"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("dropped VER") && said.contains("not clean; see docs/errors/VER"), "{said}");
}
