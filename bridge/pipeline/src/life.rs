//! One life of a connector: from an adopted start to a delivery error, a stop, or a halt.
//!
//! ```text
//!   capture thread --ToSeal--> sealing thread --Streams--> appending thread --may_acknowledge--> capture thread
//!                                    ^                          |   ^
//!                                    `-------- beacons ---------'   `-- checkpoint thread (witnesses)
//! ```
//!
//! The channel into the sealing thread is bounded, so a slow Kafka holds the source back; what is sealed and not yet in
//! the log is bounded by the producer's queue. Every thread ends when one of them has ended the life.

use crate::beacon::Published;
use crate::metrics::Metrics;
use crate::outside::{Clock, Point, Probe, Random};
use crate::seal::ToSeal;
use crate::settings::Intervals;
use crate::shutdown::Shutdown;
use crate::streams::Streams;
use crate::{Connector, ConnectorError};
use bridge_envelope::{Compression, Entry};
use bridge_event::{
    At, Epoch, GroupName, IncarnationNumber, LogIndex, Origin, SectionName, Sequence, StreamId, UnixMicros,
};
use bridge_kafka::{DeliveryError, FetchError};
use bridge_ledger::{AppendError, CosignersBell, Log};
use bridge_suite::{Digest, SigningKey, Suite};
use bridge_trust::Trust;
use schemas::Contract;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Why a life ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was asked to stop, and everything in flight is handed over.
    Stopped,
    /// Another process has taken over: this one ends.
    Superseded(String),
    /// The next start mends it.
    Retry(String),
    /// Kafka refuses what is published, or to let it be read. It may have been for a moment; when it goes on, a person has to
    /// decide.
    Refused(ConnectorError),
    /// A person has to decide.
    Halt(ConnectorError),
}

impl End {
    /// Something outside failed that a new start mends.
    pub(crate) fn retry(error: impl std::fmt::Display) -> End {
        End::Retry(error.to_string())
    }

    /// A frame was not acknowledged.
    pub(crate) fn undelivered(error: DeliveryError) -> End {
        match error {
            DeliveryError::TooLarge { .. } | DeliveryError::Forbidden { .. } => {
                End::Refused(ConnectorError::Delivery(error))
            }
            _ => End::retry(error),
        }
    }

    /// What was published could not be read.
    pub(crate) fn unread(error: FetchError) -> End {
        match error {
            FetchError::Forbidden { .. } => End::Refused(ConnectorError::Fetch(error)),
            _ => End::retry(error),
        }
    }

    /// Our own rules refused our own doing.
    pub(crate) fn defect(error: impl std::fmt::Display) -> End {
        End::Halt(ConnectorError::Defect(error.to_string()))
    }

    /// The log could not be read or written.
    pub(crate) fn from_log(error: AppendError) -> End {
        if superseded(&error) {
            End::Superseded(error.to_string())
        } else {
            End::Halt(ConnectorError::Log(error))
        }
    }
}

/// Whether another process has the log now.
pub(crate) fn superseded(error: &AppendError) -> bool {
    matches!(error, AppendError::LostLog { .. } | AppendError::NotOwnEpoch { .. })
}

/// One section of a stream, as sealing needs it.
#[derive(Debug)]
pub(crate) struct SectionPlan {
    pub(crate) name: SectionName,
    pub(crate) schema: Digest,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) compression: Compression,
}

/// One stream, as its contract has it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) stream: StreamId,
    pub(crate) suite: Suite,
    pub(crate) contract: Digest,
    pub(crate) sections: Vec<SectionPlan>,
    pub(crate) renew_hours: u32,
    pub(crate) renew_rows: u64,
    pub(crate) schemas: Arc<Contract>,
}

