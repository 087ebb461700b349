//! librdkafka's settings, by its own names, and the few that nobody may change.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::Deserialize;

/// The largest frame that a record may hold: 8 MiB (the sealed batch format's own limit).
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The largest record that a producer sends: a frame, and 64 KiB for the key hint and Kafka's own framing.
pub(crate) const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX + 64 * 1024;

/// Bytes that wait in a producer when nothing else is set: 32 MiB, in librdkafka's unit of KiB.
const PUBLISH_QUEUE_KBYTES: &str = "32768";

/// Bytes that wait in a consumer for each partition when nothing else is set: 16 MiB, twice the largest frame.
const FETCH_QUEUE_KBYTES: &str = "16384";

/// How long a record may wait for its acknowledgement when nothing else is set: 120 s. After it the publisher is broken
/// and the connector starts again with a new epoch, so a shorter time only costs work.
const MESSAGE_TIMEOUT_MS: &str = "120000";

/// How long a consumer whose queue is full waits before it asks for more: 10 ms. librdkafka's own 1 s lets a reader that
/// is faster than that stand still nine tenths of its time.
const FETCH_QUEUE_BACKOFF_MS: &str = "10";

/// The longest pause between two tries to reach a broker that is away: 2 s. librdkafka's own is 10 s, which a path that is
/// watched by freshness would wait for after every outage.
const RECONNECT_BACKOFF_MAX_MS: &str = "2000";

/// How often librdkafka counts: 1 s. `/health` says within that time that no broker is there.
const STATISTICS_MS: &str = "1000";

/// The group name when nothing else is set. librdkafka wants one before it assigns partitions by hand; nobody joins a
/// group and nothing is committed under it.
const GROUP: &str = "govbridge-reader";

/// Settings of librdkafka, passed through by their own names (`bootstrap.servers`, `security.protocol`, ...).
///
/// Those that would break the promise are refused by name. Secrets in it do not show in its `Debug` form.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Properties(BTreeMap<String, String>);

/// A setting that is missing, refused or not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// No brokers are named.
    #[error(
        "PUB010: the Kafka setting bootstrap.servers is missing; name the brokers as host:port,host:port"
    )]
    NoBrokers,
    /// A setting that would break the promise.
    #[error("PUB010: the Kafka setting {name}={value} is refused, because {why}; {remedy}")]
    Refused {
        /// librdkafka's name of it.
        name: String,
        /// The value given.
        value: String,
        /// What it would break.
        why: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// librdkafka does not know the setting or its value.
    #[error(
        "PUB011: librdkafka does not accept the Kafka settings: {reason}; look the name up in librdkafka's CONFIGURATION.md"
    )]
    NotUnderstood {
        /// librdkafka's words.
        reason: String,
    },
}

impl PropertiesError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            PropertiesError::NoBrokers | PropertiesError::Refused { .. } => "PUB010",
            PropertiesError::NotUnderstood { .. } => "PUB011",
        }
    }

    /// Always [`Disposition::Halt`](crate::Disposition::Halt): the configuration file has to change.
    pub fn disposition(&self) -> crate::Disposition {
        crate::Disposition::Halt
    }
}

/// What is allowed of a guarded setting.
enum Allowed {
    /// Only these values.
    Only(&'static [&'static str]),
    /// A whole number within these bounds, both inclusive.
    Between(u64, u64),
    /// Nothing at all: the setting is ours.
    Never,
}

