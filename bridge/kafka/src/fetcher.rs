//! Frames out of topics, from explicit offsets, without a group.

use std::sync::Arc;
use std::time::Duration;

use bridge_event::{Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};

use crate::foreign::{self, code_of};
use crate::link::Watch;
use crate::{Disposition, Link, Properties, PropertiesError, Refusal};

/// How long a broker is asked whether it hides a topic.
const HIDDEN: Duration = Duration::from_secs(1);

/// One partition that is read, and the offset of the next record to read in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
    /// The next record to read.
    pub offset: Offset,
}

/// One record's content: untrusted bytes, and where they stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
    /// The record's own offset. The next record's may be larger by more than one.
    pub offset: Offset,
    /// The content; empty for a record without one.
    pub bytes: Vec<u8>,
}

/// Which records of a partition a broker still has: `low <= offset < high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The offset of the oldest record.
    pub low: Offset,
    /// One more than the offset of the newest record.
    pub high: Offset,
}

/// Nothing could be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The place to read from is not in the topic (any more, or yet).
    #[error("FET001: {topic} partition {partition} holds the offsets {} to {}, and the next to read is {offset}; retention removed what was not read, or the topic was cut or made anew", bounds.low, bounds.high)]
    OutOfRange {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: Partition,
        /// The offset that was to be read.
        offset: Offset,
        /// What the broker has.
        bounds: Bounds,
    },
    /// No broker answers. Reading goes on by itself when one does.
    #[error(
        "FET002: no broker answers ({reason}); reading goes on when one does, check bootstrap.servers and the network if it stays so"
    )]
    Unreachable {
        /// librdkafka's words.
        reason: String,
    },
    /// There is no such topic or partition.
    #[error(
        "FET003: Kafka has no such topic or partition ({reason}); check the dataset's name and that its connector has run"
    )]
    UnknownTopic {
        /// librdkafka's words.
        reason: String,
    },
    /// The broker refuses the reader.
    #[error(
        "FET004: Kafka refuses to let us read {topics} ({reason}); give the account Read on each (kafka-acls.sh), or check its credentials"
    )]
    Forbidden {
        /// What was to be read.
        topics: String,
        /// librdkafka's words.
        reason: String,
    },
    /// A record's checksum is wrong: the disk or the network damaged it.
    #[error("FET005: a record is damaged ({reason}); read it from another replica or an archive")]
    Damaged {
        /// librdkafka's words.
        reason: String,
    },
    /// Anything else; the fetcher should be made anew.
    #[error("FET006: the Kafka reader failed: {reason}; drop it and make a new one")]
    Failed {
        /// librdkafka's words.
        reason: String,
    },
    /// No connection as configured comes about.
    #[error(transparent)]
    Connection(#[from] Refusal),
    /// The partition is not among those that this fetcher reads.
    #[error("FET007: {topic} partition {partition} is not read here; assign it first")]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
    },
}

impl FetchError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            FetchError::OutOfRange { .. } => "FET001",
            FetchError::Unreachable { .. } => "FET002",
            FetchError::UnknownTopic { .. } => "FET003",
            FetchError::Forbidden { .. } => "FET004",
            FetchError::Damaged { .. } => "FET005",
            FetchError::Failed { .. } => "FET006",
            FetchError::NotAssigned { .. } => "FET007",
            FetchError::Connection(refusal) => refusal.code(),
        }
    }

    /// Retry: call again (for FET006 with a new fetcher). Halt: nothing changes without a person or another place.
    pub fn disposition(&self) -> Disposition {
        match self {
            FetchError::Unreachable { .. } | FetchError::UnknownTopic { .. } | FetchError::Failed { .. } => {
                Disposition::Retry
            }
            FetchError::Connection(refusal) => refusal.disposition(),
            FetchError::OutOfRange { .. }
            | FetchError::Forbidden { .. }
            | FetchError::Damaged { .. }
            | FetchError::NotAssigned { .. } => Disposition::Halt,
        }
    }

    fn of(error: &KafkaError) -> FetchError {
        let reason = error.to_string();
        match code_of(error) {
            Some(RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::InvalidMessage) => {
                FetchError::Damaged { reason }
            }
            Some(code) if foreign::is_unknown_topic(code) => FetchError::UnknownTopic { reason },
            Some(code) if foreign::is_forbidden(code) => {
                FetchError::Forbidden { topics: "its topics".to_owned(), reason }
            }
            Some(code) if foreign::is_unreachable(code) => FetchError::Unreachable { reason },
            _ => FetchError::Failed { reason },
        }
    }
}

/// A reader of whole partitions. It stores no progress anywhere and never jumps: a place that is gone is an error.
pub struct Fetcher {
    consumer: Option<BaseConsumer<Watch>>,
    readings: Vec<Reading>,
    /// librdkafka's own place in each reading as the assignment began. It forgets places in a thread of its own, so what it
    /// says right after an assignment may be of the one before.
    stale: Vec<Option<Offset>>,
    link: Link,
}

