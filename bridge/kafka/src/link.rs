//! What a client hears of its connection: why brokers refuse it, whether one is there, what waits for them.
//!
//! librdkafka tries again for ever and tells a caller only that its time is over; the cause stands in its log lines. They
//! are read here, so that a wrong password is called by its name. The lines hold addresses and reasons, never a secret.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Statistics};

use crate::Disposition;
use crate::foreign::{self, code_of};

/// How long a question waits for its answer at first; each next time twice as long.
const FIRST_SLICE: Duration = Duration::from_millis(500);

/// How long is listened between two questions; some errors come at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Why no connection as configured comes about. Waiting does not mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// TLS failed: one of the two sides does not believe the other's certificate.
    #[error("PUB013: the TLS connection to Kafka failed ({reason}); check {settings} under [kafka]")]
    Tls {
        /// The settings that it may be about.
        settings: &'static str,
        /// librdkafka's words.
        reason: String,
    },
    /// The broker does not accept the user, the password or the mechanism.
    #[error(
        "PUB014: Kafka refuses the login ({reason}); check sasl.mechanism, sasl.username and sasl.password under [kafka]"
    )]
    Login {
        /// librdkafka's words.
        reason: String,
    },
    /// The port speaks another protocol.
    #[error(
        "PUB015: the port does not speak what security.protocol says ({reason}); check security.protocol and the port in bootstrap.servers under [kafka]"
    )]
    Protocol {
        /// librdkafka's words.
        reason: String,
    },
}

impl Refusal {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Tls { .. } => "PUB013",
            Refusal::Login { .. } => "PUB014",
            Refusal::Protocol { .. } => "PUB015",
        }
    }

    /// [`Disposition::Halt`]: the configuration has to change, or the brokers'. [`Disposition::Retry`] for
    /// [`Refusal::Protocol`], which is only a guess: a broker that is just stopping hangs up in the same words.
    pub fn disposition(&self) -> Disposition {
        if self.is_a_guess() { Disposition::Retry } else { Disposition::Halt }
    }

    /// Whether a broker that is about to stop looks the same: then only time tells.
    fn is_a_guess(&self) -> bool {
        matches!(self, Refusal::Protocol { .. })
    }

    /// Reads a log line; none when it is about something else.
    fn of(line: &str) -> Option<Refusal> {
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        // The thread's name in front says nothing to an operator.
        let reason = line.split_once("]: ").map_or(line, |(_, rest)| rest).to_owned();
        if has(&[
            "SASL authentication error",
            "SASL handshake",
            "SaslAuthenticateRequest failed",
            "mechanism",
        ]) && has(&["SASL", "mechanism"])
            && !has(&["Disconnected", "disconnected"])
        {
            return Some(Refusal::Login { reason });
        }
        // A broker that was asked in another protocol than its own hangs up at the first words.
        let hung_up = has(&["Disconnected"]) && has(&["in state APIVERSION", "in state UP", "in state AUTH"]);
        if hung_up || has(&["security.protocol", "PLAINTEXT broker listener", "wrong version number"]) {
            return Some(Refusal::Protocol { reason });
        }
        if has(&["certificate required", "alert bad certificate", "alert unknown ca", "alert number 42"])
            || (has(&["alert"]) && has(&["certificate"]))
        {
            let settings = "ssl.certificate.location and ssl.key.location";
            return Some(Refusal::Tls { settings, reason });
        }
        if has(&["certificate verify failed", "certificate could not be verified"]) {
            return Some(Refusal::Tls { settings: "ssl.ca.location", reason });
        }
        has(&["SSL handshake failed"]).then_some(Refusal::Tls {
            settings: "ssl.ca.location, ssl.certificate.location and ssl.key.location",
            reason,
        })
    }
}

/// How a client stands with its brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Connections to brokers that are up; none before the first look, which is made each second.
    pub brokers_up: Option<u64>,
    /// Frames that wait in the client to be sent or acknowledged.
    pub queued_frames: u64,
    /// Their bytes.
    pub queued_bytes: u64,
}

/// One client's connection, as its callbacks and its owner share it.
#[derive(Clone, Debug, Default)]
pub struct Link(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    refusal: Option<Refusal>,
    /// Something succeeded once: the port does speak what it should.
    ever: bool,
    standing: Standing,
}

impl Link {
    /// How the client stands with its brokers.
    pub fn standing(&self) -> Standing {
        self.held().standing
    }

    /// Why brokers refuse the client, while nothing has succeeded since.
    pub fn refusal(&self) -> Option<Refusal> {
        self.held().refusal.clone()
    }

