//! What an operator watches. Names are `govbridge_<stage>_<thing>_<unit>[_total]`; the label `stream` is the closed set
//! of the connector's own streams.

use bridge_event::{Sequence, StreamId, UnixMicros};
use bridge_kafka::Standing;
use connectors_source::Retained;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::sync::{Mutex, PoisonError};

/// What `/health` needs of one stream.
#[derive(Clone, Copy, Debug, Default)]
struct Pulse {
    /// When the oldest batch that no acknowledged beacon proves to be in the log was appended.
    uncovered_since: Option<UnixMicros>,
    newest: Option<Sequence>,
    beacon_at: Option<UnixMicros>,
}

/// How the producer stands with its brokers.
#[derive(Debug)]
struct Producer {
    brokers_up: IntGauge,
    queued_frames: IntGauge,
    queued_bytes: IntGauge,
}

impl Producer {
    fn new(registry: &Registry) -> Result<Producer, prometheus::Error> {
        let value = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Producer {
            brokers_up: value("govbridge_publish_brokers_up", "Brokers that the producer is connected to")?,
            queued_frames: value(
                "govbridge_publish_queue_frames",
                "Frames in the producer, not acknowledged yet",
            )?,
            queued_bytes: value("govbridge_publish_queue_bytes", "Bytes of those frames")?,
        })
    }
}

/// What the source keeps for this connector.
#[derive(Debug)]
struct Retention {
    bytes: IntGauge,
    limit: IntGauge,
}

impl Retention {
    fn new(registry: &Registry) -> Result<Retention, prometheus::Error> {
        let bytes = IntGauge::new(
            "govbridge_capture_retained_bytes",
            "Bytes of its log that the source keeps for this connector",
        )?;
        let limit = IntGauge::new(
            "govbridge_capture_retained_limit_bytes",
            "Beyond so many of these bytes the source gives the connector's place up; 0: never, or not known",
        )?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(limit.clone()))?;
        Ok(Retention { bytes, limit })
    }
}

/// A connector's metrics and its health.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    streams: Vec<String>,
    rows: IntCounterVec,
    batches: IntCounterVec,
    bytes: IntCounterVec,
    published: IntCounterVec,
    appended: IntCounterVec,
    beacons: IntCounterVec,
    captured: IntCounter,
    key_versions: IntCounter,
    epoch: IntGauge,
    starts: IntCounter,
    restarts: IntCounter,
    checkpoints: IntCounter,
    cosignatures: IntGauge,
    quorum: IntGauge,
    witness_faults: IntCounterVec,
    acknowledged: IntGauge,
    retention: Retention,
    log_size: IntGauge,
    outstanding: IntGaugeVec,
    producer: Producer,
    pulses: Mutex<Vec<Pulse>>,
    /// Why the last life ended, while no new one runs.
    broke: Mutex<Option<String>>,
    /// The producer has said that no broker is connected.
    away: std::sync::atomic::AtomicBool,
    running: std::sync::atomic::AtomicBool,
}

