//! What an error of a room means for the process: its exit code. The words and the code of the page are the room's own.
//!
//! | exit | here |
//! |---|---|
//! | 1 | what was checked is not good: history that does not fit, a damaged log, a finding that halts |
//! | 2 | files, settings or the source have to be put right before a start |
//! | 3 | something outside is away or held by another process; the same start may succeed later |

use crate::exit::{Exit, Refusal};
use bridge_kafka::{Disposition as KafkaDisposition, FetchError};
use bridge_ledger::{AppendError, OpenError, WitnessError};
use bridge_pipeline::ConnectorError;
use bridge_subscriber::{DeliverError, RunError, SinkError};
use connectors_source::SourceError;

/// A log that could not be made or opened.
pub(crate) fn of_open(error: &OpenError) -> Refusal {
    let exit = match error {
        OpenError::Held { .. } | OpenError::Writing { .. } | OpenError::Disk { .. } => Exit::Unavailable,
        OpenError::NotALog { .. } | OpenError::AlreadyThere { .. } => Exit::Usage,
        OpenError::Damaged { .. } | OpenError::Smaller { .. } => Exit::Negative,
    };
    Refusal::coded(exit, error)
}

/// A witness that could not be made or opened.
pub(crate) fn of_witness(error: &WitnessError) -> Refusal {
    let exit = match error {
        WitnessError::Held { .. } | WitnessError::Disk { .. } => Exit::Unavailable,
        WitnessError::NotAWitness { .. }
        | WitnessError::AlreadyThere { .. }
        | WitnessError::NoSuchLog { .. } => Exit::Usage,
        WitnessError::Damaged { .. } => Exit::Negative,
    };
    Refusal::coded(exit, error)
}

/// A source that could not be prepared, claimed or read.
pub(crate) fn of_source(error: &SourceError) -> Refusal {
    let exit = match error {
        SourceError::Unavailable { .. }
        | SourceError::Claimed { .. }
        | SourceError::ClaimLost
        | SourceError::Storage { .. } => Exit::Unavailable,
        SourceError::NotCreated { .. } | SourceError::Unsuitable { .. } | SourceError::Drifted { .. } => {
            Exit::Usage
        }
        _ => Exit::Negative,
    };
    Refusal::coded(exit, error)
}

/// A connector that ended by itself.
pub(crate) fn of_connector(error: &ConnectorError) -> Refusal {
    let exit = match error {
        ConnectorError::Source(error) => return of_source(error),
        ConnectorError::Log(error) => of_append(error),
        ConnectorError::Topic(error) if error.disposition() == KafkaDisposition::Retry => Exit::Unavailable,
        ConnectorError::Superseded(_)
        | ConnectorError::Read(_)
        | ConnectorError::Random(_)
        | ConnectorError::Http(_) => Exit::Unavailable,
        ConnectorError::Properties(_)
        | ConnectorError::Topic(_)
        | ConnectorError::Topics(_)
        | ConnectorError::Delivery(_)
        | ConnectorError::Fetch(_)
        | ConnectorError::Contract { .. }
        | ConnectorError::NoRecipientKey(_) => Exit::Usage,
        _ => Exit::Negative,
    };
    Refusal::coded(exit, error)
}

fn of_append(error: &AppendError) -> Exit {
    match error {
        AppendError::LostLog { .. } | AppendError::Disk { .. } | AppendError::Ended => Exit::Unavailable,
        _ => Exit::Negative,
    }
}

/// A subscriber that ended by itself, or could not check.
pub(crate) fn of_subscriber(error: &RunError) -> Refusal {
    let exit = match error {
        RunError::Settings(_)
        | RunError::Properties(_)
        | RunError::Fetch(FetchError::Connection(_) | FetchError::Forbidden { .. }) => Exit::Usage,
        RunError::Deliver(error) => match error {
            DeliverError::Locked { .. } | DeliverError::Disk { .. } => Exit::Unavailable,
            DeliverError::Postgres(error) => match error {
                SinkError::Unavailable(_) | SinkError::Held(_) | SinkError::Full(_) => Exit::Unavailable,
                SinkError::Denied(_) | SinkError::NotCreated(_) => Exit::Usage,
                _ => Exit::Negative,
            },
            _ => Exit::Usage,
        },
        RunError::Fetch(FetchError::OutOfRange { .. } | FetchError::Damaged { .. }) => Exit::Negative,
        RunError::NoPlace { .. } | RunError::TopicGone { .. } | RunError::Halted(_) => Exit::Negative,
        _ => Exit::Unavailable,
    };
    Refusal::coded(exit, error)
}
