//! Real processes: the binary `govbridge`, a whole scene of folders that it made itself, and hands to start, stop, kill
//! and question what runs.
//!
//! ```text
//! <scene>/
//!   keys/*.key   trust-1.note           of all four departments, made by `keygen` and `trust`
//!   tax/         tax.db  log/  connector.toml  connector.err
//!   witness-<d>/ state/  witness.toml  witness.err
//!   <d>/         subscriber.toml  rows.jsonl  progress/
//! ```
//!
//! The transport is named by its address: a test starts `bridge_kafka::trial::Cluster` and makes the topics of
//! [`Scene::topics`]. Everything waits by looking, never by a fixed sleep, and nothing outlives a test: a process that
//! is dropped is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and its files need not be durable"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use deploy_ports::Port;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The four departments of the scene; `audit` sends nothing.
pub const DEPARTMENTS: [&str; 4] = ["tax", "social-security", "education", "audit"];

/// The origin of the scene's one log.
pub const ORIGIN: &str = "gov.example/tax/main";

/// The repository's root.
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&Path| folder.join("Cargo.lock").is_file();
    own.ancestors().find(is_root).expect("the repository is above its crates").to_owned()
}

/// The binary `govbridge`.
#[derive(Clone, Debug)]
pub struct Binary(PathBuf);

impl Binary {
    /// The one at this path.
    pub fn at(path: impl Into<PathBuf>) -> Binary {
        Binary(path.into())
    }

    /// The one beside the running test, built first when it is missing or older than the sources.
    pub fn beside_this() -> Binary {
        static BUILT: OnceLock<PathBuf> = OnceLock::new();
        let path = BUILT.get_or_init(|| {
            let own = std::env::current_exe().unwrap();
            let binary = own.parent().and_then(Path::parent).unwrap().join("govbridge");
            let newest = ["bridge", "connectors", "schemas/src"]
                .iter()
                .filter_map(|room| newest(&repository().join(room)))
                .max();
            let built = binary.metadata().and_then(|about| about.modified()).ok();
            if built.is_none() || built < newest {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let done = Command::new(cargo)
                    .args(["build", "--locked", "-p", "bridge-cli"])
                    .current_dir(repository())
                    .status()
                    .unwrap();
                assert!(done.success(), "the binary could not be built");
            }
            binary
        });
        Binary(path.clone())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs a command to its end.
    pub fn try_run(&self, folder: &Path, words: &[&str]) -> std::process::Output {
        self.command(folder, words).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that has to succeed, and gives its stdout.
    pub fn run(&self, folder: &Path, words: &[&str]) -> String {
        let done = self.try_run(folder, words);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "govbridge {}: {}\n{said}", words.join(" "), done.status);
        String::from_utf8(done.stdout).unwrap()
    }

    fn command(&self, folder: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(words).current_dir(folder);
        command
    }
}

/// When the newest Rust source under a folder was written.
fn newest(folder: &Path) -> Option<std::time::SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?;
    let times = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        if path.is_dir() {
            return newest(&path);
        }
        let is_source = path.extension().is_some_and(|ending| ending == "rs");
        is_source.then(|| path.metadata().ok()?.modified().ok()).flatten()
    });
    times.max()
}

/// A process of the scene.
#[derive(Debug)]
pub struct Process {
    name: String,
    words: PathBuf,
    /// Bytes of the words that earlier processes of the same name left.
    said_before: usize,
    child: Option<Child>,
}

