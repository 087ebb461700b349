//! Frames into topics. One publisher is one life of librdkafka's idempotent producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bridge_event::{Offset, Partition};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::{ClientContext, Statistics};

use crate::foreign::{self, code_of};
use crate::{Disposition, Link, Properties, PropertiesError};

/// What became of one published frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number that the caller gave to `publish`.
    pub token: u64,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// Where the frame stands, acknowledged by all in-sync replicas; or why that is not known.
    pub result: Result<Offset, DeliveryError>,
}

/// A frame was not acknowledged. It may stand in the topic nevertheless: only reading the topic up to a new fence tells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No acknowledgement came in time, or the connection broke.
    #[error("{code}: Kafka did not acknowledge a frame for {topic}: {reason}; the connector starts a new epoch and reads the topic to see what it holds",
        code = self.code())]
    Unacknowledged {
        /// The topic.
        topic: String,
        /// Kafka's words.
        reason: String,
    },
    /// The broker's limit is smaller than the frame.
    #[error("{code}: the broker refuses a frame for {topic} as too large; set the topic's max.message.bytes to {max} or more",
        code = self.code(), max = crate::properties::MESSAGE_BYTES_MAX)]
    TooLarge {
        /// The topic.
        topic: String,
    },
    /// There is no such topic or partition.
    #[error("{code}: Kafka has no topic {topic} with that partition; create it as `govbridge contract check` prints it", code = self.code())]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// The broker refuses the sender.
    #[error("{code}: Kafka refuses to let us write to {topic}: {reason}; give the connector's account Write on it (kafka-acls.sh), or check its credentials", code = self.code())]
    Forbidden {
        /// The topic.
        topic: String,
        /// Kafka's words.
        reason: String,
    },
    /// The frame was thrown away here, because an earlier one had failed.
    #[error("{code}: a frame for {topic} was not sent, because an earlier delivery had failed", code = self.code())]
    Purged {
        /// The topic.
        topic: String,
    },
}

impl DeliveryError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            DeliveryError::Unacknowledged { .. } => "PUB005",
            DeliveryError::TooLarge { .. } => "PUB003",
            DeliveryError::UnknownTopic { .. } => "PUB004",
            DeliveryError::Forbidden { .. } => "PUB006",
            DeliveryError::Purged { .. } => "PUB007",
        }
    }

    /// Retry means: drop the publisher and run the start sequence again.
    pub fn disposition(&self) -> Disposition {
        match self {
            DeliveryError::Unacknowledged { .. } | DeliveryError::Purged { .. } => Disposition::Retry,
            DeliveryError::TooLarge { .. }
            | DeliveryError::UnknownTopic { .. }
            | DeliveryError::Forbidden { .. } => Disposition::Halt,
        }
    }

    fn of(error: &KafkaError, topic: &str) -> DeliveryError {
        let topic = topic.to_owned();
        let reason = error.to_string();
        match code_of(error) {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => DeliveryError::TooLarge { topic },
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                DeliveryError::Purged { topic }
            }
            Some(code) if foreign::is_unknown_topic(code) => DeliveryError::UnknownTopic { topic },
            Some(code) if foreign::is_forbidden(code) => DeliveryError::Forbidden { topic, reason },
            _ => DeliveryError::Unacknowledged { topic, reason },
        }
    }
}

/// A frame was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bounded queue is full: poll, then try the same frame again.
    #[error("PUB001: the queue to Kafka is full; wait for acknowledgements and send the frame again")]
    QueueFull,
    /// A delivery failed before; this publisher sends nothing more.
    #[error(
        "PUB002: an earlier delivery failed, so this publisher is at its end; drop it and start a new epoch"
    )]
    Broken,
    /// The frame is larger than any frame may be.
    #[error("PUB003: a frame of {bytes} bytes is larger than {max}", max = crate::FRAME_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// librdkafka knows no such topic or partition.
    #[error(
        "PUB004: Kafka has no topic {topic} with that partition; create it as `govbridge contract check` prints it"
    )]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// Anything else that librdkafka refuses at once.
    #[error("PUB008: librdkafka refuses a frame for {topic}: {reason}")]
    Fatal {
        /// The topic.
        topic: String,
        /// librdkafka's words.
        reason: String,
    },
}

impl PublishError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            PublishError::QueueFull => "PUB001",
            PublishError::Broken => "PUB002",
            PublishError::TooLarge { .. } => "PUB003",
            PublishError::UnknownTopic { .. } => "PUB004",
            PublishError::Fatal { .. } => "PUB008",
        }
    }

    /// Retry for a full queue and for a broken publisher (with a new one); Reject for a frame that is too large.
    pub fn disposition(&self) -> Disposition {
        match self {
            PublishError::QueueFull | PublishError::Broken | PublishError::Fatal { .. } => Disposition::Retry,
            PublishError::TooLarge { .. } => Disposition::Reject,
            PublishError::UnknownTopic { .. } => Disposition::Halt,
        }
    }
}

/// What librdkafka calls from the polling thread.
struct Reports {
    deliveries: Sender<Delivery>,
    broken: Arc<AtomicBool>,
    link: Link,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.link.heard(message);
        foreign::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.link.counted(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if code_of(&error) == Some(RDKafkaErrorCode::Fatal) {
            self.broken.store(true, Ordering::Release);
        }
        self.link.heard(reason);
        tracing::warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, token: Box<u64>) {
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(Offset(message.offset()))),
            Err((error, message)) => (message, Err(DeliveryError::of(error, message.topic()))),
        };
        if outcome.is_err() {
            self.broken.store(true, Ordering::Release);
        } else {
            self.link.succeeded();
        }
        let partition = Partition(u32::try_from(message.partition()).unwrap_or(u32::MAX));
        // Nobody listens while the publisher is dropped.
        let _ = self.deliveries.send(Delivery {
            token: *token,
            topic: message.topic().to_owned(),
            partition,
            result: outcome,
        });
    }
}

