//! What the flow asks of the world beyond Kafka, log and source: time, randomness, and the test's hand at its seams.

use bridge_event::UnixMicros;
use std::fmt;

/// The wall clock. One implementation reads it, in the door; tests move their own.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixMicros;
}

/// The source of secrets and nonces: the operating system's, in the door.
pub trait Random: Send + Sync {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    /// What the operating system says when it has none; nothing is sealed then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("SEA020: the operating system gave no random bytes: {0}; nothing is sealed without them")]
pub struct RandomError(pub String);

/// Between which two stages, or at which durable write, the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// A batch is encoded and not sealed.
    AfterEncode,
    /// A batch is sealed and not handed to Kafka.
    AfterSeal,
    /// Kafka acknowledged a batch, and the log does not have it.
    AfterPublish,
    /// The log is about to be written.
    BeforeAppend,
    /// The log has a batch, and the source does not know.
    AfterAppend,
    /// The source was told.
    AfterAcknowledge,
    /// The epoch stands in the log, and no stream has its fence.
    AfterEpoch,
    /// Every stream has its fence.
    AfterFence,
    /// A key record stands in the log and in Kafka, and no batch uses it.
    AfterKeyRecord,
    /// A checkpoint is signed and no witness was asked.
    AfterCheckpoint,
    /// A beacon was handed to Kafka.
    AfterBeacon,
    /// The snapshot has begun and not ended.
    InSnapshot,
}

impl Point {
    /// All points.
    pub const ALL: [Point; 12] = [
        Point::AfterEncode,
        Point::AfterSeal,
        Point::AfterPublish,
        Point::BeforeAppend,
        Point::AfterAppend,
        Point::AfterAcknowledge,
        Point::AfterEpoch,
        Point::AfterFence,
        Point::AfterKeyRecord,
        Point::AfterCheckpoint,
        Point::AfterBeacon,
        Point::InSnapshot,
    ];

    /// The point's word, as fault tests name it.
    pub fn name(self) -> &'static str {
        match self {
            Point::AfterEncode => "after-encode",
            Point::AfterSeal => "after-seal",
            Point::AfterPublish => "after-publish",
            Point::BeforeAppend => "before-append",
            Point::AfterAppend => "after-append",
            Point::AfterAcknowledge => "after-acknowledge",
            Point::AfterEpoch => "after-epoch",
            Point::AfterFence => "after-fence",
            Point::AfterKeyRecord => "after-key-record",
            Point::AfterCheckpoint => "after-checkpoint",
            Point::AfterBeacon => "after-beacon",
            Point::InSnapshot => "in-snapshot",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Told at every [`Point`]. What is shipped does nothing; a fault test ends the process.
pub trait Probe: Send + Sync {
    /// The process stands at `point`.
    fn at(&self, point: Point);
}

/// The probe that is shipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn at(&self, _point: Point) {}
}
