//! What somebody does to the topics while everything runs, or between two runs.

use crate::broker::Broker;
use crate::process::Process;
use crate::reckoning::{PACE, Stage, refused};
use crate::running::Running;

const TOPIC: &str = "govbridge.tax.payments";

fn scene(broker: &Broker) -> Running {
    let stage = Stage::on_kafka(&broker.plain(), &["payments"]);
    Running::on(stage, "", &[], PACE)
}

/// Whatever it is, it ends by itself with this code, whose page there is.
fn halts(process: Process, code: &str, words: &[&str]) {
    let said = refused(process, if code == "PUB020" { 2 } else { 1 }, code);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
}

#[test]
fn a_topic_that_is_changed_deleted_or_made_anew_halts_both_ends_by_name() {
    let broker = Broker::start("");
    let mut running = scene(&broker);
    // While it runs: each change is found, named with its command, and once it is taken back the path goes on.
    for (change, back, wanted) in [
        ("max.message.bytes=100000", "max.message.bytes=8454144", "max.message.bytes=8454144"),
        ("cleanup.policy=compact", "cleanup.policy=delete", "cleanup.policy=delete"),
        ("retention.ms=3600000", "retention.ms=-1", "retention.ms=-1"),
    ] {
        let mut connector = running.connector();
        connector.healthy();
        running.all_arrives();
        broker.set(TOPIC, change);
        halts(connector, "PUB020", &["kafka-configs.sh", wanted]);
        broker.set(TOPIC, back);
    }
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    // Deleted under both.
    broker.topic(TOPIC, &["--delete"]);
    halts(connector, "STA030", &[TOPIC]);
    halts(running.auditor.take().unwrap(), "DEL024", &["tax/payments/0"]);
    // Between two runs: neither takes nothing for an empty topic.
    halts(running.connector(), "STA030", &[TOPIC]);
    halts(running.stage.scene.subscriber("audit"), "DEL024", &["tax/payments/0"]);
    // Made anew by somebody: the same name, as planned, and empty.
    let settings = "cleanup.policy=delete,retention.ms=-1,max.message.bytes=8454144";
    let configs: Vec<&str> = settings.split(',').flat_map(|one| ["--config", one]).collect();
    broker.topic(
        TOPIC,
        &[&["--create", "--partitions", "1", "--replication-factor", "1"], &configs[..]].concat(),
    );
    halts(running.connector(), "STA006", &["was cut or recreated"]);
    halts(running.stage.scene.subscriber("audit"), "DEL022", &["CHA020"]);
}

#[test]
fn a_topic_that_is_cut_or_made_anew_under_both_halts_both_ends_by_name() {
    let broker = Broker::start("");
    let mut running = scene(&broker);
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    // What a reader has not read is cut away: it says so and goes nowhere else.
    running.auditor.take().unwrap().kill();
    running.application.as_ref().unwrap().goes_on(100);
    assert_eq!(connector.stop().0.code(), Some(0));
    broker.cut(TOPIC, -1);
    halts(running.stage.scene.subscriber("audit"), "DEL021", &["tax/payments/0"]);
    // The topic is kept for ever, so the connector's own place cannot have been removed by retention.
    halts(running.connector(), "STA006", &["was cut or recreated"]);
}
