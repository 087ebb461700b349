//! Accounts that lack a right: at the start, and taken from them while everything runs.

use std::time::Instant;

use crate::broker::{Broker, PASSWORD, PATIENCE};
use crate::process::Process;
use crate::reckoning::{PACE, Stage, refused};
use crate::running::Running;

/// Everything of govbridge that stands in Kafka.
const OURS: [&str; 4] = ["--resource-pattern-type", "prefixed", "--topic", "govbridge."];

/// A scene on which both ends log in as a user who may do what ACLs give him.
struct Restricted {
    broker: Broker,
    running: Running,
    login: Vec<(&'static str, String)>,
}

impl Restricted {
    fn new() -> Restricted {
        let broker = Broker::start("");
        let stage = Stage::on_kafka(&broker.plain(), &["payments"]);
        // The topics, the snapshot and the auditor's progress are made by somebody who may do everything.
        let mut running = Running::on(stage, "", &[], PACE);
        assert_eq!(running.auditor.take().unwrap().stop().0.code(), Some(0));
        let login = vec![
            ("GOVBRIDGE__KAFKA__BOOTSTRAP_SERVERS", broker.sasl()),
            ("GOVBRIDGE__KAFKA__SECURITY_PROTOCOL", "sasl_plaintext".to_owned()),
            ("GOVBRIDGE__KAFKA__SASL_MECHANISM", "SCRAM-SHA-512".to_owned()),
            ("GOVBRIDGE__KAFKA__SASL_USERNAME", "stranger".to_owned()),
            ("GOVBRIDGE__KAFKA__SASL_PASSWORD", PASSWORD.to_owned()),
        ];
        Restricted { broker, running, login }
    }

    fn login(&self) -> Vec<(&str, &str)> {
        self.login.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn connector(&self) -> Process {
        self.running.stage.scene.connector_with(&[], &self.login())
    }

    fn auditor(&self) -> Process {
        self.running.stage.scene.subscriber_with("audit", &self.login())
    }

    /// Gives a right, and waits until the broker goes by it.
    fn allow(&self, operation: &str) {
        self.broker.allow("stranger", &[&["--operation", operation][..], &OURS].concat());
        let (wanted, deadline) =
            (format!("operation={}", operation.to_uppercase()), Instant::now() + PATIENCE);
        while !self.broker.rights().contains(&wanted) {
            assert!(Instant::now() < deadline, "the broker does not take {wanted}");
        }
    }

    fn withdraw(&self, operation: &str) {
        self.broker.withdraw("stranger", &[&["--operation", operation][..], &OURS].concat());
    }
}

/// It ends by itself with this code, the topic's name and the command that mends it.
fn may_not(process: Process, code: &str, topic: &str) {
    let said = refused(process, 2, code);
    let told = said
        .lines()
        .any(|line| line.contains(code) && line.contains(topic) && line.contains("kafka-acls.sh"));
    assert!(told, "{code} does not say {topic} and what to do:\n{said}");
    assert!(!said.contains(PASSWORD), "the password is told");
}

#[test]
fn whoever_may_not_write_or_read_halts_by_name_and_goes_on_once_he_may() {
    let mut scene = Restricted::new();
    // No right at all: a topic that is hidden is not taken for one that was deleted.
    let (connector, auditor) = (scene.connector(), scene.auditor());
    may_not(connector, "FET004", "govbridge.");
    may_not(auditor, "FET004", "govbridge.");
    // Who may write nowhere does not become a producer at all.
    scene.allow("Read");
    may_not(scene.connector(), "PUB006", "govbridge.");
    scene.allow("Write");
    let mut connector = scene.connector();
    connector.healthy();
    scene.running.auditor = Some(scene.auditor());
    scene.running.all_arrives();
    // Taken from a reader while it reads, and from a connector while it writes.
    scene.withdraw("Read");
    may_not(scene.running.auditor.take().unwrap(), "FET004", "govbridge.");
    assert_eq!(connector.stop().0.code(), Some(0));
    may_not(scene.connector(), "FET004", "govbridge.tax.payments");
    scene.allow("Read");
    let mut connector = scene.connector();
    connector.healthy();
    scene.withdraw("Write");
    may_not(connector, "PUB006", "govbridge.");
    // Nothing was lost by any of it.
    scene.allow("Write");
    let connector = scene.connector();
    scene.running.auditor = Some(scene.auditor());
    scene.running.reckon_with(connector);
}
