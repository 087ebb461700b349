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
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::foreign::{self, code_of};
use crate::link::Watch;
use crate::properties::MESSAGE_BYTES_MAX;
use crate::{Disposition, FetchError, Fetcher, Link, Properties, PropertiesError, Refusal};

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
            // Ciphertext does not compress, and a broker that tried would only burn its processors.
            ("compression.type", "producer".to_owned()),
            // With the sender's time a wrong clock there would let retention remove what nobody has read.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
        ])
    }

    /// The command that makes the topic as planned.
    pub fn command(&self) -> String {
        let configs: String =
            self.settings().iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
        format!(
            "kafka-topics.sh --bootstrap-server BROKER:PORT --create --topic {} --partitions {} --replication-factor {}{configs}",
            self.topic, self.partitions, self.replication
        )
    }

    /// The command that sets one setting.
    fn alter(&self, name: &str, value: &str) -> String {
        format!(
            "kafka-configs.sh --bootstrap-server BROKER:PORT --alter --entity-type topics --entity-name {} --add-config {name}={value}",
            self.topic
        )
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
    /// It keeps the promise, and something about it is not as planned.
    Remarks(Vec<Problem>),
    /// It is there and something is wrong.
    Problems(Vec<Problem>),
    /// The cluster does not answer such questions, or not from this account.
    NotChecked {
        /// Its words, and what was not checked.
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
    /// No connection as configured comes about.
    #[error(transparent)]
    Connection(#[from] Refusal),
    /// The cluster refuses.
    #[error(
        "PUB009: Kafka refuses for the topic {topic}: {reason}; check the credentials and the ACLs, or let the cluster's operator run: {command}"
    )]
    Refused {
        /// The topic.
        topic: String,
        /// Kafka's words.
        reason: String,
        /// What makes the topic as planned.
        command: String,
    },
}

impl TopicError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            TopicError::Properties(error) => error.code(),
            TopicError::Unreachable { .. } => "FET002",
            TopicError::Connection(refusal) => refusal.code(),
            TopicError::Refused { .. } => "PUB009",
        }
    }

    /// Retry when no broker answers, else Halt.
    pub fn disposition(&self) -> Disposition {
        match self {
            TopicError::Unreachable { .. } => Disposition::Retry,
            TopicError::Connection(refusal) => refusal.disposition(),
            TopicError::Properties(_) | TopicError::Refused { .. } => Disposition::Halt,
        }
    }
}

/// Compares a topic with its plan. `timeout` bounds each of the questions to the cluster.
///
/// # Errors
/// See [`TopicError`]. A cluster that knows no such question is no error: [`Checked::NotChecked`].
pub fn check(properties: &Properties, plan: &Plan, timeout: Duration) -> Result<Checked, TopicError> {
    let checked = check_all(properties, std::slice::from_ref(plan), timeout)?;
    Ok(checked.into_iter().next().unwrap_or(Checked::Missing))
}

/// Compares topics with their plans, in their order, with one client and one question of each kind for all.
///
/// # Errors
/// See [`TopicError`].
pub fn check_all(
    properties: &Properties,
    plans: &[Plan],
    timeout: Duration,
) -> Result<Vec<Checked>, TopicError> {
    let admin = Admin::new(properties)?;
    let cluster = admin.cluster(plans, timeout)?;
    let there: Vec<&Plan> = plans.iter().filter(|plan| cluster.topics.contains_key(&plan.topic)).collect();
    let mut described = if there.is_empty() {
        Ok(BTreeMap::new())
    } else {
        match admin.unsupported(cluster.broker, timeout) {
            Some(reason) => Err(reason),
            None => admin.describe(&there, timeout)?,
        }
    };
    let checked = plans.iter().map(|plan| {
        let Some(topic) = cluster.topics.get(&plan.topic) else { return Checked::Missing };
        let settings = match &mut described {
            Ok(described) => described.remove(&plan.topic).unwrap_or_else(|| Err("no answer".to_owned())),
            Err(reason) => Err(reason.clone()),
        };
        judge(plan, *topic, settings)
    });
    Ok(checked.collect())
}

/// A topic's settings by name, or in words why they are not told.
type Described = Result<BTreeMap<String, String>, String>;

fn judge(plan: &Plan, topic: Topic, settings: Described) -> Checked {
    let mut problems = Vec::new();
    if u32::try_from(topic.partitions) != Ok(plan.partitions) {
        problems.push(problem(
            plan,
            format!("it has {} partitions, and the contract says {}", topic.partitions, plan.partitions),
            "a topic's partitions are never changed in place; make a new dataset version".to_owned(),
        ));
    }
    let (remarks, untold) = match settings {
        Ok(settings) => {
            let settings: BTreeMap<&str, &str> =
                settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            problems.extend(compare(plan, &settings));
            problems.extend(unwritable(plan, topic, &settings));
            (remarks(plan, topic, &settings), None)
        }
        Err(reason) => {
            let names: Vec<&str> = plan.settings().into_keys().collect();
            (Vec::new(), Some(format!("{reason}; not checked: {}", names.join(", "))))
        }
    };
    match untold {
        _ if !problems.is_empty() => Checked::Problems(problems),
        Some(reason) => Checked::NotChecked { reason },
        None if remarks.is_empty() => Checked::Good,
        None => Checked::Remarks(remarks),
    }
}

