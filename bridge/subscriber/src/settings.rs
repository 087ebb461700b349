//! A subscriber's configuration. The doc comments are the reference.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bridge_event::{Dataset, Department, Origin};
use bridge_pgwire::SslMode;
use serde::{Deserialize, Deserializer};

use crate::{Level, Password, SettingsError};

/// What a subscriber is told. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The department that receives; the key files are its recipient keys.
    #[serde(deserialize_with = "parsed")]
    pub department: Department,
    /// The subscriber's own name, for logs and metrics.
    pub name: String,
    /// The datasets to subscribe to, at least one.
    pub datasets: Vec<Subscribed>,
    /// How streams are ordered against each other. Default: `stream`.
    #[serde(default)]
    pub mode: Mode,
    /// The least assurance level at which a batch is delivered. Default: `witnessed`.
    #[serde(default)]
    pub least: Least,
    /// Where a stream without progress begins. Default: `beginning`.
    #[serde(default)]
    pub start: Start,
    /// Where rows go.
    pub sink: Sink,
    /// A directory of this subscriber alone: its progress, and checkpoints kept as evidence.
    pub progress: PathBuf,
    /// Bounds on memory.
    #[serde(default)]
    pub limits: Limits,
    /// Seconds after which a cosignature or a beacon is stale, by this machine's clock. Default: 120.
    #[serde(default = "freshness_default")]
    pub freshness_seconds: u32,
    /// Addresses of logs (http, https or a directory) instead of those in the trust file, by origin.
    #[serde(default)]
    pub logs: BTreeMap<String, String>,
}

/// One dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribed {
    /// The department that sends.
    #[serde(deserialize_with = "parsed")]
    pub department: Department,
    /// Its dataset.
    #[serde(deserialize_with = "parsed")]
    pub dataset: Dataset,
}

/// How streams are ordered against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each stream by itself, with the least latency.
    #[default]
    Stream,
    /// All streams of one source merged: whole source transactions, in commit order.
    Source,
}

impl Mode {
    /// The configuration's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Stream => "stream",
            Mode::Source => "source",
        }
    }
}

/// The least level at which a batch is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Least {
    /// Signed by its department, and its chain followed.
    Signed,
    /// The log's own checkpoint holds it.
    Logged,
    /// A checkpoint with a quorum of checking witnesses holds it.
    #[default]
    Witnessed,
    /// Not available yet; refused.
    Anchored,
}

/// Where a stream without progress begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At its first record. Where retention removed that: at the oldest place of a verified beacon that is found.
    #[default]
    Beginning,
    /// At the place of the newest verified beacon.
    Latest,
}

/// Where rows go: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// A file of JSON lines (docs/guide/json-lines.md); it is made when it is not there.
    JsonLines(PathBuf),
    /// Tables of a PostgreSQL database (docs/guide/postgresql-sink.md); `--create` makes them.
    Postgres(Box<Postgres>),
}

/// A schema of a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// A host's name or address, or the folder of a Unix socket.
    pub host: String,
    /// The port. Default: 5432.
    #[serde(default = "port_default")]
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role that owns the schema's tables, or may write them.
    pub user: String,
    /// A file with the role's password in its first line, mode 0600, when the server asks for one.
    pub password_file: Option<PathBuf>,
    /// `disable`, `require`, `verify-ca` or `verify-full`. Default: `disable` for a Unix socket and for this machine's own
    /// addresses, `verify-full` for every other.
    #[serde(default, deserialize_with = "ssl_mode")]
    pub sslmode: Option<SslMode>,
    /// The roots that the server's certificate is checked by, PEM.
    pub sslrootcert: Option<PathBuf>,
    /// The role's own certificate, PEM, where the server asks for one.
    pub sslcert: Option<PathBuf>,
    /// Its key, PEM; without it the key stands in the same file.
    pub sslkey: Option<PathBuf>,
    /// The schema, of this subscriber alone. Default: `govbridge`.
    #[serde(default = "schema_default")]
    pub schema: String,
    /// What stands in that file; whoever reads the settings fills it in.
    #[serde(skip)]
    pub password: Password,
}

fn ssl_mode<'de, D: Deserializer<'de>>(source: D) -> Result<Option<SslMode>, D::Error> {
    parsed(source).map(Some)
}

fn port_default() -> u16 {
    5432
}

fn schema_default() -> String {
    "govbridge".to_owned()
}

