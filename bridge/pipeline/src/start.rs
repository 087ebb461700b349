//! The start: performs the effects that `bridge_chain::start` asks for, and hands back what came of them.

use crate::beacon::InLog;
use crate::checkpoint;
use crate::heads::StreamHead;
use crate::life::{End, Plan, held, superseded};
use crate::logged;
use crate::outside::Point;
use crate::shutdown::Shutdown;
use crate::tail;
use crate::{Connector, ConnectorError};
use bridge_chain::start::{Adopted, Effect, Halt, Located, Outcome, Sizes, Start};
use bridge_chain::{Facts, Input, Last, Open, State};
use bridge_envelope::{
    BatchEntry, Beacon, Entry, EpochEntry, Expected, Fence, FrameKind, Header, RowPosition, sign_fence,
    verify_batch, verify_beacon, verify_fence,
};
use bridge_event::{Epoch, IncarnationNumber, LogIndex, Offset, Sequence};
use bridge_kafka::{FetchError, Fetched, Fetcher, Publisher, Reading};
use bridge_ledger::Log;
use bridge_suite::{Digest, KeyId};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a start hands over to a life.
pub(crate) struct Started {
    pub(crate) epoch: Epoch,
    pub(crate) publisher: Publisher,
    pub(crate) streams: Vec<StartedStream>,
}

/// One stream after a start.
#[derive(Debug)]
pub(crate) struct StartedStream {
    pub(crate) adopted: Adopted,
    /// Where the adopted head ends, with the engine's token as far as it is known.
    pub(crate) head_last: RowPosition,
    pub(crate) in_log: Option<InLog>,
}

/// What is read of one stream while it is adopted.
#[derive(Debug, Default)]
struct Reader {
    head_last: RowPosition,
    /// The head's sequence at the place that reading begins from.
    from: Option<Sequence>,
    /// What the log has of the stream from the place on.
    logged: HashMap<Sequence, Digest>,
    /// The batch that was just handed to the rules, in case they want it appended.
    batch: Option<(Header, Digest)>,
}

/// The effects' own state.
pub(crate) struct Starting<'a> {
    connector: &'a Connector,
    log: &'a Mutex<Log>,
    plans: &'a [Plan],
    incarnation: IncarnationNumber,
    shutdown: &'a Shutdown,
    fetcher: Fetcher,
    publisher: Option<Publisher>,
    readers: Vec<Reader>,
    /// The newest beacons, as they were found when the log was checked: what they say of a place stays true.
    beacons: Vec<Option<Beacon>>,
    reading: usize,
    /// Records read so far, and since when.
    records: u64,
    began: Instant,
}

/// The newest epoch entry, `Epoch(0)` in a new log.
fn newest_epoch(log: &Log) -> Epoch {
    log.newest_epoch().map_or(Epoch(0), |(epoch, _)| epoch)
}

const POLL: Duration = Duration::from_millis(100);

