//! Seal and publish: encoded batches become signed frames, in sequence, and go to Kafka.
//!
//! ```text
//!   capture --Encoded--> [key version in force?] -> Sealer -> Streams::sealed -> Publisher
//!   append  --beacon---------------------------------------------------------> Publisher
//!                                              Publisher's reports -> Streams::acknowledged -> append
//! ```
//!
//! One thread owns the producer and never waits for the log, so acknowledgements are taken as they come. Any delivery
//! error ends the life: the next start reads back what really stands in Kafka.

use crate::batch::{Encoded, FromCapture};
use crate::keys::KeyRing;
use crate::life::{End, Life};
use crate::outside::Point;
use bridge_envelope::{ContractRecord, Header, RowPosition, Sealer, SectionDraft, Signed};
use bridge_event::{At, Offset, Sequence};
use bridge_kafka::{Delivery, PublishError, Publisher};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What the sealing thread is told, in order.
#[derive(Debug)]
pub(crate) enum ToSeal {
    /// By the capturing thread.
    Captured(FromCapture),
    /// The capturing thread has ended.
    CaptureEnded,
    /// By the appending thread: a beacon for a stream, and the resolved position that it carries.
    Beacon { stream: usize, frame: Vec<u8>, resolved: At, covers: Option<Sequence> },
}

/// What a delivery report is about.
#[derive(Debug)]
enum Sent {
    Batch { stream: usize, sequence: Sequence },
    Beacon { stream: usize, resolved: At, covers: Option<Sequence> },
    Record,
}

impl Sent {
    fn stream(&self) -> Option<usize> {
        match *self {
            Sent::Batch { stream, .. } | Sent::Beacon { stream, .. } => Some(stream),
            Sent::Record => None,
        }
    }
}

/// Frames of one stream that Kafka may owe an answer for. An idempotent producer has no more of a partition in flight; what it
/// is given beyond them, librdkafka looks at without a pause until the first is answered, for half a core.
const FRAMES_MAX: usize = 5;
/// How long to wait for Kafka's reports while something is in flight: work is not looked at meanwhile. Once none has come
/// for as long as [`QUIET`], Kafka is slow or away, and new work may wait a little longer.
const REPORTS_WAIT: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(10));
const QUIET: Duration = Duration::from_millis(100);
/// How often the metrics are told how the producer stands.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for work while nothing is in flight; a message, or the end of all who send one, comes at once.
const WORK_WAIT: Duration = Duration::from_millis(500);

/// The producer with what is in flight.
pub(crate) struct Courier<'a> {
    life: &'a Life<'a>,
    publisher: Publisher,
    sent: HashMap<u64, Sent>,
    token: u64,
    /// When Kafka last reported, or was first given something to report on.
    heard: Instant,
    /// Where each stream ends, as Kafka's acknowledgements say.
    ends: Vec<Offset>,
    /// How many frames of each stream Kafka has not reported on.
    unanswered: Vec<usize>,
    /// Batches on their way from the capturing thread to here.
    under_way: Arc<AtomicUsize>,
    /// When the metrics were last told how the producer stands.
    told: Instant,
}

