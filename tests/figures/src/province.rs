//! Keys, trust file, contracts and configurations of a run, made by the binary as an operator would.
//!
//! ```text
//! <folder>/
//!   keys/*.key  trust-1.note
//!   tax-<line>/    connector.toml  contract/  log/        a connector, a log and a dataset for each measured line
//!   audit-<line>/  subscriber.toml  rows.jsonl  progress/
//!   witness-<d>/   witness.toml  state/
//! ```

use crate::files::put;
use crate::process::{PATIENCE, Process, fetch, metric, run};
use anyhow::{Context, Result, bail};
use deploy_ports::Port;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Who receives: `audit` opens both sections, `social-security` one. Both witness.
const RECEIVERS: [&str; 2] = ["social-security", "audit"];

/// Column, Avro type, section.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("person_id", r#""string""#, "person"),
    ("name", r#""string""#, "person"),
    ("region", r#""int""#, "person"),
    ("amount", r#"{"type": "string", "logicalType": "govbridge.decimal"}"#, "payment"),
    ("status", r#""string""#, "payment"),
    ("updated_at", r#"{"type": "long", "logicalType": "timestamp-micros"}"#, "payment"),
    ("note", r#""string""#, "payment"),
];

/// The section's name, who may open it.
const SECTIONS: [(&str, &[&str]); 2] = [("person", &["social-security", "audit"]), ("payment", &["audit"])];

/// Where a subscriber delivers.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// JSON lines.
    Lines,
    /// Tables of a PostgreSQL database.
    Tables { database: String },
}

/// A line of the report that a connector of its own stands for.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What the report calls it.
    pub(crate) kind: &'static str,
    /// The same with the round: a-z, 0-9 and `-`.
    pub(crate) name: String,
    /// The source's database.
    pub(crate) database: String,
}

impl Line {
    pub(crate) fn new(kind: &'static str, round: u32, database: &str) -> Line {
        Line { kind, name: format!("{kind}-{round}"), database: database.to_owned() }
    }

    pub(crate) fn dataset(&self) -> String {
        format!("bench-{}", self.name)
    }

    pub(crate) fn topic(&self) -> String {
        format!("govbridge.tax.{}", self.dataset())
    }

    /// Slot and publication.
    pub(crate) fn slot(&self) -> String {
        format!("govbridge_{}", self.name.replace('-', "_"))
    }

    fn origin(&self) -> String {
        format!("gov.example/tax/{}", self.name)
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Province {
    folder: PathBuf,
    binary: PathBuf,
    bootstrap: String,
    postgres: u16,
    pin: String,
    connector_port: Port,
    subscriber_port: Port,
    witness_ports: Vec<Port>,
}

impl Province {
    /// Makes keys and trust for these lines.
    pub(crate) fn make(
        folder: &Path,
        binary: &Path,
        bootstrap: &str,
        postgres: u16,
        lines: &[Line],
    ) -> Result<Province> {
        let mut province = Province {
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            bootstrap: bootstrap.to_owned(),
            postgres,
            pin: String::new(),
            connector_port: Port::reserve()?,
            subscriber_port: Port::reserve()?,
            witness_ports: vec![Port::reserve()?, Port::reserve()?],
        };
        std::fs::create_dir_all(folder.join("keys"))?;
        province.make_trust(lines)?;
        for (department, port) in RECEIVERS.iter().zip(&province.witness_ports) {
            province.make_witness(department, port.number())?;
        }
        for line in lines {
            province.make_contract(line)?;
        }
        Ok(province)
    }

    fn govbridge(&self, words: &[&str]) -> Result<String> {
        run(Command::new(&self.binary).args(words).current_dir(&self.folder))
    }

    fn keygen(&self, role: &str, name: &str, file: &str) -> Result<String> {
        let out = format!("keys/{file}.key");
        Ok(self.govbridge(&["keygen", "--role", role, "--name", name, "--out", &out])?.trim().to_owned())
    }

    fn trust(&self, words: &[&str]) -> Result<()> {
        self.govbridge(&[&["trust", "add", "trust-1.note"], words].concat()).map(drop)
    }

    #[rustfmt::skip]
    fn make_trust(&mut self, lines: &[Line]) -> Result<()> {
        let root = self.keygen("root", "gov.example/root/li", "root")?;
        self.govbridge(&["trust", "init", "trust-1.note", "--domain", "gov.example", "--threshold", "1", "--root", &root])?;
        for department in ["tax"].iter().chain(&RECEIVERS) {
            self.trust(&["department", "--name", department, "--title", department])?;
            let recipient = self.keygen("recipient", department, &format!("{department}-recipient"))?;
            self.trust(&["recipient", "--department", department, "--key", &recipient])?;
        }
        let url = format!("http://127.0.0.1:{}", self.connector_port.number());
        for line in lines {
            let (name, origin) = (&line.name, line.origin());
            let signing = self.keygen("signing", "tax", &format!("{name}-signing"))?;
            self.trust(&["signing", "--department", "tax", "--origin", &origin, "--key", &signing])?;
            let log = self.keygen("log", &origin, &format!("{name}-log"))?;
            self.trust(&["log", "--department", "tax", "--origin", &origin, "--vkey", &log, "--url", &url])?;
        }
        for (department, port) in RECEIVERS.iter().zip(&self.witness_ports) {
            let name = format!("gov.example/{department}/witness");
            let vkey = self.keygen("witness", &name, &format!("{department}-witness"))?;
            let url = format!("http://127.0.0.1:{}", port.number());
            self.trust(&["witness", "--department", department, "--name", &name, "--vkey", &vkey, "--url", &url, "--checking"])?;
        }
        self.trust(&["policy", "--quorum", "2", "--liars", "0"])?;
        self.pin = self.govbridge(&["trust", "sign", "trust-1.note", "--key", "keys/root.key"])?.trim().to_owned();
        Ok(())
    }

    fn trust_and_kafka(&self) -> String {
        format!(
            "[trust]\nfile = \"../trust-1.note\"\npin = \"{}\"\nstate = \"trust.seen\"\n[kafka]\n\"bootstrap.servers\" = \"{}\"\n",
            self.pin, self.bootstrap
        )
    }

    fn make_witness(&self, department: &str, port: u16) -> Result<()> {
        let text = format!(
            "name = \"gov.example/{department}/witness\"\ndirectory = \"state\"\nchecking = true\n\
             [keys]\nwitness = \"../keys/{department}-witness.key\"\n\
             [trust]\nfile = \"../trust-1.note\"\npin = \"{}\"\nstate = \"trust.seen\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n",
            self.pin
        );
        let config = format!("witness-{department}/witness.toml");
        put(&self.folder.join(&config), &text)?;
        self.govbridge(&["witness", "init", "--config", &config]).map(drop)
    }

    fn make_contract(&self, line: &Line) -> Result<()> {
        let folder = self.folder.join(format!("tax-{}/contract", line.name));
        let mut text = format!(
            "govbridge_contract = 1\ndepartment = \"tax\"\ndataset = \"{}\"\nrevision = 1\ntitle = \"基准测试\"\norigin = \"{}\"\n\
             partitions = 1\nsuite = \"international\"\n[source]\ntable = \"bench\"\nkey = [\"id\"]\n[keys]\nrenew_hours = 24\n\
             renew_rows = 1_000_000\n",
            line.dataset(),
            line.origin()
        );
        for (section, _) in SECTIONS {
            text += &format!(
                "[[section]]\nname = \"{section}\"\ntitle = \"{section}\"\nschema = \"{section}.avsc\"\ncompression = \"zstd\"\n"
            );
        }
        text += "[[column]]\nname = \"id\"\ntitle = \"id\"\nclass = \"general\"\n";
        for (name, _, section) in COLUMNS {
            text += &format!(
                "[[column]]\nname = \"{name}\"\ntitle = \"{name}\"\nclass = \"general\"\nsection = \"{section}\"\n"
            );
        }
        for (section, recipients) in SECTIONS {
            for recipient in recipients {
                text += &format!(
                    "[[grant]]\nsection = \"{section}\"\nrecipient = \"{recipient}\"\npurpose = \"基准测试\"\n\
                     legal_basis = \"An invented law, article 1\"\nstart = 2025-01-01T00:00:00+08:00\n"
                );
            }
            let columns = COLUMNS.iter().filter(|column| column.2 == section);
            let fields: String = columns
                .map(|(name, kind, _)| format!(", {{\"name\": \"{name}\", \"type\": {kind}}}"))
                .collect();
            let schema = format!(
                "{{\"type\": \"record\", \"name\": \"{section}\", \"fields\": [{{\"name\": \"id\", \"type\": \"long\"}}{fields}]}}"
            );
            put(&folder.join(format!("{section}.avsc")), &schema)?;
        }
        put(&folder.join("contract.toml"), &text)
    }

    /// Configures a line's connector, makes its slot and its log, and lets it run once over the empty table, so that its
    /// streams have begun before the first row is written.
    pub(crate) fn begin(&self, line: &Line) -> Result<()> {
        let (name, slot) = (&line.name, line.slot());
        let text = format!(
            "department = \"tax\"\norigin = \"{}\"\ncontracts = [\"contract\"]\n[source]\nengine = \"postgres\"\nhost = \"127.0.0.1\"\n\
             port = {}\ndatabase = \"{}\"\nuser = \"postgres\"\npublication = \"{slot}\"\nslot = \"{slot}\"\n{}[log]\ndirectory = \"log\"\n\
             [keys]\nsigning = \"../keys/{name}-signing.key\"\nlog = \"../keys/{name}-log.key\"\n[http]\nlisten = \"127.0.0.1:{}\"\n\
             [topics]\nreplication = 1\n",
            line.origin(),
            self.postgres,
            line.database,
            self.trust_and_kafka(),
            self.connector_port.number()
        );
        let config = format!("tax-{name}/connector.toml");
        put(&self.folder.join(&config), &text)?;
        self.govbridge(&["connector", "--config", &config, "--create"])?;
        let (directory, key) = (format!("tax-{name}/log"), format!("keys/{name}-log.key"));
        self.govbridge(&[
            "log",
            "init",
            "--directory",
            &directory,
            "--origin",
            &line.origin(),
            "--key",
            &key,
        ])?;
        let witnesses = self.witnesses()?;
        let mut connector = self.connector(line)?;
        connector.until("its streams have begun", Duration::from_millis(10), || {
            let text = self.connector_metrics();
            let appended = metric(&text, "govbridge_append_batches_total");
            Ok((appended == 0).then_some(0))
        })?;
        connector.stop()?;
        witnesses.into_iter().try_for_each(Process::stop)
    }

    /// Configures a line's subscriber: `head` are lines like `mode = "stream"`.
    pub(crate) fn subscribe(&self, line: &Line, head: &str, sink: &Sink) -> Result<PathBuf> {
        let folder = self.folder.join(format!("audit-{}", line.name));
        let sink = match sink {
            Sink::Lines => "[sink]\njson_lines = \"rows.jsonl\"\n".to_owned(),
            Sink::Tables { database } => format!(
                "[sink.postgres]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{database}\"\nuser = \"postgres\"\n",
                self.postgres
            ),
        };
        let text = format!(
            "department = \"audit\"\nname = \"main\"\nprogress = \"progress\"\n{head}[[dataset]]\ndepartment = \"tax\"\ndataset = \"{}\"\n\
             {sink}[keys]\nrecipient = [\"../keys/audit-recipient.key\"]\n{}[http]\nlisten = \"127.0.0.1:{}\"\n",
            line.dataset(),
            self.trust_and_kafka(),
            self.subscriber_port.number()
        );
        put(&folder.join("subscriber.toml"), &text)?;
        if sink.starts_with("[sink.postgres]") {
            let config = format!("audit-{}/subscriber.toml", line.name);
            self.govbridge(&["subscriber", "--config", &config, "--create"])?;
        }
        Ok(folder.join("rows.jsonl"))
    }

    fn start(&self, name: &str, folder: &str, words: &[&str]) -> Result<Process> {
        Process::start(name, &self.folder.join(folder), Command::new(&self.binary).args(words))
    }

    /// Starts the witnesses and waits until they listen.
    pub(crate) fn witnesses(&self) -> Result<Vec<Process>> {
        let mut witnesses = Vec::new();
        for (department, port) in RECEIVERS.iter().zip(&self.witness_ports) {
            let name = format!("witness-{department}");
            let mut witness = self.start(&name, &name, &["witness", "--config", "witness.toml"])?;
            healthy(&mut witness, port.number())?;
            witnesses.push(witness);
        }
        Ok(witnesses)
    }

    /// Starts a line's connector.
    pub(crate) fn connector(&self, line: &Line) -> Result<Process> {
        let folder = format!("tax-{}", line.name);
        self.start("connector", &folder, &["connector", "--config", "connector.toml"])
    }

    /// Starts a line's subscriber and waits until it listens.
    pub(crate) fn subscriber(&self, line: &Line) -> Result<Process> {
        let folder = format!("audit-{}", line.name);
        let mut subscriber =
            self.start("subscriber", &folder, &["subscriber", "--config", "subscriber.toml"])?;
        subscriber.until("it serves its metrics", Duration::from_millis(10), || {
            Ok(fetch(self.subscriber_port.number(), "/metrics").is_none().then_some(0))
        })?;
        Ok(subscriber)
    }

    /// What the connector's `/metrics` says; nothing while it does not answer.
    pub(crate) fn connector_metrics(&self) -> String {
        fetch(self.connector_port.number(), "/metrics").unwrap_or_default()
    }

    /// What the subscriber's `/metrics` says; nothing while it does not answer.
    pub(crate) fn subscriber_metrics(&self) -> String {
        fetch(self.subscriber_port.number(), "/metrics").unwrap_or_default()
    }

    /// Verifies all that a line's topic holds, with its connector serving the log; gives the rows that could be opened.
    pub(crate) fn verify(&self, line: &Line) -> Result<u64> {
        self.subscribe(line, "", &Sink::Lines)?;
        let config = format!("audit-{}/subscriber.toml", line.name);
        let text = self.govbridge(&["subscriber", "--config", &config, "--check", "--json"])?;
        let report: serde_json::Value = serde_json::from_str(&text)?;
        if report.get("clean") != Some(&serde_json::Value::Bool(true)) {
            bail!("the check of {} is not clean: {text}", line.topic());
        }
        report.get("rows").and_then(serde_json::Value::as_u64).context("the check gives no rows")
    }

    /// Waits until the line's slot was told that everything before `end` may be forgotten.
    pub(crate) fn acknowledged(&self, line: &Line, sql: &mut crate::sql::Sql, end: &str) -> Result<()> {
        let begun = Instant::now();
        let query = format!(
            "SELECT confirmed_flush_lsn >= '{end}'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
            line.slot()
        );
        while sql.value(&query)? != "t" {
            crate::interrupt::check()?;
            if begun.elapsed() > PATIENCE {
                bail!("line {}: the slot does not reach {end}", line.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn healthy(process: &mut Process, port: u16) -> Result<()> {
    process.until("it is healthy", Duration::from_millis(10), || {
        Ok(fetch(port, "/health").is_none().then_some(0))
    })
}