/// One guarded setting: name, what is allowed, why, remedy.
struct Guard(&'static str, Allowed, &'static str, &'static str);

const REMOVE: &str = "remove the line";

const GUARDS: &[Guard] = &[
    Guard(
        "enable.idempotence",
        Allowed::Only(&["true"]),
        "without it a retry stores a batch twice or out of order",
        REMOVE,
    ),
    Guard(
        "acks",
        Allowed::Only(&["all", "-1"]),
        "a batch may be acknowledged before all in-sync replicas have it",
        REMOVE,
    ),
    Guard(
        "request.required.acks",
        Allowed::Only(&["all", "-1"]),
        "a batch may be acknowledged before all in-sync replicas have it",
        REMOVE,
    ),
    Guard(
        "transactional.id",
        Allowed::Never,
        "the order of a stream is kept by signed sequences, not by Kafka's transactions",
        REMOVE,
    ),
    Guard(
        "max.in.flight",
        Allowed::Between(1, 5),
        "idempotence holds up to 5 requests in flight",
        "set 1 to 5 or remove the line",
    ),
    Guard(
        "max.in.flight.requests.per.connection",
        Allowed::Between(1, 5),
        "idempotence holds up to 5 requests in flight",
        "set 1 to 5 or remove the line",
    ),
    Guard(
        "retries",
        Allowed::Between(1, i32::MAX as u64),
        "without retries each short outage ends the epoch",
        REMOVE,
    ),
    Guard(
        "message.send.max.retries",
        Allowed::Between(1, i32::MAX as u64),
        "without retries each short outage ends the epoch",
        REMOVE,
    ),
    Guard(
        "message.timeout.ms",
        Allowed::Between(1, 3_600_000),
        "a record that waits for ever holds the source's log back without a word",
        "set 1 to 3600000",
    ),
    Guard(
        "delivery.timeout.ms",
        Allowed::Between(1, 3_600_000),
        "a record that waits for ever holds the source's log back without a word",
        "set 1 to 3600000",
    ),
    Guard(
        "delivery.report.only.error",
        Allowed::Only(&["false"]),
        "each batch needs its acknowledgement",
        REMOVE,
    ),
    Guard("queuing.strategy", Allowed::Only(&["fifo"]), "batches would leave in the wrong order", REMOVE),
    Guard(
        "queue.buffering.max.kbytes",
        Allowed::Between(16_384, 1_048_576),
        "the queue holds at least two frames of 8 MiB and at most 1 GiB",
        "set 16384 to 1048576 or remove the line",
    ),
    Guard(
        "queue.buffering.max.messages",
        Allowed::Between(16, 10_000_000),
        "0 means without a limit",
        "set 16 to 10000000 or remove the line",
    ),
    Guard(
        "message.max.bytes",
        Allowed::Between(MESSAGE_BYTES_MAX as u64, 1_000_000_000),
        "a frame of 8 MiB must fit a record",
        "set 8454144 or more, or remove the line",
    ),
    Guard(
        "auto.offset.reset",
        Allowed::Only(&["error"]),
        "a reader whose place is gone would skip data without a word",
        REMOVE,
    ),
    Guard(
        "isolation.level",
        Allowed::Only(&["read_uncommitted"]),
        "a transaction that anybody leaves open in a topic would stop every reader of it",
        REMOVE,
    ),
    Guard(
        "topic.auto.offset.reset",
        Allowed::Never,
        "a reader whose place is gone would skip data without a word",
        REMOVE,
    ),
    Guard(
        "enable.auto.commit",
        Allowed::Only(&["false"]),
        "a reader's progress stands in its own store, in one write with what it delivered",
        REMOVE,
    ),
    Guard(
        "auto.commit.enable",
        Allowed::Only(&["false"]),
        "a reader's progress stands in its own store, in one write with what it delivered",
        REMOVE,
    ),
    Guard(
        "enable.auto.offset.store",
        Allowed::Only(&["false"]),
        "a reader's progress stands in its own store, in one write with what it delivered",
        REMOVE,
    ),
    Guard("group.instance.id", Allowed::Never, "readers join no group", REMOVE),
    Guard(
        "enable.partition.eof",
        Allowed::Never,
        "the reader asks for the end of a partition itself",
        REMOVE,
    ),
    Guard(
        "check.crcs",
        Allowed::Only(&["true"]),
        "damaged records would first be found by the signature, as if someone had forged them",
        REMOVE,
    ),
    Guard(
        "queued.max.messages.kbytes",
        Allowed::Between(8_256, 1_048_576),
        "the queue holds at least one frame of 8 MiB and at most 1 GiB",
        "set 8256 to 1048576 or remove the line",
    ),
    Guard(
        "allow.auto.create.topics",
        Allowed::Only(&["false"]),
        "a misspelt topic would be made with the broker's own settings",
        REMOVE,
    ),
    Guard(
        "test.mock.num.brokers",
        Allowed::Never,
        "it replaces the brokers by an empty cluster in memory",
        "use the trial cluster of the demo",
    ),
    Guard(
        "plugin.library.paths",
        Allowed::Never,
        "it loads foreign code into the process that holds the keys",
        REMOVE,
    ),
    Guard(
        "statistics.interval.ms",
        Allowed::Between(100, 60_000),
        "without statistics nobody is told that Kafka is away",
        "set 100 to 60000 or remove the line",
    ),
    Guard("builtin.features", Allowed::Never, "it is read only", REMOVE),
];

const SECRET_PARTS: &[&str] =
    &["password", "secret", "ssl.key.pem", "sasl.oauthbearer.config", "private.key"];

impl Properties {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting, in the order of names, that is refused; or that no brokers are named.
    pub fn new(settings: BTreeMap<String, String>) -> Result<Properties, PropertiesError> {
        for (name, value) in &settings {
            check(name, value)?;
        }
        let brokers = settings.get("bootstrap.servers").or_else(|| settings.get("metadata.broker.list"));
        if brokers.is_none_or(|brokers| brokers.trim().is_empty()) {
            return Err(PropertiesError::NoBrokers);
        }
        Ok(Properties(settings))
    }

    /// Settings that name the brokers and nothing else.
    ///
    /// # Errors
    /// When the list is empty.
    pub fn of_brokers(bootstrap: &str) -> Result<Properties, PropertiesError> {
        Properties::new(BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]))
    }

    /// The same settings with one more, or one replaced.
    ///
    /// # Errors
    /// When the new one is refused.
    pub fn with(mut self, name: &str, value: &str) -> Result<Properties, PropertiesError> {
        check(name, value)?;
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(self)
    }

    /// The configuration of a producer: our defaults, then the given settings, then what is not negotiable.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = base();
        config
            .set("statistics.interval.ms", STATISTICS_MS)
            .set("queue.buffering.max.kbytes", PUBLISH_QUEUE_KBYTES)
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("linger.ms", "0")
            .set("compression.type", "none");
        // The time-out has two names; ours must not stand beside theirs.
        if !self.0.contains_key("delivery.timeout.ms") {
            config.set("message.timeout.ms", MESSAGE_TIMEOUT_MS);
        }
        self.apply(&mut config);
        config.set("enable.idempotence", "true").set("acks", "all");
        config
    }

    /// The configuration of a consumer.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = base();
        config
            .set("statistics.interval.ms", STATISTICS_MS)
            .set("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS)
            .set("queued.max.messages.kbytes", FETCH_QUEUE_KBYTES)
            .set("group.id", GROUP)
            .set("fetch.wait.max.ms", "100");
        self.apply(&mut config);
        config
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            // Nothing here is believed because Kafka committed it, and whoever may write to a topic could otherwise stop all
            // its readers: a transaction that is left open holds back every record behind it.
            .set("isolation.level", "read_uncommitted")
            .set("check.crcs", "true");
        config
    }

    /// The configuration of an administrator's client.
    pub(crate) fn admin(&self) -> ClientConfig {
        let mut config = base();
        self.apply(&mut config);
        config
    }

    fn apply(&self, config: &mut ClientConfig) {
        for (name, value) in &self.0 {
            config.set(name, value);
        }
    }
}