/// Makes a topic as planned; one that is there is left as it is.
///
/// # Errors
/// See [`TopicError`].
pub fn create(properties: &Properties, plan: &Plan, timeout: Duration) -> Result<Created, TopicError> {
    let admin = Admin::new(properties)?;
    let cluster = admin.cluster(std::slice::from_ref(plan), timeout)?;
    if cluster.topics.contains_key(&plan.topic) {
        return Ok(Created::AlreadyThere);
    }
    if let Some(reason) = admin.unsupported(cluster.broker, timeout) {
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
    let outcome = match wait(admin.client.create_topics([&topic], &options)) {
        Ok(mut answers) => {
            answers.pop().unwrap_or(Ok(String::new())).map_err(|(_, code)| KafkaError::AdminOp(code))
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(_) => Ok(Created::Made),
        Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(Created::AlreadyThere),
        Err(error) if is_unanswered(&error) => Ok(Created::NotSupported { reason: error.to_string() }),
        Err(error) => Err(admin.refused(&error, plan)),
    }
}

/// What the cluster says of itself.
struct Cluster {
    /// The topics that were asked for and are there.
    topics: BTreeMap<String, Topic>,
    /// One of the brokers.
    broker: Option<i32>,
}

/// What the cluster says of a topic without its settings.
#[derive(Clone, Copy, Debug)]
struct Topic {
    partitions: usize,
    /// Copies of the partition that has the fewest.
    replicas: usize,
}

/// An administrator's client, and a reader of nothing: only that one is told why a connection fails.
struct Admin {
    client: AdminClient<Watch>,
    asking: Fetcher,
}

impl Admin {
    fn new(properties: &Properties) -> Result<Admin, PropertiesError> {
        let client = properties
            .admin()
            .create_with_context(Watch(Link::default()))
            .map_err(|error: KafkaError| PropertiesError::NotUnderstood { reason: error.to_string() })?;
        Ok(Admin { client, asking: Fetcher::new(properties)? })
    }

    /// Asks for all topics: a question for one by name can make it.
    fn cluster(&self, plans: &[Plan], timeout: Duration) -> Result<Cluster, TopicError> {
        let metadata = self.asking.metadata(timeout).map_err(|error| match (error, plans.first()) {
            (FetchError::Connection(refusal), _) => TopicError::Connection(refusal),
            (FetchError::Unreachable { reason }, _) => TopicError::Unreachable { reason },
            (error, Some(plan)) => TopicError::Refused {
                topic: plan.topic.clone(),
                reason: error.to_string(),
                command: plan.command(),
            },
            (error, None) => TopicError::Unreachable { reason: error.to_string() },
        })?;
        let wanted = |name: &str| plans.iter().any(|plan| plan.topic == name);
        let topics = metadata.topics().iter().filter(|topic| wanted(topic.name())).map(|topic| {
            let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
            let found =
                Topic { partitions: topic.partitions().len(), replicas: replicas.unwrap_or_default() };
            (topic.name().to_owned(), found)
        });
        Ok(Cluster { topics: topics.collect(), broker: metadata.brokers().first().map(|broker| broker.id()) })
    }

    /// Why this cluster answers no admin call, when it says so itself; what is not sure is found out by the call.
    ///
    /// Calls about topics go to the controller, and the trial cluster names one that it does not have: librdkafka would
    /// look for it until the time is over. A call about a broker goes to that broker, whose list of calls tells at once.
    fn unsupported(&self, broker: Option<i32>, timeout: Duration) -> Option<String> {
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let described = wait(self.client.describe_configs([&ResourceSpecifier::Broker(broker?)], &options));
        let error = match described {
            Ok(mut answers) => KafkaError::AdminOp(answers.pop()?.err()?),
            Err(error) => error,
        };
        (code_of(&error) == Some(RDKafkaErrorCode::UnsupportedFeature)).then(|| error.to_string())
    }

    /// The settings of topics; in words why the cluster tells none at all.
    fn describe(
        &self,
        plans: &[&Plan],
        timeout: Duration,
    ) -> Result<Result<BTreeMap<String, Described>, String>, TopicError> {
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let wanted: Vec<_> = plans.iter().map(|plan| ResourceSpecifier::Topic(&plan.topic)).collect();
        let answers = match wait(self.client.describe_configs(&wanted, &options)) {
            Ok(answers) => answers,
            Err(error) if is_untold(&error) => return Ok(Err(error.to_string())),
            Err(error) => match plans.first() {
                Some(plan) => return Err(self.refused(&error, plan)),
                None => return Ok(Err(error.to_string())),
            },
        };
        let mut described = BTreeMap::new();
        // librdkafka answers in the order of the questions; an answer that failed does not say for which it is.
        for (plan, answer) in plans.iter().zip(answers) {
            let settings = match answer {
                // rdkafka leaves out why one topic's settings are refused; every topic that may be described has some.
                Ok(resource) if resource.entries.is_empty() => Err(UNTOLD.to_owned()),
                Ok(resource) => {
                    let told = resource.entries.into_iter();
                    Ok(told.filter_map(|entry| Some((entry.name, entry.value?))).collect())
                }
                Err(code) if is_untold(&KafkaError::AdminOp(code)) => Err(code.to_string()),
                Err(code) => return Err(self.refused(&KafkaError::AdminOp(code), plan)),
            };
            described.insert(plan.topic.clone(), settings);
        }
        Ok(Ok(described))
    }

    fn refused(&self, error: &KafkaError, plan: &Plan) -> TopicError {
        let reason = error.to_string();
        match code_of(error) {
            Some(code) if foreign::is_unreachable(code) => TopicError::Unreachable { reason },
            _ => TopicError::Refused { topic: plan.topic.clone(), reason, command: plan.command() },
        }
    }
}

/// Why a topic's settings are not told.
const UNTOLD: &str = "the account may not describe them: it needs the ACL operation DescribeConfigs";

/// What differs between a plan and the settings that a cluster reports.
fn compare(plan: &Plan, found: &BTreeMap<&str, &str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, wanted) in plan.settings() {
        let value = found.get(name).copied().unwrap_or_default();
        let good = match name {
            "max.message.bytes" | "min.insync.replicas" => at_least(value, &wanted),
            "retention.ms" => value == "-1" || (wanted != "-1" && at_least(value, &wanted)),
            // Of these the promise does not depend: they are remarks.
            "compression.type" | "message.timestamp.type" => true,
            _ => value == wanted,
        };
        if !good {
            let shown = if value.is_empty() { "not reported" } else { value };
            let what = format!("{name} is {shown} and has to be {wanted}");
            problems.push(problem(plan, what, format!("run: {}", plan.alter(name, &wanted))));
        }
    }
    problems
}

/// More in-sync replicas are demanded than there can be: no frame would ever be acknowledged.
fn unwritable(plan: &Plan, topic: Topic, found: &BTreeMap<&str, &str>) -> Option<Problem> {
    let insync: usize = found.get("min.insync.replicas")?.parse().ok()?;
    (insync > topic.replicas).then(|| {
        let what =
            format!("min.insync.replicas is {insync} and each partition has {} replicas", topic.replicas);
        let wanted = topic.replicas.saturating_sub(1).max(1).to_string();
        problem(plan, what, format!("run: {}", plan.alter("min.insync.replicas", &wanted)))
    })
}

/// What is not as planned and does not touch the promise.
fn remarks(plan: &Plan, topic: Topic, found: &BTreeMap<&str, &str>) -> Vec<Problem> {
    let mut remarks = Vec::new();
    if u32::try_from(topic.replicas).is_ok_and(|replicas| replicas < plan.replication) {
        let what = format!(
            "it has {} replicas, and `replication` under [topics] is {}",
            topic.replicas, plan.replication
        );
        let remedy = "add replicas with kafka-reassign-partitions.sh, or set `replication` to what there is";
        remarks.push(problem(plan, what, remedy.to_owned()));
    }
    for (name, wanted) in plan.settings() {
        let value = found.get(name).copied().unwrap_or(&wanted);
        if matches!(name, "compression.type" | "message.timestamp.type") && value != wanted {
            let what = format!("{name} is {value}, better {wanted}");
            remarks.push(problem(plan, what, format!("run: {}", plan.alter(name, &wanted))));
        }
    }
    let replicas = topic.replicas.to_string();
    if topic.replicas > 1 && found.get("min.insync.replicas") == Some(&replicas.as_str()) {
        let what =
            format!("min.insync.replicas is {replicas}, all there are: one broker away stops the stream");
        let wanted = topic.replicas.saturating_sub(1).to_string();
        remarks.push(problem(plan, what, format!("run: {}", plan.alter("min.insync.replicas", &wanted))));
    }
    remarks
}

fn at_least(value: &str, wanted: &str) -> bool {
    matches!((value.parse::<u64>(), wanted.parse::<u64>()), (Ok(value), Ok(wanted)) if value >= wanted)
}

fn problem(plan: &Plan, what: String, remedy: String) -> Problem {
    Problem { topic: plan.topic.clone(), what, remedy }
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

/// Whether the cluster does not tell settings, or not this account.
fn is_untold(error: &KafkaError) -> bool {
    is_unanswered(error) || foreign::is_acl(error)
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