/// Bounds on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of batches that wait for their level, or for other streams of their source. Default: 64 MiB. Beyond it
    /// batches are let go and fetched again later; a source transaction larger than it is still held whole.
    pub waiting_bytes_max: usize,
    /// Bytes of rows written before they are synced to disk. Default: 8 MiB.
    pub group_bytes_max: usize,
    /// Milliseconds after which rows are synced, or their transaction ends, together with those that came since. Default: 20;
    /// more where that takes long. In a file they can be read before. 0: after each record.
    pub group_ms: u32,
    /// Bytes that the opened sections of one batch may have together; a batch beyond it halts as OPE009. Default: 128 MiB: a
    /// row of 64 MiB, whose key columns stand in each section, fits.
    pub opened_bytes_max: usize,
    /// Bytes of contracts, of key records, of section keys and of checkpoints that were verified and are kept, each. Default:
    /// 64 MiB. Beyond it those used least lately are let go, and read and verified again when they are named.
    pub verified_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            waiting_bytes_max: 64 << 20,
            group_bytes_max: 8 << 20,
            group_ms: 20,
            opened_bytes_max: 128 << 20,
            verified_bytes_max: 64 << 20,
        }
    }
}

fn freshness_default() -> u32 {
    120
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(source: D) -> Result<T, D::Error> {
    String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
}

impl Settings {
    /// What serde cannot say: that there is something to subscribe to, and that the level can be had.
    ///
    /// # Errors
    /// [`SettingsError`], the first that is found.
    pub fn check(&self) -> Result<Level, SettingsError> {
        if self.datasets.is_empty() {
            return Err(SettingsError::NoDatasets);
        }
        for (i, one) in self.datasets.iter().enumerate() {
            if self.datasets.iter().take(i).any(|other| other == one) {
                let dataset = format!("{}/{}", one.department, one.dataset);
                return Err(SettingsError::Twice { dataset });
            }
        }
        for origin in self.logs.keys() {
            if origin.parse::<Origin>().is_err() {
                return Err(SettingsError::Origin { origin: origin.clone() });
            }
        }
        match self.least {
            Least::Signed => Ok(Level::Signed),
            Least::Logged => Ok(Level::Logged),
            Least::Witnessed => Ok(Level::Witnessed),
            Least::Anchored => Err(SettingsError::Anchored),
        }
    }

    /// After how long a cosignature or beacon is stale.
    pub fn freshness(&self) -> Duration {
        Duration::from_secs(u64::from(self.freshness_seconds))
    }

    /// The configured address of a log, when there is one.
    pub(crate) fn log_address(&self, origin: &Origin) -> Option<&str> {
        self.logs.get(origin.as_str()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"department": "health", "name": "main", "progress": "p",
        "datasets": [{"department": "tax", "dataset": "payments"}], "sink": {"json_lines": "rows.jsonl"}}"#;

    #[test]
    fn the_defaults_are_the_careful_ones() {
        let settings: Settings = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(settings.check().unwrap(), Level::Witnessed);
        assert_eq!((settings.mode, settings.start), (Mode::Stream, Start::Beginning));
        assert_eq!(settings.limits.waiting_bytes_max, 64 << 20);
        assert_eq!(settings.freshness(), Duration::from_secs(120));
    }

    #[test]
    fn unknown_keys_and_bad_names_are_refused() {
        for (from, to) in [("\"name\"", "\"nme\""), ("json_lines", "jsonl"), ("\"tax\"", "\"Tax\"")] {
            assert!(serde_json::from_str::<Settings>(&WHOLE.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn there_is_exactly_one_sink() {
        let with = |sink: &str| {
            let whole = WHOLE.replace("{\"json_lines\": \"rows.jsonl\"}", sink);
            serde_json::from_str::<Settings>(&whole).map(|settings| settings.sink)
        };
        let Ok(Sink::Postgres(postgres)) =
            with(r#"{"postgres": {"host": "/run", "database": "d", "user": "u"}}"#)
        else {
            panic!("a PostgreSQL sink")
        };
        assert_eq!((postgres.port, postgres.schema.as_str()), (5432, "govbridge"));
        for wrong in [
            "{}",
            r#"{"json_lines": "a", "postgres": {"host": "/run", "database": "d", "user": "u"}}"#,
            r#"{"postgres": {"host": "/run", "database": "d", "user": "u", "pasword_file": "p"}}"#,
            r#"{"postgres": {"host": "/run", "database": "d", "user": "u", "password": "p"}}"#,
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut settings: Settings = serde_json::from_str(WHOLE).unwrap();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        assert!(matches!(with(&|s| s.least = Least::Anchored), SettingsError::Anchored));
        assert!(matches!(with(&|s| s.datasets.clear()), SettingsError::NoDatasets));
        let twice = with(&|s| s.datasets.push(s.datasets[0].clone()));
        assert!(matches!(twice, SettingsError::Twice { .. }));
        assert!(matches!(
            with(&|s| drop(s.logs.insert("x".into(), "y".into()))),
            SettingsError::Origin { .. }
        ));
    }
}