impl Plan {
    /// The stream of a contract's only partition.
    pub(crate) fn of(contract: &Arc<Contract>) -> Plan {
        let sections = contract
            .sections()
            .iter()
            .map(|section| SectionPlan {
                name: section.name().clone(),
                schema: section.schema_digest(),
                groups: section.groups().iter().map(|group| group.name.clone()).collect(),
                compression: match section.compression() {
                    schemas::Compression::None => Compression::None,
                    schemas::Compression::Zstd => Compression::Zstd,
                },
            })
            .collect();
        Plan {
            stream: StreamId {
                department: contract.department().clone(),
                dataset: contract.dataset().clone(),
                partition: bridge_event::Partition(0),
            },
            suite: contract.suite(),
            contract: contract.digest(),
            sections,
            renew_hours: contract.renew_hours(),
            renew_rows: contract.renew_rows(),
            schemas: Arc::clone(contract),
        }
    }
}

/// What one stream's last acknowledged beacon covers; what `/health` answers from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnderBeacon {
    pub(crate) at: Option<UnixMicros>,
    pub(crate) covers: Option<Sequence>,
}

/// Whether the appending thread has something to do.
#[derive(Debug, Default)]
struct Wake {
    due: Mutex<bool>,
    bell: Condvar,
}

/// The last checkpoint of a clean stop: asked for by the appending thread, made by the checkpointing thread.
#[derive(Debug, Default)]
struct LastCheckpoint {
    wanted: bool,
    ended: bool,
}

/// What all threads of a life share.
pub(crate) struct Life<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) metrics: &'a Metrics,
    pub(crate) log: &'a Mutex<Log>,
    pub(crate) plans: &'a [Plan],
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: IncarnationNumber,
    pub(crate) shutdown: &'a Shutdown,
    streams: Mutex<Streams>,
    wake: Wake,
    to_seal: Mutex<Option<SyncSender<ToSeal>>>,
    may_acknowledge: Mutex<Option<At>>,
    last_checkpoint: Mutex<LastCheckpoint>,
    last_checkpoint_made: Condvar,
    checkpoint_bell: OnceLock<CosignersBell>,
    checkpoint_idles: AtomicBool,
    checkpoint: Mutex<Option<Published>>,
    under_beacon: Mutex<Vec<UnderBeacon>>,
    end: Mutex<Option<End>>,
    drain_until: OnceLock<Instant>,
    ended: Arc<AtomicBool>,
}

impl std::fmt::Debug for Life<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// A poisoned lock means that a thread of ours panicked while it held it; its data is still whole, since every update
/// is one call, and the life is over anyway.
pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a life begins with.
pub(crate) struct Begin<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) metrics: &'a Metrics,
    pub(crate) log: &'a Mutex<Log>,
    pub(crate) plans: &'a [Plan],
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: IncarnationNumber,
    pub(crate) shutdown: &'a Shutdown,
    pub(crate) checkpoint: Option<Published>,
}

impl<'a> Life<'a> {
    pub(crate) fn new(begin: Begin<'a>, streams: Streams, to_seal: SyncSender<ToSeal>) -> Life<'a> {
        let under = vec![UnderBeacon::default(); begin.plans.len()];
        Life {
            connector: begin.connector,
            metrics: begin.metrics,
            log: begin.log,
            plans: begin.plans,
            epoch: begin.epoch,
            incarnation: begin.incarnation,
            shutdown: begin.shutdown,
            streams: Mutex::new(streams),
            wake: Wake::default(),
            to_seal: Mutex::new(Some(to_seal)),
            may_acknowledge: Mutex::new(None),
            last_checkpoint: Mutex::new(LastCheckpoint::default()),
            last_checkpoint_made: Condvar::new(),
            checkpoint_bell: OnceLock::new(),
            checkpoint_idles: AtomicBool::new(false),
            checkpoint: Mutex::new(begin.checkpoint),
            under_beacon: Mutex::new(under),
            end: Mutex::new(None),
            drain_until: OnceLock::new(),
            ended: Arc::new(AtomicBool::new(false)),
        }
    }

    pub(crate) fn plan(&self, stream: usize) -> Result<&'a Plan, End> {
        self.plans.get(stream).ok_or(End::Halt(ConnectorError::NoSuchStream(stream)))
    }

