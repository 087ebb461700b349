//! What ends a subscriber.

use std::path::{Path, PathBuf};

use bridge_event::Disposition;
use bridge_kafka::{FetchError, PropertiesError};

use crate::{Found, Interrupted, SinkError};

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nothing to subscribe to.
    #[error("DEL001: no dataset is named; name at least one department and dataset under `datasets`")]
    NoDatasets,
    /// A dataset stands twice.
    #[error("DEL001: dataset {dataset} is named twice; leave one of the two")]
    Twice {
        /// `<department>/<dataset>`.
        dataset: String,
    },
    /// A log that is none.
    #[error("DEL001: {origin:?} under `logs` is no origin; write <domain>/<department>/<connector>")]
    Origin {
        /// What stands there.
        origin: String,
    },
    /// A level that this build does not have.
    #[error(
        "DEL002: the level `anchored` is not available yet; use `witnessed`, which is the strongest that is"
    )]
    Anchored,
    /// `--create` without a sink that is made.
    #[error("DEL001: the sink is a file, and there is nothing to create; a PostgreSQL sink is made so")]
    NothingToCreate,
    /// The trust file says too little for the level.
    #[error(
        "DEL003: {dataset} cannot reach the level {level}: {reason}; correct the trust file, or lower `least`"
    )]
    Level {
        /// `<department>/<dataset>`.
        dataset: String,
        /// The least level.
        level: &'static str,
        /// What is missing.
        reason: String,
    },
}

/// The sink or the progress failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// A PostgreSQL sink.
    #[error(transparent)]
    Postgres(#[from] SinkError),
    /// Another subscriber has the sink or the progress.
    #[error("DEL010: another subscriber has locked {}; stop it, or give this one a sink and a progress directory of its own", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("DEL011: {} {}: {source}; nothing after the last progress counts, so start again when the disk is well", .act, .path.display())]
    Disk {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The progress is not what was written.
    #[error("DEL012: the progress {} is damaged: {reason}; restore it from a copy, or begin with a new sink and progress", .path.display())]
    Damaged {
        /// The progress file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The sink is not the one of the progress.
    #[error("DEL013: the sink {} is not the one that the progress speaks of: {reason}; give back the sink, or begin with a new sink and progress", .path.display())]
    OtherSink {
        /// The sink.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The progress is of another subscription.
    #[error("DEL014: the progress {} is of another subscription: {reason}; use a new progress directory and sink for it", .path.display())]
    OtherSubscription {
        /// The progress file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}

impl DeliverError {
    pub(crate) fn disk(act: &'static str, path: &Path, source: std::io::Error) -> DeliverError {
        DeliverError::Disk { act, path: path.to_owned(), source }
    }

    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            DeliverError::Postgres(error) => error.code(),
            DeliverError::Locked { .. } => "DEL010",
            DeliverError::Disk { .. } => "DEL011",
            DeliverError::Damaged { .. } => "DEL012",
            DeliverError::OtherSink { .. } => "DEL013",
            DeliverError::OtherSubscription { .. } => "DEL014",
        }
    }
}

impl SettingsError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            SettingsError::NoDatasets
            | SettingsError::Twice { .. }
            | SettingsError::Origin { .. }
            | SettingsError::NothingToCreate => "DEL001",
            SettingsError::Anchored => "DEL002",
            SettingsError::Level { .. } => "DEL003",
        }
    }
}

/// Why a subscriber ended, other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Kafka's settings.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// Kafka.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Sink or progress.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// No contract of a dataset is in the contracts topic.
    #[error(
        "DEL020: {dataset} has no contract signed by its department in govbridge.contracts; check the names, the trust file, and that its connector has run"
    )]
    NoContract {
        /// `<department>/<dataset>`.
        dataset: String,
    },
    /// A stream has nowhere to begin.
    #[error(
        "DEL021: {stream} cannot be begun: {reason}; restore the topic or wait for a beacon that the log has proven"
    )]
    NoPlace {
        /// The stream.
        stream: String,
        /// Why.
        reason: String,
    },
    /// A topic that was read before is not there any more.
    #[error(
        "DEL024: {topic} was read before and is not there any more: it was deleted; have what it held published again from an archive, and do not let an empty topic take its place unseen"
    )]
    TopicGone {
        /// Which one.
        topic: String,
    },
    /// Findings ended the delivery.
    #[error("DEL022: delivery has halted: {}; what was delivered before stands, look at each finding's page", words(.0))]
    Halted(Vec<Found>),
    /// The flow's thread or the server could not be started, or ended by itself.
    #[error("DEL023: {0}; start the subscriber again")]
    Process(String),
    /// A probe ended it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn words(found: &[Found]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl RunError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            RunError::Settings(error) => error.code(),
            RunError::Properties(error) => error.code(),
            RunError::Fetch(error) => error.code(),
            RunError::Deliver(error) => error.code(),
            RunError::NoContract { .. } => "DEL020",
            RunError::NoPlace { .. } => "DEL021",
            RunError::TopicGone { .. } => "DEL024",
            RunError::Halted(_) => "DEL022",
            RunError::Process(_) | RunError::Interrupted(_) => "DEL023",
        }
    }

    /// What to do next.
    pub fn disposition(&self) -> Disposition {
        match self {
            RunError::Fetch(error) if error.disposition() == bridge_kafka::Disposition::Retry => {
                Disposition::Retry
            }
            RunError::Deliver(DeliverError::Postgres(error)) => error.disposition(),
            RunError::NoContract { .. } | RunError::Process(_) => Disposition::Retry,
            _ => Disposition::Halt,
        }
    }
}
