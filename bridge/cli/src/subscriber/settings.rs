//! The subscriber's configuration file. The doc comments are the reference; `deploy/dev/subscriber.toml` is an example.

use crate::configuration::{Folder, HttpSection, TrustSection, one_or_more, parsed};
use crate::key_store::PassphraseFrom;
use bridge_event::Department;
use bridge_kafka::Properties;
use bridge_subscriber::{Least, Limits, Mode, Password, Sink, Start, Subscribed};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a subscriber is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The receiving department, as the trust file names it.
    #[serde(deserialize_with = "parsed")]
    pub(super) department: Department,
    /// The subscriber's own name, for logs and metrics.
    name: String,
    /// How streams are ordered against each other: `stream` or `source`. Default: `stream`.
    #[serde(default)]
    mode: Mode,
    /// The least assurance level at which a batch is delivered: `signed`, `logged` or `witnessed`. Default: `witnessed`.
    #[serde(default)]
    level: Least,
    /// Where a stream without progress begins: `beginning` or `latest`. Default: `beginning`.
    #[serde(default)]
    start: Start,
    /// A directory of this subscriber alone, which it makes and keeps.
    progress: PathBuf,
    /// Seconds after which a cosignature or a beacon is stale, by this machine's clock. Default: 120.
    #[serde(default = "freshness_seconds")]
    freshness_seconds: u32,
    /// What to receive: `[[dataset]]` with `department` and `dataset`, at least one.
    dataset: Vec<Subscribed>,
    /// Where rows go.
    sink: Sink,
    /// librdkafka's settings, by its own names.
    pub(super) kafka: Properties,
    /// The keys.
    pub(super) keys: KeysSection,
    /// The trust file.
    pub(super) trust: TrustSection,
    /// Serves `/metrics` and `/health`; nothing is served when it is left out.
    pub(super) http: Option<HttpSection>,
    /// Bounds on memory.
    #[serde(default)]
    limits: Limits,
    /// Addresses of logs in the place of those in the trust file, by origin: `http://...` or a directory.
    #[serde(default)]
    log_urls: BTreeMap<String, String>,
}

/// The keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysSection {
    /// The department's recipient key; a list, the oldest first, once there are several. Without one nothing is opened.
    #[serde(default, deserialize_with = "one_or_more")]
    pub(super) recipient: Vec<PathBuf>,
    /// A file with their passphrase, mode 0600, when they have one.
    pub(super) passphrase_file: Option<PathBuf>,
}

fn freshness_seconds() -> u32 {
    120
}

impl Settings {
    /// What the flow is told: the same, with paths that can be opened.
    pub(super) fn into_flow(self, folder: &Folder) -> anyhow::Result<bridge_subscriber::Settings> {
        let address = |address: String| match address.contains("://") {
            true => address,
            false => folder.path(Path::new(&address)).display().to_string(),
        };
        let sink = match self.sink {
            Sink::JsonLines(path) => Sink::JsonLines(folder.path(&path)),
            Sink::Postgres(mut postgres) => {
                let password = PassphraseFrom {
                    passphrase_file: postgres.password_file.as_deref().map(|file| folder.path(file)),
                    passphrase_env: None,
                };
                for file in [&mut postgres.sslrootcert, &mut postgres.sslcert, &mut postgres.sslkey] {
                    *file = file.as_deref().map(|file| folder.path(file));
                }
                postgres.password = Password(password.read()?);
                Sink::Postgres(postgres)
            }
        };
        Ok(bridge_subscriber::Settings {
            department: self.department,
            name: self.name,
            datasets: self.dataset,
            mode: self.mode,
            least: self.level,
            start: self.start,
            sink,
            progress: folder.path(&self.progress),
            limits: self.limits,
            freshness_seconds: self.freshness_seconds,
            logs: self.log_urls.into_iter().map(|(origin, url)| (origin, address(url))).collect(),
        })
    }
}