/// What every client begins with. Why a connection fails stands in librdkafka's lines of level Info and above.
fn base() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info).set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS);
    config
}

fn check(name: &str, value: &str) -> Result<(), PropertiesError> {
    let Some(Guard(_, allowed, why, remedy)) = GUARDS.iter().find(|guard| guard.0 == name) else {
        return Ok(());
    };
    let good = match allowed {
        Allowed::Only(values) => values.iter().any(|good| good.eq_ignore_ascii_case(value)),
        Allowed::Between(low, high) => {
            value.parse::<u64>().is_ok_and(|value| (*low..=*high).contains(&value))
        }
        Allowed::Never => false,
    };
    if good {
        return Ok(());
    }
    Err(PropertiesError::Refused { name: name.to_owned(), value: value.to_owned(), why, remedy })
}

impl TryFrom<BTreeMap<String, String>> for Properties {
    type Error = PropertiesError;

    fn try_from(settings: BTreeMap<String, String>) -> Result<Properties, PropertiesError> {
        Properties::new(settings)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, value)| {
            let secret = SECRET_PARTS.iter().any(|part| name.contains(part));
            (name, if secret { "(hidden)" } else { value.as_str() })
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<Properties, PropertiesError> {
        Properties::of_brokers("127.0.0.1:9092").unwrap().with(name, value)
    }

    #[test]
    fn settings_that_break_the_promise_are_refused_by_name() {
        let refused = [
            ("enable.idempotence", "false"),
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "true"),
            ("enable.auto.offset.store", "true"),
            ("transactional.id", "x"),
            ("check.crcs", "false"),
            ("max.in.flight", "6"),
            ("retries", "0"),
            ("queue.buffering.max.kbytes", "1"),
            ("queue.buffering.max.messages", "0"),
            ("message.timeout.ms", "0"),
            ("message.max.bytes", "1000000"),
            ("queuing.strategy", "lifo"),
            ("test.mock.num.brokers", "1"),
            ("plugin.library.paths", "/lib/x.so"),
        ];
        for (name, value) in refused {
            let error = with(name, value).unwrap_err();
            assert_eq!(error.code(), "PUB010");
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(value), "{text}");
        }
    }

    #[test]
    fn every_other_setting_passes_through() {
        for (name, value) in
            [("acks", "all"), ("sasl.username", "tax"), ("linger.ms", "3"), ("message.timeout.ms", "900")]
        {
            let config = with(name, value).unwrap().producer();
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_transaction_that_somebody_leaves_open_stops_no_reader() {
        let config = Properties::of_brokers("127.0.0.1:9092").unwrap().consumer();
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
    }

    #[test]
    fn a_configuration_without_brokers_is_refused() {
        assert_eq!(Properties::new(BTreeMap::new()), Err(PropertiesError::NoBrokers));
        assert_eq!(Properties::of_brokers("  "), Err(PropertiesError::NoBrokers));
    }

    #[test]
    fn passwords_do_not_show() {
        let properties = with("sasl.password", "hunter2").unwrap().with("ssl.key.pem", "PEMPEM").unwrap();
        let text = format!("{properties:?}");
        assert!(!text.contains("hunter2") && !text.contains("PEMPEM"), "{text}");
        assert!(text.contains("127.0.0.1:9092"));
    }
}