impl Fetcher {
    /// Makes a reader of nothing. No broker has to be up yet.
    ///
    /// # Errors
    /// PUB011 when librdkafka does not accept the settings.
    pub fn new(properties: &Properties) -> Result<Fetcher, PropertiesError> {
        let link = Link::default();
        let consumer = properties
            .consumer()
            .create_with_context(Watch(link.clone()))
            .map_err(|error: KafkaError| PropertiesError::NotUnderstood { reason: error.to_string() })?;
        Ok(Fetcher { consumer: Some(consumer), readings: Vec::new(), stale: Vec::new(), link })
    }

    /// The connection to the brokers, as far as this reader hears of it.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Reads these partitions, each from its offset, instead of those before. Records fetched ahead for the old ones are
    /// thrown away.
    ///
    /// # Errors
    /// FET003 when a partition number is none of Kafka's, FET006 when librdkafka refuses.
    pub fn assign(&mut self, readings: Vec<Reading>) -> Result<(), FetchError> {
        let mut list = TopicPartitionList::with_capacity(readings.len());
        for reading in &readings {
            let number = native(&reading.topic, reading.partition)?;
            list.add_partition_offset(&reading.topic, number, NativeOffset::Offset(reading.offset.0))
                .map_err(|error| FetchError::of(&error))?;
        }
        let stale = self.positions(&readings);
        self.consumer()?.assign(&list).map_err(|error| FetchError::of(&error))?;
        self.readings = readings;
        self.stale = stale;
        Ok(())
    }

    /// What is read, and the next offset in each.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Goes on from another offset in one partition.
    ///
    /// # Errors
    /// FET007 when the partition is not read here, FET006 when librdkafka refuses.
    pub fn seek(&mut self, topic: &str, partition: Partition, offset: Offset) -> Result<(), FetchError> {
        let mut readings = self.readings.clone();
        let Some(reading) =
            readings.iter_mut().find(|reading| &*reading.topic == topic && reading.partition == partition)
        else {
            return Err(FetchError::NotAssigned { topic: topic.to_owned(), partition });
        };
        reading.offset = offset;
        self.assign(readings)
    }

