//! What this crate takes from librdkafka in more than one place: log lines, names of errors, and a bounded drop.

use std::sync::mpsc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The longest that dropping a publisher or a fetcher holds up its thread: 1 s. librdkafka waits for its broker threads
/// without a limit; after this time the rest of the work goes on in a thread of its own.
pub const DROP_WAIT_MAX: Duration = Duration::from_secs(1);

/// Sends a librdkafka log line to `tracing`. Its lines hold addresses and topic names, never record contents.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    if facility == "CONFWARN" {
        // Settings of producers and consumers stand in one list; each kind leaves out the other's.
        return tracing::debug!(target: "librdkafka", facility, "{message}");
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
    }
}

/// Drops a client in a thread of its own and waits for it at most [`DROP_WAIT_MAX`].
pub(crate) fn drop_bounded<T: Send + 'static>(client: T) {
    let (done, wait) = mpsc::channel();
    let spawned = std::thread::Builder::new().name("kafka-drop".to_owned()).spawn(move || {
        drop(client);
        // Nobody waits any more when the time is over; that is fine.
        let _ = done.send(());
    });
    // A thread that could not be made has dropped the closure, and the client with it, right here.
    if spawned.is_ok() && wait.recv_timeout(DROP_WAIT_MAX).is_err() {
        tracing::warn!(
            "a Kafka client takes longer than {} s to close; it closes in the background",
            DROP_WAIT_MAX.as_secs()
        );
    }
}

/// librdkafka's code of an error, where it carries one.
pub(crate) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // The wrapper leaves this one out.
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// Whether the brokers could not be reached or did not answer, as against having answered with a refusal.
pub(crate) fn is_unreachable(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::TimedOutQueue
            | RDKafkaErrorCode::NodeUpdate
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
    )
}

/// Whether a broker refused because of who we are.
pub(crate) fn is_forbidden(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SSL
    )
}

/// Whether an answer is about a right that an ACL would give, as against a connection that was not let in at all.
pub(crate) fn is_acl(error: &KafkaError) -> bool {
    matches!(
        code_of(error),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
        )
    )
}

/// Whether a broker, or librdkafka from its metadata, says that the topic or partition is not there.
pub(crate) fn is_unknown_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic
    )
}