impl Process {
    /// Starts `govbridge`; what it says goes on in `<folder>/<name>.err`.
    pub fn start(
        binary: &Binary,
        name: &str,
        folder: &Path,
        words: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let path = folder.join(format!("{name}.err"));
        let file = File::options().create(true).append(true).open(&path).unwrap();
        let said_before = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let child = binary
            .command(folder, words)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Process { name: name.to_owned(), words: path, said_before, child: Some(child) }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        said(&self.words, self.said_before)
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits until something holds, while the process lives.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if let Some(status) = ended {
                panic!("{} ended with {status} before: {what}; it said\n{}", self.name, self.said());
            }
            if Instant::now() > deadline {
                panic!("not in time: {what}; {} said\n{}", self.name, self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it says this.
    pub fn until_it_says(&mut self, words: &str) {
        self.until_it_says_or(words, || false);
    }

    /// Waits until it says this, or something holds.
    pub fn until_it_says_or(&mut self, words: &str, mut holds: impl FnMut() -> bool) {
        let (path, before) = (self.words.clone(), self.said_before);
        self.until(words, || holds() || said(&path, before).contains(words));
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// The address that it listens on, once it says so.
    pub fn address(&mut self) -> String {
        let path = self.words.clone();
        let skip = self.said_before;
        let mut found = None;
        self.until("it says where it listens", || {
            found = said(&path, skip)
                .lines()
                .filter(|line| line.contains("\"listening\""))
                .find_map(|line| line.split("\"address\":\"").nth(1)?.split('"').next().map(str::to_owned));
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until `/health` answers 200.
    pub fn healthy(&mut self) -> String {
        let address = self.address();
        let mut last = String::new();
        let deadline = Instant::now() + PATIENCE;
        self.until("it is healthy", || {
            let answer = get(&address, "/health");
            let good = answer.as_ref().is_some_and(|(status, _)| *status == 200);
            last = answer.map(|(_, body)| body).unwrap_or_default();
            assert!(good || Instant::now() < deadline, "never healthy: {last}");
            good
        });
        address
    }

    /// The most memory that it has had so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} did not end; it said\n{}", self.name, self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end: the exit status, and all that it has said.
    pub fn end(self) -> (ExitStatus, String) {
        let (path, skip) = (self.words.clone(), self.said_before);
        let status = self.wait();
        let all = std::fs::read(path).unwrap();
        (status, String::from_utf8_lossy(all.get(skip..).unwrap_or_default()).into_owned())
    }

    /// SIGTERM; the exit status, and how long the process took to end.
    pub fn stop(self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        (self.wait(), begun.elapsed())
    }

    /// SIGTERM; the process may still run when this returns.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        let _ = self.wait();
    }

    /// SIGSTOP: it stands still where it is.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What stands in a process's words behind those of the ones before it.
fn said(words: &Path, before: usize) -> String {
    let all = std::fs::read(words).unwrap();
    String::from_utf8_lossy(all.get(before..).unwrap_or_default()).into_owned()
}

/// One HTTP request: the status and the body; none when nobody answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The sum of a metric over its labels; 0 when it is not there.
pub fn metric(address: &str, name: &str) -> u64 {
    let text = get(address, "/metrics").map(|(_, body)| body).unwrap_or_default();
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = if rest.starts_with('{') { rest.rsplit_once("} ")?.1 } else { rest.strip_prefix(' ')? };
        value.split('.').next()?.parse::<u64>().ok()
    });
    values.sum()
}

/// Folders of keys, trust, a source, a log, witnesses and subscribers, made by the binary as an operator would.
pub struct Scene {
    /// Removed with the scene.
    folder: tempfile::TempDir,
    binary: Binary,
    bootstrap: String,
    datasets: Vec<String>,
    /// The keys of the connector's `[topics]`, and further ones of every `[kafka]`.
    topics: String,
    kafka: String,
    pin: String,
    connector_port: Port,
    witness_ports: Vec<Port>,
}

impl Scene {
    /// A scene in which tax sends these datasets, and all four departments witness: two of the three that count suffice.
    pub fn new(binary: Binary, bootstrap: &str, datasets: &[&str]) -> Scene {
        Scene::with_kafka(binary, bootstrap, datasets, "check = false", "")
    }

    /// The same with other keys of the connector's `[topics]`, and with further ones of every `[kafka]`.
    pub fn with_kafka(
        binary: Binary,
        bootstrap: &str,
        datasets: &[&str],
        topics: &str,
        kafka: &str,
    ) -> Scene {
        let mut scene = Scene {
            folder: tempfile::tempdir().unwrap(),
            binary,
            bootstrap: bootstrap.to_owned(),
            datasets: datasets.iter().map(|dataset| (*dataset).to_owned()).collect(),
            topics: topics.to_owned(),
            kafka: kafka.to_owned(),
            pin: String::new(),
            connector_port: Port::reserve().unwrap(),
            witness_ports: DEPARTMENTS.iter().map(|_| Port::reserve().unwrap()).collect(),
        };
        scene.make_trust();
        scene.make_source();
        scene.make_witnesses();
        scene
    }

    /// The scene's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The tax department's folder.
    pub fn tax(&self) -> PathBuf {
        self.folder().join("tax")
    }

    /// The tax department's database, as its own application opens it.
    pub fn application(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.tax().join("tax.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(20)).unwrap();
        connection
    }

    /// Payments with these numbers, each in a transaction of its own, as the application makes them.
    pub fn pay(&self, ids: std::ops::Range<i64>) {
        let application = self.application();
        let sql = "INSERT INTO payments VALUES (?1, 'T9901000021', '增值税', '2026-09-01', '银行端查询缴税', NULL, '12.30', NULL)";
        for id in ids {
            application.execute(sql, [id]).unwrap();
        }
    }

    /// The topics that the cluster must have.
    pub fn topics(&self) -> Vec<String> {
        let datasets = self.datasets.iter().map(|dataset| format!("govbridge.tax.{dataset}"));
        datasets.chain(["govbridge.keys".to_owned(), "govbridge.contracts".to_owned()]).collect()
    }

    /// Runs a command in the scene's folder.
    pub fn run(&self, words: &[&str]) -> String {
        self.binary.run(self.folder(), words)
    }

    /// Runs a command in the scene's folder, and gives what came of it.
    pub fn try_run(&self, words: &[&str]) -> std::process::Output {
        self.binary.try_run(self.folder(), words)
    }

    fn keygen(&self, role: &str, name: &str, file: &str) -> String {
        let out = format!("keys/{file}.key");
        self.run(&["keygen", "--role", role, "--name", name, "--out", &out]).trim().to_owned()
    }

    fn trust_add(&self, words: &[&str]) {
        self.run(&[&["trust", "add", "trust-1.note"], words].concat());
    }

    fn make_trust(&mut self) {
        std::fs::create_dir(self.folder().join("keys")).unwrap();
        let root = self.keygen("root", "gov.example/root/li", "root");
        self.run(&[
            "trust",
            "init",
            "trust-1.note",
            "--domain",
            "gov.example",
            "--threshold",
            "1",
            "--root",
            &root,
        ]);
        for department in DEPARTMENTS {
            self.trust_add(&["department", "--name", department, "--title", department]);
            let recipient = self.keygen("recipient", department, &format!("{department}-recipient"));
            self.trust_add(&["recipient", "--department", department, "--key", &recipient]);
        }
        let signing = self.keygen("signing", "tax", "tax-signing");
        self.trust_add(&["signing", "--department", "tax", "--origin", ORIGIN, "--key", &signing]);
        let log = self.keygen("log", ORIGIN, "tax-log");
        let url = format!("http://127.0.0.1:{}", self.connector_port.number());
        self.trust_add(&["log", "--department", "tax", "--origin", ORIGIN, "--vkey", &log, "--url", &url]);
        for (department, port) in DEPARTMENTS.iter().zip(self.witness_ports.iter().map(Port::number)) {
            let name = format!("gov.example/{department}/witness");
            let vkey = self.keygen("witness", &name, &format!("{department}-witness"));
            let url = format!("http://127.0.0.1:{port}");
            self.trust_add(&[
                "witness",
                "--department",
                department,
                "--name",
                &name,
                "--vkey",
                &vkey,
                "--url",
                &url,
                "--checking",
            ]);
        }
        self.trust_add(&["policy", "--quorum", "2", "--liars", "0"]);
        self.pin = self.run(&["trust", "sign", "trust-1.note", "--key", "keys/root.key"]).trim().to_owned();
    }

    /// The configuration's part that names the trust file, for a process in a folder of its own.
    fn trust_section(&self) -> String {
        format!("[trust]\nfile = \"../trust-1.note\"\npin = \"{}\"\nstate = \"trust.seen\"\n", self.pin)
    }

    fn kafka_section(&self) -> String {
        format!("[kafka]\n\"bootstrap.servers\" = \"{}\"\n{}\n", self.bootstrap, self.kafka)
    }

    fn make_source(&self) {
        std::fs::create_dir(self.tax()).unwrap();
        let schemas = repository().join("schemas/tax");
        let sample = std::fs::read_to_string(schemas.join("sample.sql")).unwrap();
        let application = self.application();
        application.pragma_update(None, "journal_mode", "wal").unwrap();
        application.execute_batch(&sample).unwrap();
        let contracts: Vec<String> = self
            .datasets
            .iter()
            .map(|dataset| format!("{:?}", schemas.join(dataset).display().to_string()))
            .collect();
        let text = format!(
            "department = \"tax\"\norigin = \"{ORIGIN}\"\ncontracts = [{}]\n[source]\nengine = \"sqlite\"\nfile = \"tax.db\"\n\
             {}[log]\ndirectory = \"log\"\n[keys]\nsigning = \"../keys/tax-signing.key\"\nlog = \"../keys/tax-log.key\"\n\
             {}[http]\nlisten = \"127.0.0.1:{}\"\n[topics]\n{}\n\
             [intervals]\ncheckpoint_ms = 100\nidle_ms = 1000\nwitness_timeout_ms = 1000\ndelivery_timeout_ms = 10000\n",
            contracts.join(", "),
            self.kafka_section(),
            self.trust_section(),
            self.connector_port.number(),
            self.topics
        );
        std::fs::write(self.tax().join("connector.toml"), text).unwrap();
        self.run(&["connector", "--config", "tax/connector.toml", "--create"]);
        self.run(&["log", "init", "--directory", "tax/log", "--origin", ORIGIN, "--key", "keys/tax-log.key"]);
    }

    /// Gives the connector another source than the SQLite file: the keys of its `[source]`. Prepares it for capture.
    pub fn replace_source(&self, keys: &str) {
        let path = self.tax().join("connector.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let replaced = text.replace("engine = \"sqlite\"\nfile = \"tax.db\"", keys.trim_end());
        assert_ne!(text, replaced);
        std::fs::write(&path, replaced).unwrap();
        self.run(&["connector", "--config", "tax/connector.toml", "--create"]);
    }

    fn make_witnesses(&self) {
        for (department, port) in DEPARTMENTS.iter().zip(self.witness_ports.iter().map(Port::number)) {
            let folder = self.witness_folder(department);
            std::fs::create_dir(&folder).unwrap();
            let text = format!(
                "name = \"gov.example/{department}/witness\"\ndirectory = \"state\"\nchecking = true\n\
                 [keys]\nwitness = \"../keys/{department}-witness.key\"\n{}[http]\nlisten = \"127.0.0.1:{port}\"\n",
                self.trust_section()
            );
            std::fs::write(folder.join("witness.toml"), text).unwrap();
            let config = format!("witness-{department}/witness.toml");
            self.run(&["witness", "init", "--config", &config]);
        }
    }

    /// A department's witness's folder.
    pub fn witness_folder(&self, department: &str) -> PathBuf {
        self.folder().join(format!("witness-{department}"))
    }

    /// Starts a department's witness.
    pub fn witness(&self, department: &str) -> Process {
        self.witness_with(department, &[])
    }

    /// Starts a department's witness with variables in its environment.
    pub fn witness_with(&self, department: &str, environment: &[(&str, &str)]) -> Process {
        let words = ["witness", "--config", "witness.toml"];
        Process::start(&self.binary, "witness", &self.witness_folder(department), &words, environment)
    }

    /// Writes the configuration of a receiving department's subscriber. `more` are lines that stand at its head.
    pub fn make_subscriber(&self, department: &str, more: &str) {
        let folder = self.folder().join(department);
        std::fs::create_dir_all(&folder).unwrap();
        let datasets = self
            .datasets
            .iter()
            .map(|dataset| format!("[[dataset]]\ndepartment = \"tax\"\ndataset = \"{dataset}\"\n"));
        let text = format!(
            "department = \"{department}\"\nname = \"main\"\nprogress = \"progress\"\n{more}\n{}[sink]\njson_lines = \"rows.jsonl\"\n\
             {}[keys]\nrecipient = [\"../keys/{department}-recipient.key\"]\n{}[http]\nlisten = \"127.0.0.1:0\"\n",
            datasets.collect::<String>(),
            self.kafka_section(),
            self.trust_section()
        );
        std::fs::write(folder.join("subscriber.toml"), text).unwrap();
    }

    /// Starts a department's subscriber.
    pub fn subscriber(&self, department: &str) -> Process {
        self.subscriber_with(department, &[])
    }

    /// Starts a department's subscriber with variables in its environment.
    pub fn subscriber_with(&self, department: &str, environment: &[(&str, &str)]) -> Process {
        let words = ["subscriber", "--config", "subscriber.toml"];
        Process::start(&self.binary, "subscriber", &self.folder().join(department), &words, environment)
    }

    /// The lines that a department's subscriber has delivered whole.
    pub fn rows(&self, department: &str) -> Vec<String> {
        let text =
            std::fs::read_to_string(self.folder().join(department).join("rows.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Starts the connector.
    pub fn connector(&self) -> Process {
        self.connector_with(&[], &[])
    }

    /// Starts the connector with more words on its command line, and variables in its environment.
    pub fn connector_with(&self, words: &[&str], environment: &[(&str, &str)]) -> Process {
        let words = [&["connector", "--config", "connector.toml"], words].concat();
        Process::start(&self.binary, "connector", &self.tax(), &words, environment)
    }
}