    pub(crate) fn streams<T>(&self, act: impl FnOnce(&mut Streams) -> T) -> T {
        act(&mut held(&self.streams))
    }

    pub(crate) fn log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> T {
        act(&mut held(self.log))
    }

    /// Appends entries and returns their indexes once they are durable.
    pub(crate) fn append(&self, entries: &[Entry]) -> Result<Range<LogIndex>, End> {
        let bytes = encode(entries)?;
        let indexes = self.log(|log| log.append(&bytes)).map_err(End::from_log)?;
        self.log_grew();
        Ok(indexes)
    }

    /// Appends entries that depend on the index of the first one; no other entry comes in between.
    pub(crate) fn append_with(
        &self,
        entries: impl FnOnce(u64) -> Vec<Entry>,
    ) -> Result<(Vec<Vec<u8>>, Range<LogIndex>), End> {
        let mut log = held(self.log);
        let bytes = encode(&entries(log.size()))?;
        let indexes = log.append(&bytes).map_err(End::from_log)?;
        drop(log);
        self.log_grew();
        Ok((bytes, indexes))
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.connector.origin
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn incarnation(&self) -> IncarnationNumber {
        self.incarnation
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.connector.signing
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.connector.trust
    }

    pub(crate) fn intervals(&self) -> &Intervals {
        &self.connector.intervals
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        self.metrics
    }

    pub(crate) fn now(&self) -> UnixMicros {
        let clock: &dyn Clock = &*self.connector.clock;
        clock.now()
    }

    pub(crate) fn fill(&self, bytes: &mut [u8]) -> Result<(), End> {
        let random: &dyn Random = &*self.connector.random;
        random.fill(bytes).map_err(|error| End::Halt(ConnectorError::Random(error)))
    }

    pub(crate) fn at(&self, point: Point) {
        let probe: &dyn Probe = &*self.connector.probe;
        probe.at(point);
    }

    pub(crate) fn delivery_timeout(&self) -> Duration {
        Duration::from_millis(self.connector.intervals.delivery_timeout_ms)
    }

    /// Until when a stop hands over what is in flight; the first thread that asks begins to count.
    pub(crate) fn drain_until(&self) -> Instant {
        let longest = self.connector.intervals.hand_over();
        *self.drain_until.get_or_init(|| Instant::now() + longest)
    }

    /// Whether a stop has had its time: nobody waits for Kafka any more.
    pub(crate) fn drain_is_over(&self) -> bool {
        self.is_stopping() && Instant::now() >= self.drain_until()
    }

    /// Hands a message to the sealing thread.
    pub(crate) fn send(&self, message: ToSeal) -> Result<(), End> {
        let sender = held(&self.to_seal).clone();
        match sender.map(|sender| sender.send(message)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.over()),
        }
    }

    /// The appending thread sends no more: the sealing thread may end once its other senders are gone.
    pub(crate) fn send_no_more(&self) {
        held(&self.to_seal).take();
    }

    /// The newest checkpoint with its cosignatures.
    pub(crate) fn checkpoint(&self) -> Option<Published> {
        held(&self.checkpoint).clone()
    }

    pub(crate) fn publish_checkpoint(&self, checkpoint: Published) {
        *held(&self.checkpoint) = Some(checkpoint);
        self.wake_append();
    }

    /// Asks the checkpointing thread for the last checkpoint of a clean stop, and waits for it.
    pub(crate) fn want_last_checkpoint(&self, longest: Duration) {
        let mut last = held(&self.last_checkpoint);
        last.wanted = true;
        self.ring_checkpoint();
        let waited = self.last_checkpoint_made.wait_timeout_while(last, longest, |last| !last.ended);
        drop(waited);
    }

