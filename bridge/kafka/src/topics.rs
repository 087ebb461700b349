//! The settings that a topic needs, checked and made. A cluster without the admin calls (the trial cluster, a proxy)
//! answers "not checked" instead of failing.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::foreign::{self, code_of};
use crate::properties::MESSAGE_BYTES_MAX;
use crate::{Disposition, Properties, PropertiesError};

/// The topic of the key records of all departments.
pub const KEYS: &str = "govbridge.keys";

/// The topic of the contract records of all departments.
pub const CONTRACTS: &str = "govbridge.contracts";

/// How a topic has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub topic: String,
    /// Its partitions, exactly so many.
    pub partitions: u32,
    /// Copies of each partition; three where data matters.
    pub replication: u32,
    /// How long records stay, in milliseconds; none means for ever.
    pub retention_ms: Option<u64>,
}

impl Plan {
    /// A dataset's topic, kept for `retention_ms`.
    pub fn of_dataset(topic: &str, partitions: u32, replication: u32, retention_ms: Option<u64>) -> Plan {
        Plan { topic: topic.to_owned(), partitions, replication, retention_ms }
    }

    /// [`KEYS`] and [`CONTRACTS`]: one partition each, kept for ever, never compacted.
    pub fn of_records(replication: u32) -> [Plan; 2] {
        [KEYS, CONTRACTS].map(|topic| Plan {
            topic: topic.to_owned(),
            partitions: 1,
            replication,
            retention_ms: None,
        })
    }

    /// The topic's settings by Kafka's names.
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        let retention = self.retention_ms.map_or_else(|| "-1".to_owned(), |ms| ms.to_string());
        BTreeMap::from([
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention),
            ("retention.bytes", "-1".to_owned()),
            ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
            ("min.insync.replicas", self.min_insync().to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ])
    }

    /// One fewer than the copies, so that one broker may be away; at least one.
    fn min_insync(&self) -> u32 {
        self.replication.saturating_sub(1).max(1)
    }
}

/// One thing about a topic that is not as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The topic.
    pub topic: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Everything is as planned.
    Good,
    /// The topic is not there.
    Missing,
    /// It is there and something is wrong.
    Problems(Vec<Problem>),
    /// The cluster does not answer such questions.
    NotChecked {
        /// Its words.
        reason: String,
    },
}

/// What became of a request to make a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    Made,
    /// It was there; check it.
    AlreadyThere,
    /// The cluster does not take such requests.
    NotSupported {
        /// Its words.
        reason: String,
    },
}

/// A topic could not be checked or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The settings are wrong.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// No broker answers.
    #[error("FET002: no broker answers ({reason}); check bootstrap.servers and the network")]
    Unreachable {
        /// librdkafka's words.
        reason: String,
    },
    /// The cluster refuses.
    #[error(
        "PUB009: Kafka refuses for the topic {topic}: {reason}; check the credentials and the ACLs, or ask the cluster's operator to make the topic as printed"
    )]
    Refused {
        /// The topic.
        topic: String,
        /// Kafka's words.
        reason: String,
    },
}

impl TopicError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            TopicError::Properties(error) => error.code(),
            TopicError::Unreachable { .. } => "FET002",
            TopicError::Refused { .. } => "PUB009",
        }
    }

    /// Retry when no broker answers, else Halt.
    pub fn disposition(&self) -> Disposition {
        match self {
            TopicError::Unreachable { .. } => Disposition::Retry,
            TopicError::Properties(_) | TopicError::Refused { .. } => Disposition::Halt,
        }
    }
}