/// A wide number as a gauge; a gauge has 63 bits, and so have all positions that exist.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Metrics {
    /// The metrics of a connector with these streams.
    ///
    /// # Errors
    /// Only when two metrics had one name, which a test would have seen.
    pub fn new(streams: &[StreamId]) -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let vec = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["stream"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let value = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let witness_faults = IntCounterVec::new(
            Opts::new(
                "govbridge_append_witness_faults_total",
                "Requests for a cosignature that a witness did not answer with one",
            ),
            &["witness"],
        )?;
        registry.register(Box::new(witness_faults.clone()))?;
        let outstanding = IntGaugeVec::new(
            Opts::new("govbridge_publish_outstanding_batches", "Batches sealed and not yet in the log"),
            &["stream"],
        )?;
        registry.register(Box::new(outstanding.clone()))?;
        let metrics = Metrics {
            rows: vec("govbridge_seal_rows_total", "Row events sealed")?,
            batches: vec("govbridge_seal_batches_total", "Batches sealed")?,
            bytes: vec("govbridge_seal_bytes_total", "Bytes of sealed batches")?,
            published: vec("govbridge_publish_batches_total", "Batches that Kafka acknowledged")?,
            appended: vec("govbridge_append_batches_total", "Batches in the log")?,
            beacons: vec("govbridge_publish_beacons_total", "Beacons sent")?,
            captured: counter("govbridge_capture_rows_total", "Row changes that the source gave")?,
            key_versions: counter("govbridge_seal_key_versions_total", "Key versions made")?,
            epoch: value("govbridge_publish_epoch", "The connector's epoch")?,
            starts: counter("govbridge_publish_starts_total", "Start sequences completed")?,
            restarts: counter("govbridge_publish_restarts_total", "Lives that ended in a delivery error")?,
            checkpoints: counter("govbridge_append_checkpoints_total", "Checkpoints signed")?,
            cosignatures: value("govbridge_append_cosignatures", "Cosignatures on the newest checkpoint")?,
            quorum: value("govbridge_append_quorum", "1 while the newest checkpoint has its quorum")?,
            retention: Retention::new(&registry)?,
            acknowledged: value(
                "govbridge_acknowledge_commit",
                "The commit up to which the source may forget",
            )?,
            log_size: value("govbridge_append_log_entries", "Entries in the log")?,
            producer: Producer::new(&registry)?,
            broke: Mutex::new(None),
            away: std::sync::atomic::AtomicBool::new(false),
            witness_faults,
            outstanding,
            streams: streams.iter().map(ToString::to_string).collect(),
            pulses: Mutex::new(vec![Pulse::default(); streams.len()]),
            running: std::sync::atomic::AtomicBool::new(false),
            registry,
        };
        for stream in &metrics.streams {
            for counter in
                [&metrics.rows, &metrics.batches, &metrics.bytes, &metrics.published, &metrics.appended]
            {
                counter.with_label_values(&[stream.as_str()]);
            }
        }
        Ok(metrics)
    }

    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing into a Vec does not fail, and the format is UTF-8.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }

    fn label(&self, stream: usize) -> &str {
        self.streams.get(stream).map_or("", String::as_str)
    }

    pub(crate) fn sealed(&self, stream: usize, rows: u64, bytes: usize) {
        let label = [self.label(stream)];
        self.rows.with_label_values(&label).inc_by(rows);
        self.batches.with_label_values(&label).inc();
        self.bytes.with_label_values(&label).inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.outstanding.with_label_values(&label).inc();
    }

    pub(crate) fn published(&self, stream: usize) {
        self.published.with_label_values(&[self.label(stream)]).inc();
    }

    pub(crate) fn appended(&self, stream: usize, sequence: Sequence, now: UnixMicros) {
        let label = [self.label(stream)];
        self.appended.with_label_values(&label).inc();
        self.outstanding.with_label_values(&label).dec();
        if let Some(pulse) = self.pulses().get_mut(stream) {
            pulse.uncovered_since.get_or_insert(now);
            pulse.newest = Some(sequence);
        }
    }

    pub(crate) fn beacon(&self, stream: usize) {
        self.beacons.with_label_values(&[self.label(stream)]).inc();
    }

    pub(crate) fn beacon_acknowledged(&self, stream: usize, now: UnixMicros, covers: Option<Sequence>) {
        if let Some(pulse) = self.pulses().get_mut(stream) {
            pulse.beacon_at = Some(now);
            if covers.is_some() && covers >= pulse.newest {
                pulse.uncovered_since = None;
            } else if covers.is_some() {
                // Newer batches wait; they came after the checkpoint that this beacon tells of.
                pulse.uncovered_since = pulse.uncovered_since.map(|_| now);
            }
        }
    }

    pub(crate) fn retained(&self, Retained { bytes, limit }: Retained) {
        self.retention.bytes.set(gauge(bytes));
        self.retention.limit.set(gauge(limit.unwrap_or(0)));
    }

    pub(crate) fn captured(&self, rows: u64) {
        self.captured.inc_by(rows);
    }

    pub(crate) fn key_version(&self) {
        self.key_versions.inc();
    }

    pub(crate) fn started(&self, epoch: u64) {
        self.starts.inc();
        self.epoch.set(gauge(epoch));
        self.outstanding.reset();
        self.pulses().fill(Pulse::default());
        self.away.store(false, std::sync::atomic::Ordering::SeqCst);
        *self.broke.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.running.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn stopped(&self) {
        self.running.store(false, std::sync::atomic::Ordering::SeqCst);
    }

    /// A life ended, and why.
    pub(crate) fn restarted(&self, why: &str) {
        self.restarts.inc();
        self.waiting(why);
    }

    /// A life cannot begin yet, and why.
    pub(crate) fn waiting(&self, why: &str) {
        *self.broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// How the producer stands with its brokers.
    pub(crate) fn kafka(&self, standing: Standing) {
        let Standing { brokers_up, queued_frames, queued_bytes } = standing;
        self.producer.brokers_up.set(gauge(brokers_up.unwrap_or(0)));
        self.producer.queued_frames.set(gauge(queued_frames));
        self.producer.queued_bytes.set(gauge(queued_bytes));
        self.away.store(brokers_up == Some(0), std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn checkpoint(&self, size: u64, cosignatures: usize, quorum: bool) {
        self.checkpoints.inc();
        self.log_size.set(gauge(size));
        self.cosignatures.set(i64::try_from(cosignatures).unwrap_or(i64::MAX));
        self.quorum.set(i64::from(quorum));
    }

    pub(crate) fn witness_fault(&self, witness: &str) {
        self.witness_faults.with_label_values(&[witness]).inc();
    }

    pub(crate) fn acknowledged(&self, commit: u64) {
        self.acknowledged.set(gauge(commit));
    }

    fn pulses(&self) -> std::sync::MutexGuard<'_, Vec<Pulse>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the connector is not healthy; empty when it is.
    ///
    /// It is healthy only while it runs, every batch that has been in the log for longer than three checkpoint
    /// intervals is proven by a beacon that Kafka acknowledged, and every stream's newest beacon is younger than three
    /// of the intervals in which it is due.
    pub fn complaints(&self, now: UnixMicros, checkpoint_ms: u64, idle_ms: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        if !self.running.load(std::sync::atomic::Ordering::SeqCst) {
            let mut complaint = "the connector is starting, restarting or stopping".to_owned();
            if let Some(why) = &*self.broke.lock().unwrap_or_else(PoisonError::into_inner) {
                complaint = format!("{complaint}: {why}");
            }
            complaints.push(complaint);
        } else if self.away.load(std::sync::atomic::Ordering::SeqCst) {
            complaints.push("Kafka is away: the producer is connected to no broker".to_owned());
        }
        let older = |since: UnixMicros, interval_ms: u64| {
            let bound = i64::try_from(interval_ms.saturating_mul(3000)).unwrap_or(i64::MAX);
            now.0.saturating_sub(since.0) > bound
        };
        for (stream, pulse) in self.streams.iter().zip(self.pulses().iter()) {
            if pulse.uncovered_since.is_some_and(|since| older(since, checkpoint_ms)) {
                complaints.push(format!(
                    "{stream}: a batch older than three checkpoint intervals is under no beacon"
                ));
            }
            match pulse.beacon_at {
                None => complaints.push(format!("{stream}: no beacon of this life was acknowledged yet")),
                Some(at) if older(at, idle_ms.max(checkpoint_ms)) => {
                    complaints
                        .push(format!("{stream}: the newest beacon is older than three of its intervals"));
                }
                Some(_) => {}
            }
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_stream() -> Metrics {
        let stream = StreamId {
            department: "tax".parse().unwrap(),
            dataset: "payments".parse().unwrap(),
            partition: bridge_event::Partition(0),
        };
        Metrics::new(&[stream]).unwrap()
    }

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_connector_without_a_beacon_is_not_healthy() {
        let metrics = one_stream();
        assert_eq!(metrics.complaints(UnixMicros(0), 1000, 30_000).len(), 2);
        metrics.started(1);
        assert_eq!(metrics.complaints(UnixMicros(0), 1000, 30_000).len(), 1);
        metrics.beacon_acknowledged(0, UnixMicros(0), None);
        assert!(metrics.complaints(UnixMicros(0), 1000, 30_000).is_empty());
    }

    #[test]
    fn a_batch_that_no_beacon_proves_makes_it_unhealthy_after_three_intervals() {
        let metrics = one_stream();
        metrics.started(1);
        metrics.beacon_acknowledged(0, UnixMicros(0), None);
        metrics.appended(0, Sequence(0), UnixMicros(0));
        assert!(metrics.complaints(UnixMicros(3 * SECOND), 1000, 30_000).is_empty());
        assert_eq!(metrics.complaints(UnixMicros(3 * SECOND + 1), 1000, 30_000).len(), 1);
        metrics.beacon_acknowledged(0, UnixMicros(4 * SECOND), Some(Sequence(0)));
        assert!(metrics.complaints(UnixMicros(4 * SECOND), 1000, 30_000).is_empty());
    }

    #[test]
    fn an_old_beacon_makes_it_unhealthy() {
        let metrics = one_stream();
        metrics.started(1);
        metrics.beacon_acknowledged(0, UnixMicros(0), None);
        assert!(metrics.complaints(UnixMicros(90 * SECOND), 1000, 30_000).is_empty());
        assert_eq!(metrics.complaints(UnixMicros(90 * SECOND + 1), 1000, 30_000).len(), 1);
    }

    #[test]
    fn kafka_away_and_a_broken_life_are_called_by_their_names() {
        let metrics = one_stream();
        metrics.restarted("FET002: no broker answers");
        let complaints = metrics.complaints(UnixMicros(0), 1000, 30_000);
        assert!(complaints.iter().any(|one| one.contains("FET002")), "{complaints:?}");
        metrics.started(1);
        metrics.beacon_acknowledged(0, UnixMicros(0), None);
        metrics.kafka(Standing { brokers_up: Some(0), queued_frames: 3, queued_bytes: 100 });
        let complaints = metrics.complaints(UnixMicros(0), 1000, 30_000);
        assert!(complaints.iter().any(|one| one.contains("Kafka is away")), "{complaints:?}");
        metrics.kafka(Standing { brokers_up: Some(1), ..Standing::default() });
        assert!(metrics.complaints(UnixMicros(0), 1000, 30_000).is_empty());
    }

    #[test]
    fn rows_sealed_are_counted_by_stream() {
        let metrics = one_stream();
        metrics.sealed(0, 5, 100);
        let text = metrics.text();
        assert!(text.contains("govbridge_seal_rows_total{stream=\"tax/payments/0\"} 5"), "{text}");
    }
}
