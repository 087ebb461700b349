//! What an operator may set. The doc comments are the reference; `govbridge connector --help` points here.

use serde::Deserialize;
use std::time::Duration;

/// When a batch is closed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchLimits {
    /// A batch with this many rows is closed, also inside a transaction. At most 65,536 (the format's limit).
    pub rows_max: u64,
    /// A batch with this many encoded bytes is closed, also inside a transaction.
    pub bytes_max: usize,
    /// Once the oldest row of a batch has waited this long, the batch is closed between two transactions. It waits longer while
    /// Kafka owes answers for many batches: a few rows more cost less than a batch more.
    pub age_ms: u64,
    /// A single row over this many encoded bytes is cut into fragments of 768 KiB, each a batch. At least 768 KiB, at most
    /// 2 MiB, whatever is set here. A row over 64 MiB halts the connector before its position moves.
    pub row_bytes_max: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        // 4,096 rows of 230 bytes are 920 KiB, so 512 KiB is what usually closes a batch under load; sealed and
        // compressed it stays far below Kafka's default record limit of 1 MiB, and so does a single row.
        BatchLimits { rows_max: 4096, bytes_max: 512 * 1024, age_ms: 2, row_bytes_max: 896 * 1024 }
    }
}

/// How often the connector speaks when it has nothing, or something, to say.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intervals {
    /// A checkpoint is signed, sent to the witnesses and told in beacons this often while there is something new.
    pub checkpoint_ms: u64,
    /// The same while there is nothing new; also how long after the last one the next beacon is due at the latest.
    pub idle_ms: u64,
    /// A mark with every stream's head goes into the log at least this often.
    pub mark_ms: u64,
    /// How long a witness may take to answer.
    pub witness_timeout_ms: u64,
    /// How long fences, key records and beacons of a start may take to be acknowledged.
    pub delivery_timeout_ms: u64,
    /// How long a stop may take in all. What is in flight is handed over in the time but for its last second, which is
    /// for closing files and connections.
    pub drain_ms: u64,
}

/// How much of a stop's time is left for closing files and connections.
const CLOSING: Duration = Duration::from_secs(1);

impl Intervals {
    /// How long a stop hands over what is in flight.
    pub(crate) fn hand_over(&self) -> Duration {
        let all = Duration::from_millis(self.drain_ms);
        all.saturating_sub(CLOSING).max(all / 2)
    }
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals {
            checkpoint_ms: 1_000,
            idle_ms: 30_000,
            mark_ms: 60_000,
            witness_timeout_ms: 3_000,
            delivery_timeout_ms: 30_000,
            drain_ms: 5_000,
        }
    }
}

/// What the connector's topics are made with, and checked against, where the cluster tells.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSettings {
    /// Whether topics are made when missing and their settings checked at the start. librdkafka's mock cluster answers no
    /// such question, which is logged.
    pub check: bool,
    /// How often the settings are checked again while the connector runs.
    pub check_ms: u64,
    /// Copies of each partition: 1 on a single node, 3 where data matters.
    pub replication: u32,
    /// How long Kafka keeps batches; absent: for ever. A connector that finds its place removed goes on from its log when
    /// this is set, and halts when it is not.
    pub retention_ms: Option<u64>,
}

impl Default for TopicSettings {
    fn default() -> Self {
        TopicSettings { check: true, check_ms: 60_000, replication: 3, retention_ms: None }
    }
}

/// A beacon stands in a stream at least after this many batches,
pub(crate) const BEACON_BATCHES_MAX: u64 = 256;
/// or after this many bytes of them: a reader that starts from a place reads at most about as much to its end.
pub(crate) const BEACON_BYTES_MAX: usize = 8 * 1024 * 1024;