/// Compares a topic with its plan. `timeout` bounds each of the two questions to the cluster.
///
/// # Errors
/// See [`TopicError`]. A cluster that knows no such question is no error: [`Checked::NotChecked`].
pub fn check(properties: &Properties, plan: &Plan, timeout: Duration) -> Result<Checked, TopicError> {
    let admin = admin(properties)?;
    let mut problems = Vec::new();
    let Cluster { partitions, broker } = cluster(&admin, plan, timeout)?;
    let Some(partitions) = partitions else {
        return Ok(Checked::Missing);
    };
    if u32::try_from(partitions) != Ok(plan.partitions) {
        problems.push(problem(
            plan,
            format!("it has {partitions} partitions, and the contract says {}", plan.partitions),
            "a topic's partitions are never changed in place; make a new dataset version".to_owned(),
        ));
    }
    if let Some(reason) = unsupported(&admin, broker, timeout) {
        return Ok(if problems.is_empty() {
            Checked::NotChecked { reason }
        } else {
            Checked::Problems(problems)
        });
    }
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let described = wait(admin.describe_configs([&ResourceSpecifier::Topic(&plan.topic)], &options));
    let resource = match described {
        Ok(mut answers) => answers
            .pop()
            .unwrap_or(Err(RDKafkaErrorCode::UnknownTopicOrPartition))
            .map_err(KafkaError::AdminOp),
        Err(error) => Err(error),
    };
    match resource {
        Ok(resource) => {
            let found: BTreeMap<&str, &str> = resource
                .entries
                .iter()
                .filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)))
                .collect();
            problems.extend(compare(plan, &found));
        }
        Err(error) if is_unanswered(&error) && problems.is_empty() => {
            return Ok(Checked::NotChecked { reason: error.to_string() });
        }
        Err(error) if is_unanswered(&error) => {}
        Err(error) => return Err(refused(&error, &plan.topic)),
    }
    Ok(if problems.is_empty() { Checked::Good } else { Checked::Problems(problems) })
}

/// Makes a topic as planned; one that is there is left as it is.
///
/// # Errors
/// See [`TopicError`].
pub fn create(properties: &Properties, plan: &Plan, timeout: Duration) -> Result<Created, TopicError> {
    let admin = admin(properties)?;
    let Cluster { partitions, broker } = cluster(&admin, plan, timeout)?;
    if partitions.is_some() {
        return Ok(Created::AlreadyThere);
    }
    if let Some(reason) = unsupported(&admin, broker, timeout) {
        return Ok(Created::NotSupported { reason });
    }
    let settings = plan.settings();
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let mut topic = NewTopic::new(
        &plan.topic,
        number(plan.partitions),
        TopicReplication::Fixed(number(plan.replication)),
    );
    for (name, value) in &settings {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    let outcome = match wait(admin.create_topics([&topic], &options)) {
        Ok(mut answers) => {
            answers.pop().unwrap_or(Ok(String::new())).map_err(|(_, code)| KafkaError::AdminOp(code))
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(_) => Ok(Created::Made),
        Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(Created::AlreadyThere),
        Err(error) if is_unanswered(&error) => Ok(Created::NotSupported { reason: error.to_string() }),
        Err(error) => Err(refused(&error, &plan.topic)),
    }
}

/// What the cluster says of itself.
struct Cluster {
    /// How many partitions the topic has; none when it is not there.
    partitions: Option<usize>,
    /// One of the brokers.
    broker: Option<i32>,
}

/// Asks for all topics: a question for one by name can make it.
fn cluster(
    admin: &AdminClient<DefaultClientContext>,
    plan: &Plan,
    timeout: Duration,
) -> Result<Cluster, TopicError> {
    let metadata =
        admin.inner().fetch_metadata(None, timeout).map_err(|error| refused(&error, &plan.topic))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == plan.topic);
    Ok(Cluster {
        partitions: topic.map(|topic| topic.partitions().len()),
        broker: metadata.brokers().first().map(|broker| broker.id()),
    })
}

/// Why this cluster answers no admin call, when it says so itself; what is not sure is found out by the call.
///
/// Calls about topics go to the controller, and the trial cluster names one that it does not have: librdkafka would look
/// for it until the time is over. A call about a broker goes to that broker, whose list of calls tells at once.
fn unsupported(
    admin: &AdminClient<DefaultClientContext>,
    broker: Option<i32>,
    timeout: Duration,
) -> Option<String> {
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let described = wait(admin.describe_configs([&ResourceSpecifier::Broker(broker?)], &options));
    let error = match described {
        Ok(mut answers) => KafkaError::AdminOp(answers.pop()?.err()?),
        Err(error) => error,
    };
    (code_of(&error) == Some(RDKafkaErrorCode::UnsupportedFeature)).then(|| error.to_string())
}

/// What differs between a plan and the settings that a cluster reports.
fn compare(plan: &Plan, found: &BTreeMap<&str, &str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, wanted) in plan.settings() {
        let value = found.get(name).copied().unwrap_or_default();
        let good = match name {
            "max.message.bytes" | "min.insync.replicas" => at_least(value, &wanted),
            "retention.ms" => value == "-1" || (wanted != "-1" && at_least(value, &wanted)),
            _ => value == wanted,
        };
        if !good {
            let shown = if value.is_empty() { "not reported" } else { value };
            problems.push(problem(plan, format!("{name} is {shown}"), format!("set {name}={wanted}")));
        }
    }
    problems
}