impl<'a> Courier<'a> {
    pub(crate) fn new(life: &'a Life<'a>, publisher: Publisher, under_way: Arc<AtomicUsize>) -> Courier<'a> {
        let ends: Vec<Offset> =
            life.streams(|streams| streams.sending.iter().map(|s| s.outgoing.place().offset).collect());
        let (now, unanswered) = (Instant::now(), vec![0; ends.len()]);
        let sent = HashMap::new();
        Courier { life, publisher, sent, token: 0, heard: now, ends, unanswered, under_way, told: now }
    }

    /// Waits until Kafka owes fewer answers for a stream than it takes at a time; librdkafka gives each its time-out.
    fn wait_for_room(&mut self, stream: usize) -> Result<(), End> {
        while self.unanswered.get(stream).is_some_and(|owed| *owed >= FRAMES_MAX) {
            self.life.go_on()?;
            if self.life.drain_is_over() {
                return Err(End::Retry("Kafka owes answers at the end of the drain".to_owned()));
            }
            self.reports(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// Hands a frame to the producer, waiting while its queue is full.
    fn send(
        &mut self,
        topic: &str,
        partition: bridge_event::Partition,
        hint: &str,
        frame: &[u8],
        sent: Sent,
    ) -> Result<(), End> {
        if let Some(stream) = sent.stream() {
            self.wait_for_room(stream)?;
            self.unanswered.get_mut(stream).into_iter().for_each(|owed| *owed += 1);
        }
        let token = self.token;
        self.token = self.token.wrapping_add(1);
        if self.sent.is_empty() {
            self.heard = Instant::now();
        }
        self.sent.insert(token, sent);
        let deadline = Instant::now() + self.life.delivery_timeout();
        loop {
            match self.publisher.publish(topic, partition, hint, frame, token) {
                Ok(()) => return Ok(()),
                Err(PublishError::QueueFull) if Instant::now() < deadline && !self.life.drain_is_over() => {
                    self.reports(Duration::from_millis(5))?
                }
                Err(error) => {
                    let forbidden = self.publisher.forbidden(topic);
                    return Err(forbidden.map_or_else(|| End::retry(error), End::undelivered));
                }
            }
        }
    }

    /// Takes Kafka's reports.
    fn reports(&mut self, wait: Duration) -> Result<(), End> {
        let mut reports: Vec<Delivery> = Vec::new();
        self.publisher.poll(wait, &mut |delivery| reports.push(delivery));
        if !reports.is_empty() {
            self.heard = Instant::now();
        }
        for delivery in reports {
            let sent = self.sent.remove(&delivery.token);
            let offset = delivery.result.map_err(End::undelivered)?;
            if let Some(owed) = sent.as_ref().and_then(Sent::stream).and_then(|s| self.unanswered.get_mut(s))
            {
                *owed = owed.saturating_sub(1);
            }
            if let Some(sent) = sent {
                self.delivered(&sent, offset)?;
            }
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.life.metrics().kafka(self.publisher.link().standing());
        }
        if self.publisher.broken() {
            let forbidden = self.publisher.forbidden("its topics");
            return Err(
                forbidden.map_or_else(|| End::Retry("the producer is broken".to_owned()), End::undelivered)
            );
        }
        Ok(())
    }

    fn delivered(&mut self, sent: &Sent, offset: Offset) -> Result<(), End> {
        if let Sent::Batch { stream, .. } | Sent::Beacon { stream, .. } = *sent
            && let Some(end) = self.ends.get_mut(stream)
        {
            if offset < *end {
                // Kafka lost what it had acknowledged, or the topic is another one by the same name. Nothing of this may
                // reach the log; the next start finds out which it is.
                return Err(End::Retry(format!(
                    "a frame stands at offset {offset}, and the stream ended at {end}"
                )));
            }
            *end = Offset(offset.0.saturating_add(1));
        }
        match *sent {
            Sent::Batch { stream, sequence } => {
                self.under_way.fetch_sub(1, Ordering::Relaxed);
                self.life
                    .streams(|streams| streams.acknowledged(stream, sequence, offset))
                    .map_err(End::defect)?;
                self.life.at(Point::AfterPublish);
                self.life.metrics().published(stream);
                self.life.wake_append();
            }
            Sent::Beacon { stream, resolved, covers } => {
                self.life.streams(|streams| streams.cuts.resolved(stream, resolved));
                self.life.beacon_acknowledged(stream, covers);
                self.life.wake_append();
            }
            Sent::Record => {}
        }
        Ok(())
    }

    /// Publishes a record that must stand in its topic before anything that names it, and waits until it does.
    pub(crate) fn record(&mut self, topic: &str, hint: &str, frame: &[u8]) -> Result<(), End> {
        self.send(topic, bridge_event::Partition(0), hint, frame, Sent::Record)?;
        let deadline = Instant::now() + self.life.delivery_timeout();
        while self.sent.values().any(|sent| matches!(sent, Sent::Record)) {
            if Instant::now() >= deadline || self.life.drain_is_over() {
                return Err(End::Retry(format!("a record in {topic} was not acknowledged in time")));
            }
            self.reports(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn reports_wait(&self) -> Duration {
        match (self.in_flight(), self.heard.elapsed() < QUIET) {
            (0, _) => Duration::ZERO,
            (_, true) => REPORTS_WAIT.0,
            (_, false) => REPORTS_WAIT.1,
        }
    }

    fn in_flight(&self) -> usize {
        self.sent.len()
    }
}

/// The sealing thread's own state.
pub(crate) struct Sealing<'a> {
    life: &'a Life<'a>,
    courier: Courier<'a>,
    sealer: Sealer,
    keys: KeyRing,
}

impl<'a> Sealing<'a> {
    pub(crate) fn new(life: &'a Life<'a>, courier: Courier<'a>, keys: KeyRing) -> Result<Sealing<'a>, End> {
        Ok(Sealing { life, courier, sealer: Sealer::new().map_err(End::defect)?, keys })
    }

    /// Runs until the capturing thread has ended and everything is acknowledged, or the life ends.
    pub(crate) fn run(
        &mut self,
        contracts: &[Signed<ContractRecord>],
        work: &Receiver<ToSeal>,
    ) -> Result<(), End> {
        for record in contracts {
            let digest = record.content().contract_digest().to_string();
            self.courier.record(bridge_kafka::topics::CONTRACTS, &digest, record.frame())?;
        }
        let mut captured = true;
        loop {
            let wait = if self.courier.in_flight() > 0 { Duration::ZERO } else { WORK_WAIT };
            match work.recv_timeout(wait) {
                Ok(ToSeal::CaptureEnded) => {
                    captured = false;
                    self.life.streams(|streams| streams.capture_ended = true);
                    self.life.wake_append();
                }
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {
                    let wait = self.courier.reports_wait();
                    self.courier.reports(wait)?;
                }
                // Every sender is gone: the appending thread, which sends last, has ended.
                Err(RecvTimeoutError::Disconnected) => return self.drain(),
            }
            if captured {
                self.courier.reports(Duration::ZERO)?;
            }
            self.life.go_on()?;
        }
    }

    /// Waits for what is in flight, as long as a stop may take.
    fn drain(&mut self) -> Result<(), End> {
        let until = self.life.drain_until();
        while self.courier.in_flight() > 0 && Instant::now() < until {
            self.courier.reports(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn take(&mut self, message: ToSeal) -> Result<(), End> {
        match message {
            ToSeal::Captured(FromCapture::Batch(encoded)) => self.seal(*encoded),
            ToSeal::Captured(FromCapture::Captured(end)) => {
                self.life.streams(|streams| streams.captured(end));
                self.life.wake_append();
                Ok(())
            }
            ToSeal::Beacon { stream, frame, resolved, covers } => {
                let plan = self.life.plan(stream)?;
                let (topic, partition) = (plan.stream.topic(), plan.stream.partition);
                self.courier.send(
                    &topic,
                    partition,
                    "beacon",
                    &frame,
                    Sent::Beacon { stream, resolved, covers },
                )?;
                self.life.at(Point::AfterBeacon);
                Ok(())
            }
            ToSeal::CaptureEnded => Ok(()),
        }
    }

    fn seal(&mut self, encoded: Encoded) -> Result<(), End> {
        self.life.at(Point::AfterEncode);
        if encoded.snapshot.as_ref().is_some_and(|part| !part.last) {
            self.life.at(Point::InSnapshot);
        }
        let stream = encoded.stream;
        let plan = self.life.plan(stream)?;
        let now = self.life.now();
        let rows = encoded.row_events.saturating_add(encoded.truncates);
        if rows > 0 {
            self.keys.in_force(self.life, stream, rows, now, &mut self.courier)?;
        }
        let header = self.header(&encoded)?;
        let versions = self.keys.of(stream);
        let drafts: Vec<SectionDraft<'_>> = plan
            .sections
            .iter()
            .zip(encoded.fragment.as_ref().map_or(&encoded.sections, |(row, _)| &row.sections))
            .zip(versions)
            .map(|((section, rows), key)| SectionDraft {
                name: &section.name,
                schema: section.schema,
                groups: &section.groups,
                compression: section.compression,
                rows,
                key,
            })
            .collect();
        let signers = [self.life.signing_key()];
        let sealed = match &encoded.fragment {
            None => self.sealer.seal(header, &drafts, &signers),
            Some((row, _)) => self.sealer.seal_fragment(header, &drafts, &row.fragments, &signers),
        };
        let sealed = sealed.map_err(End::defect)?;
        let (header, digest) = (sealed.header().clone(), sealed.digest());
        let sequence = header.sequence;
        let frame = sealed.into_frame();
        let hint = format!("{}/{}", header.epoch, sequence);
        self.life.metrics().sealed(stream, rows, frame.len());
        self.life
            .streams(|streams| streams.sealed(stream, header, digest, frame.len()))
            .map_err(End::defect)?;
        self.life.at(Point::AfterSeal);
        self.courier.send(
            &plan.stream.topic(),
            plan.stream.partition,
            &hint,
            &frame,
            Sent::Batch { stream, sequence },
        )
    }

    fn header(&self, encoded: &Encoded) -> Result<Header, End> {
        let plan = self.life.plan(encoded.stream)?;
        let next = self.life.streams(|s| s.sending.get(encoded.stream).and_then(|s| s.outgoing.next()));
        let (sequence, previous) = next.ok_or(End::Halt(crate::ConnectorError::SequencesEnd))?;
        let mut nonce = [0; 32];
        self.life.fill(&mut nonce)?;
        let stand =
            |stand: &crate::batch::Stand| RowPosition { mark: stand.mark, token: stand.token.clone() };
        Ok(Header {
            suite: plan.suite,
            stream: plan.stream.clone(),
            origin: self.life.origin().clone(),
            epoch: self.life.epoch(),
            sequence,
            previous,
            kind: encoded.kind,
            contract: plan.contract,
            nonce,
            incarnation: self.life.incarnation(),
            first: stand(&encoded.first),
            last: stand(&encoded.last),
            continues: encoded.continues,
            leaves_open: encoded.leaves_open,
            closed_by: encoded.closed_by,
            resolved: encoded.resolved,
            transactions_begun: encoded.begun,
            transactions_ended: encoded.ended,
            first_commit_time: encoded.first_commit_time,
            last_commit_time: encoded.last_commit_time,
            row_events: encoded.row_events,
            truncates: encoded.truncates,
            snapshot: encoded.snapshot.clone(),
            fragment: encoded.fragment.as_ref().map(|(row, index)| row.fragments.part(*index)),
            notice: None,
            sections: Vec::new(),
            extensions: Vec::new(),
        })
    }
}
