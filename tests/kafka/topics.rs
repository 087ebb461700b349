//! What somebody does to the topics while everything runs, or between two runs.

use std::time::{Duration, Instant};

use crate::broker::{Broker, PATIENCE};
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

/// Made anew by somebody: the same name, as planned, and empty.
fn make(broker: &Broker) {
    let settings = "cleanup.policy=delete,retention.ms=-1,max.message.bytes=8454144";
    let configs: Vec<&str> = settings.split(',').flat_map(|one| ["--config", one]).collect();
    broker.topic(
        TOPIC,
        &[&["--create", "--partitions", "1", "--replication-factor", "1"], &configs[..]].concat(),
    );
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
    make(&broker);
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
    running.stop_auditor();
    running.application.as_ref().unwrap().goes_on(100);
    assert_eq!(connector.stop().0.code(), Some(0));
    broker.cut(TOPIC, -1);
    halts(running.stage.scene.subscriber("audit"), "DEL021", &["tax/payments/0"]);
    // The topic is kept for ever, so the connector's own place cannot have been removed by retention.
    halts(running.connector(), "STA006", &["was cut or recreated"]);
}

#[test]
fn a_topic_that_is_cut_or_made_anew_under_processes_that_stand_still_halts_them_when_they_go_on() {
    let broker = Broker::start("");
    let mut running = scene(&broker);
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    // Cut before a reader that is behind.
    running.stage.scene.make_subscriber("social-security", "");
    let mut behind = running.stage.scene.subscriber("social-security");
    behind.healthy();
    behind.pause();
    running.application.as_ref().unwrap().goes_on(100);
    running.all_arrives();
    broker.cut(TOPIC, -1);
    behind.go_on();
    halts(behind, "FET001", &[TOPIC]);
    // Whoever is not behind goes on.
    running.application.as_ref().unwrap().goes_on(50);
    running.all_arrives();
    // Made anew, and neither has seen the topic missing.
    let auditor = running.auditor.take().unwrap();
    auditor.pause();
    connector.pause();
    broker.topic(TOPIC, &["--delete"]);
    make(&broker);
    connector.go_on();
    halts(connector, "STA006", &["was cut or recreated"]);
    auditor.go_on();
    let (status, said) = auditor.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("FET001") || said.contains("CHA020"), "{said}");
    assert!(said.contains("made anew"), "{said}");
}

/// Lets Kafka compact a topic until it has fewer records, and makes it a topic as planned again.
fn compact(broker: &Broker, stage: &Stage, topic: &str) {
    let before = stage.records(topic).len();
    broker.set(topic, "cleanup.policy=compact,segment.ms=100,min.cleanable.dirty.ratio=0.001,max.compaction.lag.ms=100,delete.retention.ms=0");
    let deadline = Instant::now() + PATIENCE;
    let mut added = 0;
    // What is written last stands in a segment that is not touched: each record may begin the next one.
    while stage.records(topic).len() >= before + added {
        assert!(Instant::now() < deadline, "the topic is not compacted");
        stage.put_into(topic, b"anything");
        added += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    broker.set(topic, "cleanup.policy=delete");
}

#[test]
fn a_topic_that_was_compacted_misses_what_no_reader_takes_for_whole() {
    let broker = Broker::start("");
    let mut running = scene(&broker);
    running.stop_auditor();
    // Each life leaves a fence under the same name; the newest one is all that compaction keeps.
    for _ in 0..3 {
        let mut connector = running.connector();
        connector.healthy();
        running.application.as_ref().unwrap().goes_on(20);
        assert_eq!(connector.stop().0.code(), Some(0));
    }
    compact(&broker, &running.stage, TOPIC);
    let mut connector = running.connector();
    connector.healthy();
    halts(running.stage.scene.subscriber("audit"), "DEL022", &["tax/payments/0", "CHA"]);
    drop(connector);
}

#[test]
fn a_limit_that_nobody_watched_and_topics_of_records_that_are_deleted_halt_by_name() {
    let broker = Broker::start("");
    let mut running = scene(&broker);
    // Unwatched, the broker's own refusal is what tells.
    broker.set(TOPIC, "max.message.bytes=1000");
    let unwatched = [("GOVBRIDGE__TOPICS__CHECK", "false")];
    let connector = running.stage.scene.connector_with(&[], &unwatched);
    let said = refused(connector, 2, "PUB003");
    assert!(said.contains("max.message.bytes to 8454144"), "{said}");
    broker.set(TOPIC, "max.message.bytes=8454144");
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    // Nobody reads keys while no new ones come: their topic is missed all the same.
    broker.topic("govbridge.keys", &["--delete"]);
    halts(connector, "STA030", &["govbridge.keys"]);
    halts(running.auditor.take().unwrap(), "DEL024", &["govbridge.keys"]);
    halts(running.connector(), "STA030", &["govbridge.keys"]);
    halts(running.stage.scene.subscriber("audit"), "DEL024", &["govbridge.keys"]);
}

/// Ends the broker, and takes a third of what it has of the topic from its disk, as a machine that lost what it had
/// acknowledged.
fn lose_the_tail(broker: &mut Broker) {
    broker.kill();
    let folder = broker.path("data").join(format!("{TOPIC}-0"));
    let log = folder.join("00000000000000000000.log");
    let length = log.metadata().unwrap().len();
    let file = std::fs::File::options().write(true).open(&log).unwrap();
    file.set_len(length * 2 / 3).unwrap();
    for name in ["recovery-point-offset-checkpoint", ".kafka_cleanshutdown"] {
        let _ = std::fs::remove_file(broker.path("data").join(name));
    }
    broker.begin();
}

#[test]
fn a_broker_that_lost_what_it_had_acknowledged_halts_both_ends_and_nothing_takes_its_place() {
    let mut broker = Broker::start("");
    let mut running = scene(&broker);
    let mut connector = running.connector();
    connector.healthy();
    running.application.as_ref().unwrap().goes_on(100);
    running.all_arrives();
    assert_eq!(connector.stop().0.code(), Some(0));
    let auditor = running.auditor.take().unwrap();
    lose_the_tail(&mut broker);
    halts(auditor, "FET001", &[TOPIC]);
    halts(running.connector(), "STA006", &["was cut or recreated"]);
    halts(running.stage.scene.subscriber("audit"), "DEL022", &["CHA020"]);
}
