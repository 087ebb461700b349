//! The receiving side with a PostgreSQL sink: kill -9 between each pair of stages, and the tables equal the source at the end.

use std::time::{Duration, Instant};

use crate::application;
use crate::process::{Binary, Process};
use crate::reckoning::{Application, Stage, killed_by, refused};
use crate::running::{FAULT, FIRST, SMALL_BATCHES, quorum};

/// Each point of the flow: rows are in no transaction before `before-fsync`, in an open one from then to
/// `before-progress`, and counted from `after-progress`.
const POINTS: [&str; 10] = [
    "after-fetch:1",
    "after-verify:20",
    "after-open:2",
    "before-fsync:1",
    "before-fsync:3",
    "after-fsync:1",
    "after-fsync:4",
    "before-progress:2",
    "after-progress:1",
    "after-progress:4",
];

/// No step takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// A database of the auditor; it ends with this.
pub struct Received {
    name: String,
    port: u16,
}

impl Received {
    /// One on the server at this port.
    pub fn on(port: u16, word: &str) -> Received {
        let name = format!("{word}_{}", std::process::id());
        application::Application::connect(port, "postgres").run(&format!("CREATE DATABASE {name}"));
        Received { name, port }
    }

    pub fn try_application(&self) -> Result<application::Application, String> {
        application::Application::try_connect(self.port, &self.name)
    }

    /// Gives the subscriber of this folder this sink in the place of its file.
    pub fn configure(&self, stage: &Stage, folder: &str) {
        let path = stage.scene.folder().join(folder).join("subscriber.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let sink = format!(
            "[sink.postgres]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{}\"\nuser = \"postgres\"",
            self.port, self.name
        );
        let changed = text.replace("[sink]\njson_lines = \"rows.jsonl\"", &sink);
        assert_ne!(changed, text);
        std::fs::write(path, changed).unwrap();
    }

    /// Makes the sink's tables.
    pub fn create(stage: &Stage, folder: &str) {
        let words = ["subscriber", "--config", "subscriber.toml", "--create"];
        let folder = stage.scene.folder().join(folder);
        let (status, said) = Process::start(&Binary::beside_this(), "create", &folder, &words, &[]).end();
        assert_eq!(status.code(), Some(0), "{said}");
    }

    fn rows(&self) -> Vec<String> {
        let mut application = self.try_application().unwrap();
        let sql = "SELECT concat_ws(' ', payment_id, taxpayer_no, paid_on, amount) FROM govbridge.tax__payments ORDER BY payment_id";
        application.run(sql).into_iter().map(|row| row[0].clone().unwrap()).collect()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let name = &self.name;
        if let Ok(mut application) = application::Application::try_connect(self.port, "postgres") {
            let _ = application.attempt(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn source(stage: &Stage) -> Vec<String> {
    let connection = stage.scene.application();
    let sql = "SELECT payment_id || ' ' || taxpayer_no || ' ' || paid_on || ' ' || amount FROM payments ORDER BY payment_id";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn until_equal(stage: &Stage, received: &Received, subscriber: &mut Process) {
    let deadline = Instant::now() + LIMIT;
    subscriber.until("the table equals the source", || {
        assert!(Instant::now() < deadline, "{} rows came", received.rows().len());
        received.rows() == source(stage)
    });
}

fn killed_at_each_point(mode: &str) {
    let stage = Stage::new(&["payments"]);
    let received = Received::on(application::port(), &format!("tables_{mode}"));
    let _witnesses = quorum(&stage);
    let mut connector = stage.scene.connector_with(&[], SMALL_BATCHES);
    connector.healthy();
    stage.scene.make_subscriber("audit", &format!("mode = \"{mode}\""));
    received.configure(&stage, "audit");
    refused(stage.scene.subscriber("audit"), 2, "DEL032");
    Received::create(&stage, "audit");
    let mut auditor = stage.scene.subscriber("audit");
    until_equal(&stage, &received, &mut auditor);
    let application = Application::begin(&stage.scene, FIRST, Duration::from_millis(50));
    // Two cannot deliver into one schema.
    let own = stage.scene.folder().join("audit/subscriber.toml");
    let text = std::fs::read_to_string(&own).unwrap();
    std::fs::write(&own, text.replace("progress = \"progress\"", "progress = \"second\"")).unwrap();
    refused(stage.scene.subscriber("audit"), 3, "DEL034");
    std::fs::write(&own, text).unwrap();
    auditor.kill();
    for point in POINTS {
        killed_by(stage.scene.subscriber_with("audit", &[(FAULT, point)]), point);
    }
    application.stop();
    let mut auditor = stage.scene.subscriber("audit");
    until_equal(&stage, &received, &mut auditor);
    assert_eq!(auditor.stop().0.code(), Some(0));
    assert_eq!(connector.stop().0.code(), Some(0));
}

#[test]
fn tables_equal_the_source_after_a_subscriber_was_killed_between_any_two_stages() {
    killed_at_each_point("stream");
}

#[test]
fn tables_equal_the_source_in_mode_source_too() {
    killed_at_each_point("source");
}
