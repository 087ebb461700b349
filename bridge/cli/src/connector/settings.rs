//! The connector's configuration file. The doc comments are the reference; `deploy/dev/connector.toml` is an example.

use crate::configuration::{HttpSection, TrustSection, one_or_more, parsed};
use bridge_event::{Department, Origin};
use bridge_kafka::Properties;
use bridge_pipeline::{BatchLimits, Intervals, TopicSettings};
use connectors_postgres::SslMode;
use serde::Deserialize;
use std::path::PathBuf;

/// What a connector is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The sending department, as the trust file names it.
    #[serde(deserialize_with = "parsed")]
    pub(super) department: Department,
    /// The log's name: `<domain>/<department>/<connector>`.
    #[serde(deserialize_with = "parsed")]
    pub(super) origin: Origin,
    /// The contracts' folders, one for each dataset.
    #[serde(deserialize_with = "one_or_more")]
    pub(super) contracts: Vec<PathBuf>,
    /// The database.
    pub(super) source: SourceSection,
    /// librdkafka's settings, by its own names.
    pub(super) kafka: Properties,
    /// The log.
    pub(super) log: LogSection,
    /// The keys.
    pub(super) keys: KeysSection,
    /// The trust file.
    pub(super) trust: TrustSection,
    /// Serves the log's tiles under `/`, and `/metrics` and `/health`.
    pub(super) http: HttpSection,
    /// When a batch is closed.
    #[serde(default)]
    pub(super) batch: BatchLimits,
    /// How often the connector speaks.
    #[serde(default)]
    pub(super) intervals: Intervals,
    /// What topics are made with.
    #[serde(default)]
    pub(super) topics: TopicSettings,
}

/// The database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceSection {
    /// The engine: `sqlite` or `postgres`.
    pub(super) engine: Engine,
    /// SQLite: the database file.
    pub(super) file: Option<PathBuf>,
    /// PostgreSQL: a host's name or address, or the folder of a Unix socket.
    pub(super) host: Option<String>,
    /// PostgreSQL: the port, 5432 by default.
    pub(super) port: Option<u16>,
    /// PostgreSQL: the database.
    pub(super) database: Option<String>,
    /// PostgreSQL: the role, with REPLICATION and SELECT on the shared tables.
    pub(super) user: Option<String>,
    /// PostgreSQL: a file with the role's password in its first line, mode 0600, when the server asks for one.
    pub(super) password_file: Option<PathBuf>,
    /// PostgreSQL: `disable`, `require`, `verify-ca` or `verify-full`. Default: `disable` for a Unix socket and for this
    /// machine's own addresses, `verify-full` for every other.
    #[serde(default, deserialize_with = "ssl_mode")]
    pub(super) sslmode: Option<SslMode>,
    /// PostgreSQL: the roots that the server's certificate is checked by, PEM.
    pub(super) sslrootcert: Option<PathBuf>,
    /// PostgreSQL: the role's own certificate, PEM, where the server asks for one.
    pub(super) sslcert: Option<PathBuf>,
    /// PostgreSQL: its key, PEM; without it the key stands in the same file.
    pub(super) sslkey: Option<PathBuf>,
    /// PostgreSQL: the publication, `govbridge` by default.
    pub(super) publication: Option<String>,
    /// PostgreSQL: the slot, `govbridge` by default. Slots of one server have one namespace.
    pub(super) slot: Option<String>,
}

fn ssl_mode<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<SslMode>, D::Error> {
    parsed(source).map(Some)
}

/// A database engine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    /// A SQLite file with a changelog that triggers write.
    Sqlite,
    /// A PostgreSQL database with a logical replication slot.
    Postgres,
}

/// The log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSection {
    /// The log's directory, made by `govbridge log init`.
    pub(super) directory: PathBuf,
}

/// The keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysSection {
    /// The department's signing key.
    pub(super) signing: PathBuf,
    /// The log's key.
    pub(super) log: PathBuf,
    /// A file with the passphrase of both, mode 0600, when they have one.
    pub(super) passphrase_file: Option<PathBuf>,
}