impl<'a> Starting<'a> {
    pub(crate) fn new(
        connector: &'a Connector,
        log: &'a Mutex<Log>,
        plans: &'a [Plan],
        incarnation: IncarnationNumber,
        shutdown: &'a Shutdown,
    ) -> Result<Starting<'a>, End> {
        Ok(Starting {
            connector,
            log,
            plans,
            incarnation,
            shutdown,
            fetcher: Fetcher::new(&connector.kafka).map_err(|e| End::Halt(ConnectorError::Properties(e)))?,
            publisher: None,
            readers: plans.iter().map(|_| Reader::default()).collect(),
            beacons: Vec::new(),
            reading: 0,
            records: 0,
            began: Instant::now(),
        })
    }

    /// Runs the start sequence to its end.
    pub(crate) fn run(mut self) -> Result<Started, End> {
        let genesis: Vec<Digest> =
            self.plans.iter().map(|plan| Header::genesis(&plan.stream, &self.connector.origin)).collect();
        let (mut start, mut effect) = Start::new(&genesis);
        loop {
            if self.shutdown.is_asked() {
                return Err(End::Stopped);
            }
            let outcome = match effect {
                Effect::Claim => Outcome::Claimed,
                Effect::CheckLog => self.check_log()?,
                Effect::AppendEpoch { after, epoch } => self.append_epoch(after, epoch)?,
                Effect::WriteFences { epoch } => self.write_fences(epoch)?,
                Effect::Locate { stream } => Outcome::Located(self.locate(stream)?),
                Effect::Read { stream, from } => self.read(stream, from)?,
                Effect::ReadOn => self.next()?,
                Effect::Append { stream } => self.append(stream)?,
                Effect::CheckNewest => Outcome::Newest(newest_epoch(&held(self.log))),
                Effect::Sync => Outcome::Synced,
                Effect::Go => break,
                Effect::End => return Err(End::Superseded("another process has taken over".to_owned())),
                Effect::Halt(halt) => return Err(self.halt(halt)),
            };
            effect = start.step(outcome);
        }
        self.hand_over(start)
    }

    fn halt(&self, halt: Halt) -> End {
        let names = self.plans.iter().map(|plan| plan.stream.to_string()).collect();
        End::Halt(ConnectorError::Start { halt, streams: names })
    }

    fn plan(&self, stream: usize) -> Result<&'a Plan, End> {
        self.plans.get(stream).ok_or(End::Halt(ConnectorError::NoSuchStream(stream)))
    }

    /// Whether the log names batches of the stream.
    fn holds(&self, plan: &Plan) -> bool {
        held(self.log).head(&plan.stream).is_some()
    }

    fn expected(&self, plan: &Plan) -> Expected {
        Expected { stream: plan.stream.clone(), origin: self.connector.origin.clone(), suite: plan.suite }
    }

    /// The log must not be smaller than its own checkpoint, than the newest beacons', than what any witness reports.
    fn check_log(&mut self) -> Result<Outcome, End> {
        let (newest, log, checkpoint) = {
            let log = held(self.log);
            (newest_epoch(&log), log.size(), log.own_checkpoint().map_or(0, |(size, _)| size))
        };
        let mut beacon = 0;
        self.beacons.clear();
        for plan in self.plans {
            let expected = self.expected(plan);
            let held = self.holds(plan);
            let found = tail::newest_beacon(
                &mut self.fetcher,
                plan,
                &expected,
                self.connector,
                held,
                &mut self.records,
                self.shutdown,
            )?;
            let proven = found.as_ref().and_then(|beacon| beacon.appended.as_ref());
            let size = proven.and_then(|proven| tail::checkpoint_size(&proven.checkpoint));
            beacon = beacon.max(size.unwrap_or(0));
            self.beacons.push(found);
        }
        let witnesses = checkpoint::largest_witnessed(self.connector, self.shutdown)?;
        Ok(Outcome::LogChecked { newest, sizes: Sizes { log, checkpoint, beacon, witnesses } })
    }

    fn append_epoch(&mut self, after: Epoch, epoch: Epoch) -> Result<Outcome, End> {
        let entry = Entry::Epoch(EpochEntry {
            epoch,
            incarnation: self.incarnation,
            started: self.connector.clock.now(),
        });
        let bytes = entry.encode().map_err(End::defect)?;
        {
            let mut log = held(self.log);
            if newest_epoch(&log) != after {
                return Ok(Outcome::Superseded);
            }
            log.append(&[bytes]).map_err(End::from_log)?;
        }
        self.connector.probe.at(Point::AfterEpoch);
        let log = held(self.log);
        let head = |plan: &Plan| log.head(&plan.stream).map(|head| (head.sequence, head.digest));
        let heads = self.plans.iter().map(head).collect();
        Ok(Outcome::EpochAppended { heads })
    }

    /// With a new producer a fence in every stream; whatever was in the old one's queue is gone with it.
    fn write_fences(&mut self, epoch: Epoch) -> Result<Outcome, End> {
        self.publisher = None;
        let mut publisher =
            Publisher::new(&self.connector.kafka).map_err(|e| End::Halt(ConnectorError::Properties(e)))?;
        let log_index = held(self.log).newest_epoch().map_or(LogIndex(0), |(_, index)| index);
        for (stream, plan) in self.plans.iter().enumerate() {
            let fence = Fence {
                origin: self.connector.origin.clone(),
                stream: plan.stream.clone(),
                epoch,
                log_index,
                incarnation: self.incarnation,
            };
            let signed = sign_fence(fence, &[&self.connector.signing]).map_err(End::defect)?;
            let token = u64::try_from(stream).unwrap_or(u64::MAX);
            publisher
                .publish(&plan.stream.topic(), plan.stream.partition, "fence", signed.frame(), token)
                .map_err(|error| {
                    publisher
                        .forbidden(&plan.stream.topic())
                        .map_or_else(|| End::retry(error), End::undelivered)
                })?;
        }
        let mut fences = vec![None; self.plans.len()];
        let deadline = Instant::now() + Duration::from_millis(self.connector.intervals.delivery_timeout_ms);
        let mut failed = None;
        while fences.iter().any(Option::is_none) && failed.is_none() && Instant::now() < deadline {
            publisher.poll(POLL, &mut |delivery| match delivery.result {
                Ok(offset) => {
                    let stream = usize::try_from(delivery.token).unwrap_or(usize::MAX);
                    if let Some(fence) = fences.get_mut(stream) {
                        *fence = Some(offset);
                    }
                }
                Err(error) => failed = failed.take().or(Some(error)),
            });
            if self.shutdown.is_asked() {
                return Err(End::Stopped);
            }
        }
        if let Some(error) = failed {
            // The rules would take a new epoch at once; a broker that is away for a minute would cost thousands.
            return Err(End::undelivered(error));
        }
        if fences.iter().any(Option::is_none) {
            return Err(End::Retry("not every fence was acknowledged in time".to_owned()));
        }
        self.publisher = Some(publisher);
        self.connector.probe.at(Point::AfterFence);
        Ok(Outcome::Fenced { fences })
    }

    fn locate(&mut self, stream: usize) -> Result<Located, End> {
        let plan = self.plan(stream)?;
        let bounds = tail::bounds(&self.fetcher, plan, self.holds(plan), self.shutdown)?;
        let kept = held(self.log).place(&plan.stream).and_then(StreamHead::decode);
        let topics = self.connector.topics;
        if topics.check
            && topics.retention_ms.is_none()
            && kept.as_ref().is_some_and(|head| head.place.offset < bounds.low)
        {
            // The topic keeps its records for ever, as was checked: it was not retention that removed them.
            return Err(self.halt(Halt::TopicCut { stream }));
        }
        let known = match kept {
            Some(head) if head.place.offset >= bounds.low => Some(head),
            // No `heads` file, or retention removed the record that it names: any verified beacon has a place.
            _ => self
                .beacons
                .get(stream)
                .and_then(Option::as_ref)
                .map(StreamHead::of_beacon)
                .filter(|head| head.place.offset >= bounds.low),
        };
        if let Some(head) = known {
            if let Some(reader) = self.readers.get_mut(stream) {
                reader.head_last = head.last.clone();
                reader.from = head.place.state.head.map(|(sequence, _)| sequence);
            }
            let logged = match head.place.state.head {
                Some((sequence, _)) => logged::digest(&held(self.log), &plan.stream, sequence)?,
                None => None,
            };
            return Ok(Located::Place { place: head.place, logged });
        }
        if bounds.low == Offset(0) {
            return Ok(Located::Beginning);
        }
        let logged = self.logged_state(plan)?;
        Ok(Located::Removed { low: bounds.low, logged })
    }

    /// The state after the log's last batch of the stream.
    fn logged_state(&self, plan: &Plan) -> Result<State, End> {
        let Some(batch) = logged::newest(&held(self.log), &plan.stream)? else { return Ok(State::START) };
        let BatchEntry { epoch, sequence, digest, incarnation, last, leaves_open, .. } = batch.entry;
        Ok(State {
            fenced: epoch,
            head: Some((sequence, digest)),
            last: Last { incarnation, mark: last },
            open: leaves_open.then_some(Open { commit: last.commit }),
            snapshot: logged::snapshot(&held(self.log), &plan.stream)?,
        })
    }

    fn read(&mut self, stream: usize, from: Offset) -> Result<Outcome, End> {
        let plan = self.plan(stream)?;
        self.reading = stream;
        let reading =
            Reading { topic: plan.stream.topic().into(), partition: plan.stream.partition, offset: from };
        self.fetcher.assign(vec![reading]).map_err(End::retry)?;
        let known = self.readers.get(stream).and_then(|reader| reader.from).unwrap_or(Sequence(0));
        let logged = logged::digests(&held(self.log), &plan.stream, known)?;
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.logged = logged;
        }
        self.next()
    }

    fn next(&mut self) -> Result<Outcome, End> {
        let deadline = Instant::now() + Duration::from_millis(self.connector.intervals.delivery_timeout_ms);
        let plan = self.plan(self.reading)?;
        loop {
            if self.shutdown.is_asked() {
                return Err(End::Stopped);
            }
            let record = match self.fetcher.next(POLL) {
                // Behind the topic's end: it ended before the own fence, which stood there a moment ago.
                Err(FetchError::OutOfRange { offset, bounds, .. }) if offset > bounds.high => {
                    return Ok(Outcome::Ended);
                }
                record => record.map_err(End::unread)?,
            };
            if let Some(record) = record {
                self.records += 1;
                let offset = record.offset;
                return Ok(Outcome::Record { offset, input: self.judge(plan, &record) });
            }
            let end = self.fetcher.at_end(&plan.stream.topic(), plan.stream.partition, POLL);
            if end.is_ok_and(|end| end) {
                return Ok(Outcome::Ended);
            }
            if Instant::now() >= deadline {
                return Err(End::Retry(format!("{}: Kafka gave no record in time", plan.stream)));
            }
        }
    }

    /// A record as the rules see it; `None` when it is no verified frame of the stream, which anybody may have put there.
    fn judge(&mut self, plan: &Plan, record: &Fetched) -> Option<Input> {
        let expected = self.expected(plan);
        let (bytes, trust) = (&record.bytes, &self.connector.trust);
        match FrameKind::of(bytes)? {
            FrameKind::Fence => {
                let fence = verify_fence(bytes, trust, &expected).into_verified().ok()?;
                self.entitled(fence.signers(), fence.content().log_index)?;
                Some(Input::Fence { epoch: fence.content().epoch })
            }
            FrameKind::Beacon => {
                let beacon = verify_beacon(bytes, trust, &expected).into_verified().ok()?;
                self.entitled(beacon.signers(), self.next_index())?;
                let head = beacon.content().head.as_ref().map(|head| (head.sequence, head.digest));
                Some(Input::Beacon { epoch: beacon.content().epoch, head })
            }
            FrameKind::Batch => {
                let batch = verify_batch(bytes, trust, &expected).into_verified().ok()?;
                let (header, digest) = (batch.header().clone(), batch.digest());
                let reader = self.readers.get(self.reading)?;
                if reader.logged.get(&header.sequence) != Some(&digest) {
                    // What the log lacks would be appended now, so its key has to be good for the index that it would get.
                    self.entitled(batch.signers(), self.next_index())?;
                }
                let facts = Facts::of(&header, digest);
                if let Some(reader) = self.readers.get_mut(self.reading) {
                    reader.batch = Some((header, digest));
                }
                Some(Input::Batch(facts))
            }
            _ => None,
        }
    }

    /// The index that the next entry gets.
    fn next_index(&self) -> LogIndex {
        LogIndex(held(self.log).size())
    }

    /// Whether the trust file lets all these keys of the department speak at this index of this log. A key whose range is over is in
    /// nobody's name any more, whoever holds it.
    fn entitled(&self, signers: &[KeyId], index: LogIndex) -> Option<()> {
        let Connector { trust, origin, .. } = self.connector;
        let department = &self.plans.first()?.stream.department;
        signers.iter().all(|key| trust.signing_key_valid_at(department, key, origin, index)).then_some(())
    }

    fn append(&mut self, stream: usize) -> Result<Outcome, End> {
        let plan = self.plan(stream)?;
        let batch = self.readers.get(stream).and_then(|reader| reader.batch.clone());
        let Some((header, digest)) = batch else { return Err(End::defect("nothing to adopt")) };
        let mut log = held(self.log);
        let previous = log.head(&plan.stream).map(|head| head.index);
        let entry = Entry::Batch(BatchEntry::of(&header, digest, previous));
        let bytes = entry.encode().map_err(End::defect)?;
        match log.append(&[bytes]) {
            Ok(_) => Ok(Outcome::Appended),
            Err(error) if superseded(&error) => Ok(Outcome::Superseded),
            Err(error) => Err(End::from_log(error)),
        }
    }

    fn hand_over(mut self, start: Start) -> Result<Started, End> {
        let epoch = start.epoch();
        let adopted = start.into_adopted().ok_or_else(|| End::defect("a start without its end"))?;
        let publisher = self.publisher.take().ok_or_else(|| End::defect("a start without a producer"))?;
        let mut streams = Vec::with_capacity(adopted.len());
        for (stream, adopted) in adopted.into_iter().enumerate() {
            let plan = self.plan(stream)?;
            let reader = self.readers.get(stream);
            let state = *adopted.machine.state();
            let mut head_last = reader.map(|reader| reader.head_last.clone()).unwrap_or_default();
            // The last batch that was read is the head, when one was read at all.
            if let Some((header, digest)) = reader.and_then(|reader| reader.batch.as_ref())
                && state.head == Some((header.sequence, *digest))
            {
                head_last = header.last.clone();
            }
            if state.head.is_some() && head_last.mark != state.last.mark {
                head_last = RowPosition { mark: state.last.mark, token: bridge_event::Token::default() };
            }
            let in_log = logged::newest(&held(self.log), &plan.stream)?.map(|batch| InLog {
                index: batch.index,
                sequence: batch.entry.sequence,
                entry: batch.bytes,
            });
            streams.push(StartedStream { adopted, head_last, in_log });
        }
        let (records, took_ms) = (self.records, self.began.elapsed().as_millis());
        tracing::info!(%epoch, streams = streams.len(), records, took_ms, "started");
        Ok(Started { epoch, publisher, streams })
    }
}