/// An idempotent producer with acknowledgement by all in-sync replicas.
///
/// After one delivery error it is [`broken`](Publisher::broken): what may stand in the topic is then not known, and no
/// later frame may pass. Drop it and run the start sequence, which writes a fence and reads up to it.
///
/// rdkafka's own poll stays until its time is over even when reports came at once; a thread of librdkafka's wrapper takes
/// them here without that delay, and `poll` hands them to the caller's thread.
pub struct Publisher {
    producer: Option<ThreadedProducer<Reports>>,
    deliveries: Receiver<Delivery>,
    broken: Arc<AtomicBool>,
    purged: bool,
    in_flight: usize,
    link: Link,
}

impl Publisher {
    /// Makes a producer. Nothing is sent, and no broker has to be up yet.
    ///
    /// # Errors
    /// PUB011 when librdkafka does not accept the settings.
    pub fn new(properties: &Properties) -> Result<Publisher, PropertiesError> {
        let (sender, deliveries) = mpsc::channel();
        let broken = Arc::new(AtomicBool::new(false));
        let link = Link::default();
        let reports = Reports { deliveries: sender, broken: Arc::clone(&broken), link: link.clone() };
        let producer = properties
            .producer()
            .create_with_context(reports)
            .map_err(|error: KafkaError| PropertiesError::NotUnderstood { reason: error.to_string() })?;
        Ok(Publisher { producer: Some(producer), deliveries, broken, purged: false, in_flight: 0, link })
    }

    /// The connection to the brokers, as far as this producer hears of it.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Puts a frame into the queue. `hint` becomes the record's key, text for people; `token` comes back in the
    /// [`Delivery`]. Never blocks. Frames of one partition are delivered in the order of these calls.
    ///
    /// # Errors
    /// See [`PublishError`]; the frame was not taken.
    pub fn publish(
        &mut self,
        topic: &str,
        partition: Partition,
        hint: &str,
        frame: &[u8],
        token: u64,
    ) -> Result<(), PublishError> {
        let Some(producer) = self.producer.as_ref().filter(|_| !self.broken.load(Ordering::Acquire)) else {
            return Err(PublishError::Broken);
        };
        if frame.len() > crate::FRAME_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes: frame.len() });
        }
        let Ok(number) = i32::try_from(partition.0) else {
            return Err(PublishError::UnknownTopic { topic: topic.to_owned() });
        };
        let record =
            BaseRecord::with_opaque_to(topic, Box::new(token)).partition(number).key(hint).payload(frame);
        match producer.send(record) {
            Ok(()) => {
                self.in_flight += 1;
                Ok(())
            }
            Err((error, _)) => Err(self.refused(&error, topic, frame.len())),
        }
    }

    fn refused(&self, error: &KafkaError, topic: &str, bytes: usize) -> PublishError {
        let topic = topic.to_owned();
        match code_of(error) {
            Some(RDKafkaErrorCode::QueueFull) => PublishError::QueueFull,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::TooLarge { bytes },
            Some(code) if foreign::is_unknown_topic(code) => PublishError::UnknownTopic { topic },
            _ => {
                self.broken.store(true, Ordering::Release);
                PublishError::Fatal { topic, reason: error.to_string() }
            }
        }
    }

    /// Waits for the next deliveries, at most `timeout`, and hands over all that have come; returns how many. Returns
    /// at once when nothing is in flight.
    ///
    /// The first failed one empties the queue: every frame that still waited comes back as [`DeliveryError::Purged`] by
    /// this and later calls.
    pub fn poll(&mut self, timeout: Duration, take: &mut impl FnMut(Delivery)) -> usize {
        self.purge_when_broken();
        let mut taken = 0;
        let mut next = if self.in_flight == 0 {
            self.deliveries.try_recv().ok()
        } else {
            self.deliveries.recv_timeout(timeout).ok()
        };
        while let Some(mut delivery) = next {
            self.in_flight = self.in_flight.saturating_sub(1);
            taken += 1;
            // What was thrown away because brokers do not let this producer write at all says so, not only that it was.
            if matches!(delivery.result, Err(DeliveryError::Purged { .. }))
                && let Some(forbidden) = self.forbidden(&delivery.topic)
            {
                delivery.result = Err(forbidden);
            }
            take(delivery);
            next = self.deliveries.try_recv().ok();
        }
        self.purge_when_broken();
        taken
    }

    /// Whether a delivery has failed. It stays so.
    pub fn broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Why it is broken, when the brokers do not let its account write anything: an account without Write on any topic gets
    /// no producer id, and its frames never leave.
    pub fn forbidden(&self, topic: &str) -> Option<DeliveryError> {
        let (code, reason) = self.producer.as_ref().filter(|_| self.broken())?.client().fatal_error()?;
        foreign::is_forbidden(code).then(|| DeliveryError::Forbidden { topic: topic.to_owned(), reason })
    }

    /// Frames taken and not yet handed over as a [`Delivery`].
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn purge_when_broken(&mut self) {
        if self.purged || !self.broken() {
            return;
        }
        self.purged = true;
        if let Some(producer) = &self.producer {
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.broken.store(true, Ordering::Release);
        self.purge_when_broken();
        if let Some(producer) = self.producer.take() {
            foreign::drop_bounded(producer);
        }
    }
}