    /// The next record of any of the partitions, in order within each; none when `timeout` passes without one.
    ///
    /// # Errors
    /// See [`FetchError`]. After one whose disposition is Retry the call may be made again.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Fetched>, FetchError> {
        let polled = match self.consumer()?.poll(timeout) {
            None => {
                self.pass_control_records();
                return Ok(None);
            }
            Some(Ok(message)) => {
                self.link.succeeded();
                let partition = u32::try_from(message.partition()).unwrap_or(u32::MAX);
                let at = (Partition(partition), Offset(message.offset()));
                let found = self
                    .readings
                    .iter()
                    .position(|reading| reading.partition == at.0 && *reading.topic == *message.topic());
                Ok((found, at, message.payload().unwrap_or_default().to_vec()))
            }
            // librdkafka asks for the group's coordinator all the same: nothing here is of a group, and no right over one is needed.
            Some(Err(error)) if code_of(&error) == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                return Ok(None);
            }
            Some(Err(error)) => Err(error),
        };
        match polled {
            Ok((found, (partition, offset), bytes)) => {
                // A record of a partition that was just given up is dropped: nobody asked for it.
                let Some(reading) = found.and_then(|index| self.readings.get_mut(index)) else {
                    return Ok(None);
                };
                if let Some(stale) = found.and_then(|index| self.stale.get_mut(index)) {
                    *stale = None;
                }
                reading.offset = Offset(offset.0.saturating_add(1));
                Ok(Some(Fetched { topic: Arc::clone(&reading.topic), partition, offset, bytes }))
            }
            Err(error) => Err(self.explain(&error, timeout)),
        }
    }

    /// Kafka's own records (ends of transactions) take offsets and are never handed out. Where they are the last ones, what
    /// is next to read is known from librdkafka alone.
    fn pass_control_records(&mut self) {
        let positions = self.positions(&self.readings);
        for ((reading, position), stale) in self.readings.iter_mut().zip(positions).zip(&self.stale) {
            if let Some(next) = position.filter(|next| Some(*next) != *stale) {
                reading.offset = reading.offset.max(next);
            }
        }
    }

    /// What librdkafka would hand out next of each reading; none where it has handed out nothing.
    fn positions(&self, readings: &[Reading]) -> Vec<Option<Offset>> {
        let positions = self.consumer.as_ref().and_then(|consumer| consumer.position().ok());
        let of = |reading: &Reading| {
            let number = native(&reading.topic, reading.partition).ok()?;
            match positions.as_ref()?.find_partition(&reading.topic, number)?.offset() {
                NativeOffset::Offset(next) => Some(Offset(next)),
                _ => None,
            }
        };
        readings.iter().map(of).collect()
    }

    /// Which records the broker holds.
    ///
    /// # Errors
    /// FET002 when no broker answers within `timeout`, FET003 when there is no such partition, FET004 when the broker does
    /// not let us read it, PUB013 to PUB015 when no connection as configured comes about.
    pub fn bounds(&self, topic: &str, partition: Partition, timeout: Duration) -> Result<Bounds, FetchError> {
        let number = native(topic, partition)?;
        let consumer = self.consumer()?;
        let asked = self.ask(timeout, |slice| consumer.fetch_watermarks(topic, number, slice));
        let (low, high) = asked.map_err(|error| match error {
            FetchError::Forbidden { reason, .. } => {
                FetchError::Forbidden { topics: topic.to_owned(), reason }
            }
            // Of a topic that is hidden from the account librdkafka learns no leader, and waits for one.
            FetchError::Unreachable { .. } | FetchError::UnknownTopic { .. } => {
                self.hidden(topic, timeout.min(HIDDEN)).unwrap_or(error)
            }
            error => error,
        })?;
        Ok(Bounds { low: Offset(low), high: Offset(high) })
    }

    /// Why this account does not see a topic, when a broker says so to a question by the topic's name.
    fn hidden(&self, topic: &str, timeout: Duration) -> Option<FetchError> {
        if self.link.standing().brokers_up == Some(0) {
            return None;
        }
        let metadata = self.consumer().ok()?.fetch_metadata(Some(topic), timeout).ok()?;
        let error = metadata.topics().iter().find(|found| found.name() == topic)?.error()?;
        let code = RDKafkaErrorCode::from(error);
        let reason = KafkaError::MetadataFetch(code).to_string();
        foreign::is_forbidden(code).then(|| FetchError::Forbidden { topics: topic.to_owned(), reason })
    }

    /// What the brokers say of themselves and of all topics.
    pub(crate) fn metadata(&self, timeout: Duration) -> Result<Metadata, FetchError> {
        let consumer = self.consumer()?;
        self.ask(timeout, |slice| consumer.fetch_metadata(None, slice))
    }

    fn ask<T>(
        &self,
        timeout: Duration,
        ask: impl FnMut(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, FetchError> {
        let consumer = self.consumer()?;
        let listen = |wait: Duration| {
            if self.readings.is_empty() {
                // Nothing is assigned, so no record can come and be lost here; errors are told by the question itself.
                let _ = consumer.poll(wait);
            } else {
                std::thread::sleep(wait);
            }
        };
        self.link.patiently(timeout, listen, ask).map_err(|error| self.refused(&error))
    }

    /// What an error is; a connection that is refused says more than that nobody answers.
    fn refused(&self, error: &KafkaError) -> FetchError {
        match (FetchError::of(error), self.link.refusal()) {
            (FetchError::Unreachable { .. }, Some(refusal)) => FetchError::Connection(refusal),
            (FetchError::Forbidden { .. }, Some(refusal)) if !foreign::is_acl(error) => {
                FetchError::Connection(refusal)
            }
            // Which of them it is librdkafka does not say.
            (FetchError::Forbidden { reason, .. }, _) if !self.readings.is_empty() => {
                let mut topics: Vec<&str> = self.readings.iter().map(|reading| &*reading.topic).collect();
                topics.dedup();
                FetchError::Forbidden { topics: topics.join(" or "), reason }
            }
            (error, _) => error,
        }
    }

    /// Whether everything that the broker held when this was asked has been read.
    ///
    /// # Errors
    /// As [`bounds`](Fetcher::bounds), and FET007 when the partition is not read here.
    pub fn at_end(&self, topic: &str, partition: Partition, timeout: Duration) -> Result<bool, FetchError> {
        let Some(reading) =
            self.readings.iter().find(|reading| &*reading.topic == topic && reading.partition == partition)
        else {
            return Err(FetchError::NotAssigned { topic: topic.to_owned(), partition });
        };
        Ok(reading.offset >= self.bounds(topic, partition, timeout)?.high)
    }

    /// librdkafka says that an offset is out of range, but not where; the broker is asked for each partition.
    fn explain(&self, error: &KafkaError, timeout: Duration) -> FetchError {
        if !matches!(
            code_of(error),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
        ) {
            return self.refused(error);
        }
        let wait = timeout.max(Duration::from_secs(1));
        for reading in &self.readings {
            match self.bounds(&reading.topic, reading.partition, wait) {
                Ok(bounds) if reading.offset < bounds.low || reading.offset > bounds.high => {
                    return FetchError::OutOfRange {
                        topic: Arc::clone(&reading.topic),
                        partition: reading.partition,
                        offset: reading.offset,
                        bounds,
                    };
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        FetchError::Failed { reason: format!("{error}, but every offset to read is in its topic now") }
    }

    fn consumer(&self) -> Result<&BaseConsumer<Watch>, FetchError> {
        self.consumer.as_ref().ok_or_else(|| FetchError::Failed { reason: "closed".to_owned() })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            foreign::drop_bounded(consumer);
        }
    }
}

/// Kafka's signed partition number.
fn native(topic: &str, partition: Partition) -> Result<i32, FetchError> {
    i32::try_from(partition.0)
        .map_err(|_| FetchError::UnknownTopic { reason: format!("{topic} partition {partition}") })
}