    /// Something succeeded: what was refused before no longer counts.
    pub(crate) fn succeeded(&self) {
        let mut held = self.held();
        held.refusal = None;
        held.ever = true;
    }

    pub(crate) fn heard(&self, line: &str) {
        if line.contains("Connect to") && line.contains("failed") {
            // Nobody is there: whoever hung up before was about to go.
            let mut held = self.held();
            held.refusal = held.refusal.take().filter(|refusal| !refusal.is_a_guess());
        }
        if let Some(refusal) = Refusal::of(line) {
            let mut held = self.held();
            if !(held.ever && refusal.is_a_guess()) {
                held.refusal = Some(refusal);
            }
        }
    }

    pub(crate) fn counted(&self, statistics: &Statistics) {
        // What a client was told to connect to and what it learned there are one list.
        let up = statistics.brokers.values().filter(|broker| broker.state == "UP").count();
        self.held().standing = Standing {
            brokers_up: Some(u64::try_from(up).unwrap_or(u64::MAX)),
            queued_frames: statistics.msg_cnt,
            queued_bytes: statistics.msg_size,
        };
    }

    /// Asks until an answer comes or the time is over, in slices: librdkafka does not look up from a question, and a
    /// connection that is refused is known long before its time is over.
    pub(crate) fn patiently<T>(
        &self,
        timeout: Duration,
        mut listen: impl FnMut(Duration),
        mut ask: impl FnMut(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let deadline = Instant::now() + timeout;
        let mut slice = FIRST_SLICE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match ask(slice.min(left).max(Duration::from_millis(1))) {
                Ok(answer) => {
                    self.succeeded();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let unreachable = code_of(&error).is_some_and(foreign::is_unreachable);
            // Why is told by log lines, which come only to who listens.
            listen(PAUSE);
            let refused = self.refusal().is_some_and(|refusal| !refusal.is_a_guess());
            if !unreachable || refused || Instant::now() >= deadline {
                return Err(error);
            }
            slice = slice.saturating_mul(2);
        }
    }

    fn held(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callbacks of a client that only asks and reads.
pub(crate) struct Watch(pub(crate) Link);

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.heard(message);
        foreign::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.counted(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.heard(reason);
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Watch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_known_by_librdkafkas_words_and_names_its_settings() {
        let lines = [
            (
                "[thrd:sasl_plaintext://k:9092/bootstrap]: sasl_plaintext://k:9092/bootstrap: SASL authentication error: \
                 Authentication failed: Invalid username or password (after 5ms in state AUTH_REQ)",
                "PUB014",
                "sasl.password",
            ),
            (
                "[thrd:ssl://k:9093/bootstrap]: ssl://k:9093/bootstrap: SSL handshake failed: error:0A000086:SSL \
                 routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is \
                 correctly configured (after 5ms in state SSL_HANDSHAKE)",
                "PUB013",
                "ssl.ca.location",
            ),
            (
                "[thrd:k:9093/bootstrap]: k:9093/bootstrap: Disconnected while requesting ApiVersion: might be caused by \
                 incorrect security.protocol configuration (connecting to a SSL listener?)",
                "PUB015",
                "security.protocol",
            ),
            (
                "[thrd:k:9093/bootstrap]: k:9093/bootstrap: Disconnected (after 3ms in state APIVERSION_QUERY)",
                "PUB015",
                "security.protocol",
            ),
            (
                "ssl://k:9093/bootstrap: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required",
                "PUB013",
                "ssl.key.location",
            ),
        ];
        for (line, code, setting) in lines {
            let refusal = Refusal::of(line).unwrap();
            assert_eq!(refusal.code(), code, "{refusal}");
            assert!(refusal.to_string().contains(setting), "{refusal}");
        }
        let link = Link::default();
        link.heard("k:9093/bootstrap: Disconnected (after 3ms in state APIVERSION_QUERY)");
        assert_eq!(link.refusal().unwrap().code(), "PUB015");
        link.heard("k:9093/bootstrap: Connect to ipv4#10.0.0.1:9093 failed: Connection refused");
        assert_eq!(link.refusal(), None, "a broker that goes away is no matter of protocols");
        let cut = "k:9092/1: Disconnected: connection reset by peer (after 14323ms in state UP)";
        link.succeeded();
        link.heard(cut);
        assert_eq!(link.refusal(), None, "a port that has answered speaks what it should");
        assert_eq!(
            Refusal::of("127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: refused"),
            None
        );
    }
}
