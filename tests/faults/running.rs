//! A scene in the middle of its work: what a fault meets.

use std::time::Duration;

use crate::process::Process;
use crate::reckoning::{Application, PACE, Received, Stage, killed_by, refused};

/// The variable of the fault switch.
pub const FAULT: &str = "GOVBRIDGE_FAULT";

/// Every row is a batch: most transactions are open at any moment.
pub const SMALL_BATCHES: &[(&str, &str)] = &[("GOVBRIDGE__BATCH__ROWS_MAX", "1")];

/// The first number of a payment that no sample has.
pub const FIRST: i64 = 1_000_000;

/// Starts witnesses enough for a quorum, of those that count for tax's log.
pub fn quorum(stage: &Stage) -> Vec<Process> {
    ["audit", "education"].iter().map(|department| stage.scene.witness(department)).collect()
}

/// A scene that has sent its snapshot, with a quorum of witnesses, an auditor who has received it, and an application
/// that writes and goes on writing.
pub struct Running {
    pub stage: Stage,
    pub witnesses: Vec<Process>,
    pub auditor: Option<Process>,
    pub application: Option<Application>,
    /// Variables that every connector gets.
    environment: &'static [(&'static str, &'static str)],
}

impl Running {
    /// The connector is stopped, so that the test starts its own.
    pub fn after_the_snapshot(environment: &'static [(&'static str, &'static str)]) -> Running {
        Running::received_with("", environment, PACE)
    }

    /// The same, with lines at the head of the auditor's configuration, and an application that writes at this pace.
    pub fn received_with(
        subscriber: &str,
        environment: &'static [(&'static str, &'static str)],
        pace: Duration,
    ) -> Running {
        Running::on(Stage::new(&["payments"]), subscriber, environment, pace)
    }

    /// The same on a stage that the test has made, with the payments.
    pub fn on(
        stage: Stage,
        subscriber: &str,
        environment: &'static [(&'static str, &'static str)],
        pace: Duration,
    ) -> Running {
        let witnesses = quorum(&stage);
        let mut connector = stage.scene.connector();
        stage.scene.make_subscriber("audit", subscriber);
        connector.healthy();
        let mut auditor = stage.scene.subscriber("audit");
        auditor.until("the snapshot is delivered", || stage.scene.rows("audit").len() >= 3);
        assert_eq!(connector.stop().0.code(), Some(0));
        let application = Some(Application::begin(&stage.scene, FIRST, pace));
        Running { stage, witnesses, auditor: Some(auditor), application, environment }
    }

    /// A connector as the test has it.
    pub fn connector(&self) -> Process {
        self.stage.scene.connector_with(&[], self.environment)
    }

    /// A connector with a fault.
    pub fn connector_with(&self, fault: &str) -> Process {
        let environment = [self.environment, &[(FAULT, fault)]].concat();
        self.stage.scene.connector_with(&[], &environment)
    }

    /// A connector with a fault that kills it.
    pub fn kill_connector(&self, fault: &str) {
        killed_by(self.connector_with(fault), fault);
    }

    /// A connector with a fault that makes it end by itself.
    pub fn end_connector(&self, fault: &str, exit: i32, code: &str) {
        let said = refused(self.connector_with(fault), exit, code);
        let (name, _) = fault.split_once(':').unwrap();
        let fired = said.lines().any(|line| line.contains("the fault switch") && line.contains(name));
        assert!(fired, "{fault} did not fire:\n{said}");
    }

    /// Ends the auditor, who has said how far it is: after a kill the last rows in its file may not be in its progress.
    pub fn stop_auditor(&mut self) {
        assert_eq!(self.auditor.take().unwrap().stop().0.code(), Some(0));
    }

    /// Waits until the auditor has all changes that were written before this call.
    pub fn all_arrives(&mut self) {
        let changes = self.application.as_ref().unwrap().changes();
        self.stage.until_received("audit", self.auditor.as_mut().unwrap(), changes);
    }

    /// A connector that nothing happens to: what was written before arrives. Then it is killed, too.
    pub fn one_good_life(&mut self) {
        let mut connector = self.connector();
        connector.healthy();
        self.all_arrives();
        connector.kill();
    }

    /// The end of it all: a last life, a clean stop of everybody, and the reckoning.
    pub fn reckon(self) -> Received {
        let connector = self.connector();
        self.reckon_with(connector)
    }

    /// The same, when a connector runs.
    pub fn reckon_with(mut self, mut connector: Process) -> Received {
        connector.healthy();
        let written = self.application.take().unwrap().stop();
        let mut auditor = self.auditor.take().unwrap();
        self.stage.until_received("audit", &mut auditor, written.changes);
        let (status, took) = connector.stop();
        assert_eq!(status.code(), Some(0));
        assert!(took.as_secs() < 5, "{took:?}");
        assert_eq!(auditor.stop().0.code(), Some(0));
        for witness in self.witnesses.drain(..) {
            assert_eq!(witness.stop().0.code(), Some(0));
        }
        self.stage.log_and_topic_agree("payments");
        self.stage.receiver_has_the_source("audit", &written)
    }
}
