//! Topics that were made for a trial on a real cluster are removed again. No connector and no subscriber calls this.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::foreign::{self, code_of};
use crate::link::Watch;
use crate::topics::{TopicError, wait};
use crate::{Link, Properties, PropertiesError};

/// How often the cluster is asked whether removed topics are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Which of these topics the cluster has.
///
/// # Errors
/// See [`TopicError`].
pub fn present(
    properties: &Properties,
    names: &[String],
    timeout: Duration,
) -> Result<Vec<String>, TopicError> {
    there(&admin(properties)?, names, timeout)
}

/// Removes topics with all that they hold, and waits until the cluster names none of them; one that is not there is none
/// too many.
///
/// # Errors
/// See [`TopicError`]; also when they are not gone in time.
pub fn remove(properties: &Properties, names: &[String], timeout: Duration) -> Result<(), TopicError> {
    let admin = admin(properties)?;
    let until = Instant::now() + timeout;
    let doomed = there(&admin, names, timeout)?;
    if doomed.is_empty() {
        return Ok(());
    }
    let words: Vec<&str> = doomed.iter().map(String::as_str).collect();
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    let first = words.first().copied().unwrap_or_default();
    let answers = wait(admin.delete_topics(&words, &options)).map_err(|error| refused(&error, first))?;
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(refused(&KafkaError::AdminOp(code), &topic)),
        }
    }
    while !there(&admin, names, timeout)?.is_empty() {
        if Instant::now() > until {
            return Err(refused(&KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut), first));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Asks for all topics: a question for one by name can make it.
fn there(admin: &AdminClient<Watch>, names: &[String], timeout: Duration) -> Result<Vec<String>, TopicError> {
    let metadata = admin.inner().fetch_metadata(None, timeout).map_err(|error| refused(&error, "any"))?;
    let known: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
    Ok(names.iter().filter(|name| known.contains(&name.as_str())).cloned().collect())
}

fn admin(properties: &Properties) -> Result<AdminClient<Watch>, PropertiesError> {
    properties
        .admin()
        .create_with_context(Watch(Link::default()))
        .map_err(|error: KafkaError| PropertiesError::NotUnderstood { reason: error.to_string() })
}

fn refused(error: &KafkaError, topic: &str) -> TopicError {
    let reason = error.to_string();
    match code_of(error) {
        Some(code) if foreign::is_unreachable(code) => TopicError::Unreachable { reason },
        _ => TopicError::Refused {
            topic: topic.to_owned(),
            reason,
            command: format!("kafka-topics.sh --bootstrap-server BROKER:PORT --delete --topic {topic}"),
        },
    }
}
