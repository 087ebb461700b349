//! A department's tables: its database, the configuration of its subscriber, and what stands in them.

use std::time::{Duration, Instant};

use crate::process::{Binary, Process};
use crate::reckoning::Stage;
use crate::server::Server;

/// No step takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// A database on a server, and the department that receives into it.
pub struct Tables {
    pub department: &'static str,
    pub database: &'static str,
}

/// The payments' columns that both departments may read; a long one by its digest.
const SETTLEMENT: &str =
    "payment_id, taxpayer_no, paid_on, encode(sha256(convert_to(channel, 'UTF8')), 'hex')";

impl Tables {
    /// Makes the database, owned by the superuser.
    pub fn new(server: &Server, department: &'static str, database: &'static str) -> Tables {
        server.application("postgres").run(&format!("CREATE DATABASE {database}"));
        Tables { department, database }
    }

    /// Writes the subscriber's configuration; `more` are further lines of `[sink.postgres]`.
    pub fn configure(&self, stage: &Stage, server: &Server, user: &str, more: &str) {
        stage.scene.make_subscriber(self.department, "level = \"signed\"");
        let path = stage.scene.folder().join(self.department).join("subscriber.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let sink = format!(
            "[sink.postgres]\nport = {}\ndatabase = \"{}\"\nuser = \"{user}\"\n{more}",
            server.port(),
            self.database
        );
        let changed = text.replace("[sink]\njson_lines = \"rows.jsonl\"", &sink);
        assert_ne!(changed, text);
        std::fs::write(path, changed).unwrap();
    }

    /// `--create`, whatever comes of it.
    pub fn create(&self, stage: &Stage) -> Process {
        let words = ["subscriber", "--config", "subscriber.toml", "--create"];
        let folder = stage.scene.folder().join(self.department);
        Process::start(&Binary::beside_this(), "create", &folder, &words, &[])
    }

    pub fn created(&self, stage: &Stage) {
        let (status, said) = self.create(stage).end();
        assert_eq!(status.code(), Some(0), "{said}");
    }

    fn rows(&self, server: &Server) -> Vec<String> {
        let mut application = server.application(self.database);
        let sql =
            format!("SELECT concat_ws(' ', {SETTLEMENT}) FROM govbridge.tax__payments ORDER BY payment_id");
        application.run(&sql).into_iter().map(|row| row[0].clone().unwrap()).collect()
    }

    /// Waits until the table is what the source has.
    pub fn until_equal(&self, stage: &Stage, server: &Server, subscriber: &mut Process) {
        let deadline = Instant::now() + LIMIT;
        subscriber.until("the table equals the source", || {
            assert!(Instant::now() < deadline, "{} rows came", self.rows(server).len());
            self.rows(server) == source(stage)
        });
    }
}

/// The source's rows, as [`Tables::rows`] says them.
fn source(stage: &Stage) -> Vec<String> {
    let application = stage.scene.application();
    let sql = "SELECT payment_id || ' ' || taxpayer_no || ' ' || paid_on, channel FROM payments ORDER BY payment_id";
    let mut select = application.prepare(sql).unwrap();
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    rows.map(|row| {
        let (words, channel) = row.unwrap();
        format!("{words} {}", bridge_suite::sha256(&[channel.as_bytes()]))
    })
    .collect()
}