fn at_least(value: &str, wanted: &str) -> bool {
    matches!((value.parse::<u64>(), wanted.parse::<u64>()), (Ok(value), Ok(wanted)) if value >= wanted)
}

fn problem(plan: &Plan, what: String, remedy: String) -> Problem {
    Problem { topic: plan.topic.clone(), what, remedy }
}

pub(crate) fn admin(properties: &Properties) -> Result<AdminClient<DefaultClientContext>, PropertiesError> {
    properties
        .admin()
        .create()
        .map_err(|error: KafkaError| PropertiesError::NotUnderstood { reason: error.to_string() })
}

/// Whether the cluster, which has just answered a question for its topics, does not know an admin call. A proxy or the
/// broken cluster cuts the connection instead of saying so, and librdkafka tries until its time is over.
fn is_unanswered(error: &KafkaError) -> bool {
    matches!(
        code_of(error),
        Some(
            RDKafkaErrorCode::UnsupportedFeature
                | RDKafkaErrorCode::UnsupportedVersion
                | RDKafkaErrorCode::NotImplemented
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
        )
    )
}

pub(crate) fn refused(error: &KafkaError, topic: &str) -> TopicError {
    let reason = error.to_string();
    match code_of(error) {
        Some(code) if foreign::is_unreachable(code) => TopicError::Unreachable { reason },
        _ => TopicError::Refused { topic: topic.to_owned(), reason },
    }
}

/// Wakes the thread that waits for an admin call.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits in this thread. The admin client answers each call by its request time-out at the latest.
pub(crate) fn wait<F: Future>(call: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut call = pin!(call);
    loop {
        match call.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_records_are_kept_for_ever_and_never_compacted() {
        for plan in Plan::of_records(3) {
            let settings = plan.settings();
            assert_eq!(settings["cleanup.policy"], "delete");
            assert_eq!(settings["retention.ms"], "-1");
            assert_eq!(settings["min.insync.replicas"], "2");
            assert_eq!(plan.partitions, 1);
        }
    }

    #[test]
    fn each_setting_that_differs_is_named_with_its_remedy() {
        let plan = Plan::of_dataset("govbridge.tax.payments", 1, 3, Some(1000));
        let good = BTreeMap::from([
            ("cleanup.policy", "delete"),
            ("retention.ms", "5000"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "10485760"),
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
        ]);
        assert_eq!(compare(&plan, &good), []);
        for (name, value) in [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "999"),
            ("retention.bytes", "1000"),
            ("max.message.bytes", "1048588"),
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "true"),
        ] {
            let mut bad = good.clone();
            bad.insert(name, value);
            let problems = compare(&plan, &bad);
            assert_eq!(problems.len(), 1, "{name}");
            assert!(problems[0].what.contains(name) && problems[0].remedy.contains(name));
        }
    }
}