    pub(crate) fn last_checkpoint_wanted(&self) -> bool {
        held(&self.last_checkpoint).wanted
    }

    /// The checkpointing thread is woken by this bell from now on.
    pub(crate) fn checkpoint_wakes_by(&self, bell: CosignersBell) {
        // A life has one checkpointing thread.
        let _ = self.checkpoint_bell.set(bell);
    }

    /// The checkpointing thread has nothing new to sign, and is woken when there is.
    pub(crate) fn checkpoint_idles(&self) {
        self.checkpoint_idles.store(true, Ordering::SeqCst);
    }

    fn log_grew(&self) {
        if self.checkpoint_idles.swap(false, Ordering::SeqCst) {
            self.ring_checkpoint();
        }
    }

    fn ring_checkpoint(&self) {
        if let Some(bell) = self.checkpoint_bell.get() {
            bell.ring();
        }
    }

    /// The checkpointing thread has ended, for whatever reason.
    pub(crate) fn checkpointing_ended(&self) {
        held(&self.last_checkpoint).ended = true;
        self.last_checkpoint_made.notify_all();
    }

    /// Keeps every stream's place; the log writes them with its next checkpoint.
    pub(crate) fn keep_places(&self) {
        let places =
            self.streams(|streams| streams.sending.iter().map(|sending| sending.kept()).collect::<Vec<_>>());
        self.log(|log| {
            for (plan, place) in self.plans.iter().zip(places) {
                log.keep_place(&plan.stream, place.encode());
            }
        });
    }

    /// How far the source may forget.
    pub(crate) fn may_acknowledge(&self, through: At) {
        *held(&self.may_acknowledge) = Some(through);
    }

    pub(crate) fn take_acknowledge(&self) -> Option<At> {
        held(&self.may_acknowledge).take()
    }

    pub(crate) fn beacon_acknowledged(&self, stream: usize, covers: Option<Sequence>) {
        let now = self.now();
        if let Some(under) = held(&self.under_beacon).get_mut(stream) {
            under.at = Some(now);
            under.covers = under.covers.max(covers);
        }
        self.metrics.beacon_acknowledged(stream, now, covers);
    }

    pub(crate) fn wake_append(&self) {
        *held(&self.wake.due) = true;
        self.wake.bell.notify_one();
    }

    pub(crate) fn sleep_until_woken(&self, longest: Duration) {
        let due = held(&self.wake.due);
        let waited = self.wake.bell.wait_timeout_while(due, longest, |due| !*due);
        let (mut due, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *due = false;
    }

    /// Ends the life; the first reason counts. That an earlier write failed is no reason of its own: the thread whose
    /// write it was may come later than the one that was refused because of it.
    pub(crate) fn end(&self, end: End) {
        let mut first = held(&self.end);
        if first
            .as_ref()
            .is_none_or(|first| matches!(first, End::Halt(ConnectorError::Log(AppendError::Ended))))
        {
            *first = Some(end);
        }
        self.ended.store(true, Ordering::SeqCst);
        self.wake_append();
        self.ring_checkpoint();
    }

    /// Whether a thread may go on; an error that says nothing new otherwise, since the reason is kept already.
    pub(crate) fn go_on(&self) -> Result<(), End> {
        if self.ended.load(Ordering::SeqCst) { Err(self.over()) } else { Ok(()) }
    }

    fn over(&self) -> End {
        End::Retry("the life is over".to_owned())
    }

    /// The flag that says that the life is over, for those who only watch it.
    pub(crate) fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ended)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shutdown.is_asked()
    }

    /// Why it ended; a clean stop when nobody gave a reason.
    pub(crate) fn into_end(self) -> End {
        self.end.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(End::Stopped)
    }
}

fn encode(entries: &[Entry]) -> Result<Vec<Vec<u8>>, End> {
    entries.iter().map(|entry| entry.encode().map_err(End::defect)).collect()
}
