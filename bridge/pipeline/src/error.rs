//! Why a connector halts, or could not be set up.

use crate::capture::CaptureError;
use crate::outside::RandomError;
use bridge_chain::start::Halt;
use bridge_event::At;
use bridge_event::Department;
use bridge_kafka::topics::{Problem, TopicError};
use bridge_kafka::{DeliveryError, FetchError, PropertiesError};
use bridge_ledger::{AppendError, OpenError, ReadError};
use connectors_source::SourceError;

/// A connector that needs a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// The start found what it may not decide by itself.
    #[error("{}: {halt} (streams: {})", start_code(halt), streams.join(", "))]
    Start {
        /// What it found.
        halt: Halt,
        /// The connector's streams, by index.
        streams: Vec<String>,
    },
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A row or its place cannot be sent.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What the log's directory says of the source is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source begins beyond what it was told to forget.
    #[error(
        "STA029: the source begins after {found}, and this connector let it forget only up to {kept}: its place was moved, or it was made anew, or the log is an older copy of itself; what was committed between is in no log, and going on needs an operator's signed GAP and a new snapshot"
    )]
    SourceMoved {
        /// Where the source begins.
        found: At,
        /// Up to where it may forget.
        kept: At,
    },
    /// The settings for Kafka are not acceptable.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// A topic is missing or set up wrongly.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Topics are set up so that the promise could not be kept.
    #[error("PUB020: {}", problems(.0))]
    Topics(Vec<Problem>),
    /// A topic that holds what the log names is not there any more.
    #[error(
        "STA030: the topic {topic} is not there, and the log names what it held: it was deleted; publish again from an archive or sign a GAP"
    )]
    TopicGone {
        /// The topic.
        topic: String,
    },
    /// Kafka refuses what is published, life after life.
    #[error(transparent)]
    Delivery(DeliveryError),
    /// Kafka does not let us read what we publish, life after life.
    #[error(transparent)]
    Fetch(FetchError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// An entitled department has no key.
    #[error(
        "SEA021: {0} is entitled by the contract and the trust file gives it no recipient key: add its key to the trust file, or end its grant"
    )]
    NoRecipientKey(Department),
    /// The source is somebody else than before.
    #[error(
        "STA020: the source says that it is {found}, and the log's newest incarnation is {known}: an operator decides with a signed GAP or RETRACT"
    )]
    Identity {
        /// What the source says.
        found: String,
        /// What the log has.
        known: String,
    },
    /// A stream has what the source no longer has.
    #[error(
        "STA021: {stream} holds commit {held} and the source's newest is {newest}: the source went back; an operator decides with a signed RETRACT"
    )]
    SourceWentBack {
        /// The stream.
        stream: String,
        /// The stream's last commit.
        held: u64,
        /// The source's.
        newest: u64,
    },
    /// A stream's last commit is another one at the source.
    #[error(
        "STA022: {stream} holds commit {held}, and the source has another one in its place: it was restored from a copy; an operator decides with a signed RETRACT"
    )]
    SourceReplaced {
        /// The stream.
        stream: String,
        /// The stream's last commit.
        held: u64,
    },
    /// A contract may not follow the one that the log has.
    #[error("STA023: contract {contract}: {what}")]
    Contract {
        /// The dataset.
        contract: String,
        /// Why not, and what to do.
        what: String,
    },
    /// The sequences of a stream are used up.
    #[error("STA024: a stream has used up its sequences")]
    SequencesEnd,
    /// A conflict: two checkpoints of our own key that do not follow each other.
    #[error("STA025: {0}")]
    Conflict(String),
    /// A number that names no stream.
    #[error("STA090: there is no stream {0}: this is a defect of the connector, report it")]
    NoSuchStream(usize),
    /// Our own rules refused our own doing.
    #[error("STA091: {0}: this is a defect of the connector, report it")]
    Defect(String),
    /// Another process took over.
    #[error("STA026: {0}; this process ends")]
    Superseded(String),
    /// The server for tiles, metrics and health could not run.
    #[error("STA027: the HTTP server could not run: {0}")]
    Http(String),
    /// The metrics could not be made.
    #[error("STA091: {0}: this is a defect of the connector, report it")]
    Metrics(#[from] prometheus::Error),
}

/// The code of a halting start.
fn start_code(halt: &Halt) -> &'static str {
    match halt {
        Halt::LogShrunk { .. } => "STA001",
        Halt::LogLost { .. } => "STA002",
        Halt::Finding { .. } => "STA003",
        Halt::PlaceNotLogged { .. } => "STA004",
        Halt::LogForked { .. } => "STA005",
        Halt::TopicCut { .. } => "STA006",
        Halt::KafkaLost { .. } => "STA007",
        Halt::Unplaced { .. } => "STA008",
        Halt::EpochsEnd => "STA009",
        Halt::OutOfStep => "STA091",
    }
}

fn problems(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|p| format!("topic {}: {}; {}", p.topic, p.what, p.remedy));
    lines.collect::<Vec<_>>().join("; ")
}
