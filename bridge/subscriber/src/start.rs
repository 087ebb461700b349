//! Where every stream begins: at its progress, at its first record, or at the place of a verified beacon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_chain::Place;
use bridge_envelope::{Attested, Beacon, Expected, verify_beacon};
use bridge_event::{Offset, Origin, Partition, Sequence, StreamId};
use bridge_kafka::{Bounds, FetchError, Fetcher, Reading, topics};
use bridge_ledger::TileReader;
use bridge_suite::Digest;

use crate::assurance::{Judge, Level, judged};
use crate::checkpoints::Checkpoints;
use crate::flow::{Flow, Source};
use crate::lane::Lane;
use crate::merge::{Merge, Turn};
use crate::on_record::OnRecord;
use crate::progress::{Progress, Started, StreamProgress};
use crate::records::OriginSigners;
use crate::settings::{Mode, Start, Subscribed};
use crate::{DeliverError, Found, RunError, SettingsError};

/// How long one question to a broker may take.
const ASK: Duration = Duration::from_secs(10);

/// A topic that was there is looked for this long before it counts as deleted.
pub(crate) const GONE: Duration = Duration::from_secs(5);

/// How long one answer of a log may take.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Records of the first window that is searched for a beacon, at the end of the topic; beacons stand at least every 256
/// batches. Each next window is four times as long.
const WINDOW: i64 = 512;

impl Flow {
    /// Reads the records, makes a lane for each stream, and stands at its place. What is found on the way comes back.
    ///
    /// # Errors
    /// [`RunError`]: no contract, no place, a level that cannot be reached, a topic shorter than what was delivered.
    pub(crate) fn begin(&mut self, progress: Option<&Progress>) -> Result<Vec<Found>, RunError> {
        let mut found = self.read_records(progress.is_some())?;
        let mut sources: BTreeMap<Origin, usize> = BTreeMap::new();
        for dataset in self.settings.datasets.clone() {
            let (origin, promise) = self
                .records
                .dataset(&dataset)
                .ok_or_else(|| RunError::NoContract { dataset: name(&dataset) })?;
            let (origin, suite, partitions) =
                (origin.clone(), promise.contract.suite(), promise.contract.partitions());
            let number = self.sources.len();
            let source = *sources.entry(origin.clone()).or_insert(number);
            if source == number {
                let made = self.source(&origin, &dataset, progress)?;
                self.sources.push(made);
            }
            for partition in 0..partitions {
                let (department, dataset) = (dataset.department.clone(), dataset.dataset.clone());
                let stream = StreamId { department, dataset, partition: Partition(partition) };
                let expected = Expected { stream: stream.clone(), origin: origin.clone(), suite };
                let member = self.sources.get(source).map_or(0, |source| source.members.len());
                let stored = progress.and_then(|progress| progress.streams.get(&stream.to_string()));
                let lane = self.lane(expected, source, member, stored, &mut found)?;
                self.health.stream(&stream, None);
                let index = self.lanes.len();
                self.lanes.push(lane);
                if let Some(source) = self.sources.get_mut(source) {
                    source.members.push(index);
                }
            }
        }
        for source in &mut self.sources {
            if self.settings.mode == Mode::Source {
                let stored = progress.and_then(|progress| progress.sources.get(source.origin.as_str()));
                let delivered = stored.and_then(|stored| stored.delivered);
                let turn = |(incarnation, commit)| Turn {
                    incarnation: bridge_event::IncarnationNumber(incarnation),
                    commit,
                };
                let mut merge = Merge::new(source.members.len(), delivered.map(turn));
                // What a stream said before the restart binds it after it.
                for (member, lane) in source.members.iter().enumerate() {
                    let resolved = self.lanes.get(*lane).and_then(Lane::resolved);
                    resolved.into_iter().for_each(|resolved| merge.resolve(member, resolved));
                }
                source.merge = Some(merge);
            }
        }
        if let Some(progress) = progress {
            let own: Vec<String> = self.lanes.iter().map(|lane| lane.expected.stream.to_string()).collect();
            self.carried = progress.streams.clone();
            self.carried.retain(|stream, _| !own.contains(stream));
        }
        self.health.started();
        self.assign()?;
        Ok(found)
    }

    fn source(
        &self,
        origin: &Origin,
        dataset: &Subscribed,
        progress: Option<&Progress>,
    ) -> Result<Source, RunError> {
        let wanted = self.settings.check()?;
        let cannot =
            |reason: String| SettingsError::Level { dataset: name(dataset), level: wanted.as_str(), reason };
        let log = self.trust.log(origin);
        if log.is_none() && wanted > Level::Signed {
            return Err(cannot(format!("it does not name the log {origin}")).into());
        }
        let policy = match self.trust.policy_for(origin) {
            Ok(policy) => Some(policy),
            Err(error) if wanted == Level::Witnessed => return Err(cannot(error.to_string()).into()),
            Err(_) => None,
        };
        let quorum =
            self.trust.terms().votes().map_or(0, |votes| usize::try_from(votes.quorum).unwrap_or(usize::MAX));
        let key = log.map(|log| log.key.clone());
        let judged = judged(self.settings.limits.verified_bytes_max, &self.metrics);
        let judge = Judge { origin: origin.clone(), log: key.clone(), policy, quorum, judged };
        let address = self.settings.log_address(origin).or(log.map(|log| log.url.as_str()));
        let reader = address.and_then(|address| match TileReader::open(address, LOG_TIMEOUT) {
            Ok(reader) => Some(reader),
            Err(error) => {
                tracing::warn!(%error, "the log's tiles are not read");
                None
            }
        });
        let stored = progress.and_then(|progress| progress.sources.get(origin.as_str()));
        let remembered = stored.and_then(|stored| stored.checkpoint.as_deref()).zip(key);
        let checkpoints = match remembered {
            Some((note, key)) => match judge.checkpoint(note, &key) {
                Ok(signed) => {
                    let compared = stored.and_then(|stored| stored.compared.as_deref());
                    let compared = compared.and_then(|note| judge.checkpoint(note, &key).ok());
                    let compared =
                        compared.map(|compared| (compared.checkpoint.clone(), compared.note.clone()));
                    Checkpoints::remembered((signed.checkpoint.clone(), signed.note.clone()), compared)
                }
                // The trust file's keys have changed since; what they sign now is judged afresh.
                Err(found) => {
                    tracing::warn!(%found, "the remembered checkpoint");
                    Checkpoints::default()
                }
            },
            None => Checkpoints::default(),
        };
        Ok(Source {
            origin: origin.clone(),
            judge,
            checkpoints,
            log: reader,
            on_record: OnRecord::new(&self.metrics),
            merge: None,
            members: Vec::new(),
        })
    }

    fn lane(
        &self,
        expected: Expected,
        source: usize,
        member: usize,
        stored: Option<&StreamProgress>,
        found: &mut Vec<Found>,
    ) -> Result<Lane, RunError> {
        let stream = &expected.stream;
        let bounds = match self.fetcher.bounds(&stream.topic(), stream.partition, ASK) {
            // Before the first record was read, the topic may be yet to come.
            Err(FetchError::UnknownTopic { .. }) if stored.is_some() => self.look_again(stream)?,
            bounds => bounds?,
        };
        if let Some(stored) = stored {
            let damaged = |reason: String| DeliverError::OtherSubscription {
                path: self.settings.progress.clone(),
                reason,
            };
            if stored.origin != expected.origin.as_str() {
                return Err(damaged(format!(
                    "{stream} was read from {}, and is of {} now",
                    stored.origin, expected.origin
                ))
                .into());
            }
            let place =
                stored.place().ok_or_else(|| damaged(format!("the place of {stream} cannot be read")))?;
            check_bounds(stream, place.offset, bounds)?;
            let mut lane = Lane::new(expected, source, member, place, stored.started.clone());
            lane.restore(stored);
            return Ok(lane);
        }
        if self.settings.start == Start::Beginning && bounds.low == Offset(0) {
            let started = Started { at: "beginning".to_owned(), offset: 0, after_sequence: None };
            return Ok(Lane::new(expected, source, member, Lane::beginning(), started));
        }
        let latest = self.settings.start == Start::Latest;
        match self.search(&expected, source, bounds, latest)? {
            Some(place) => {
                let after_sequence = place.state.head.map(|(sequence, _)| sequence.0);
                let started = Started { at: "beacon".to_owned(), offset: place.offset.0, after_sequence };
                let what = format!(
                    "the stream is read from offset {}, after sequence {after_sequence:?}",
                    place.offset
                );
                found.push(Found::note("VER082", what).of_stream(stream));
                Ok(Lane::new(expected, source, member, place, started))
            }
            None => {
                let reason = "the topic holds no beacon whose place the log has proven".to_owned();
                Err(RunError::NoPlace { stream: stream.to_string(), reason })
            }
        }
    }

    /// Reads key records and contracts. Whoever has a progress has read them before.
    fn read_records(&mut self, again: bool) -> Result<Vec<Found>, RunError> {
        let deadline = Instant::now() + GONE;
        loop {
            match self.records.refresh() {
                Err(FetchError::UnknownTopic { .. }) if again && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(FetchError::UnknownTopic { .. }) if again => {
                    let topic = self.records.missing().unwrap_or(topics::KEYS);
                    return Err(RunError::TopicGone { topic: format!("the topic {topic}") });
                }
                found => return Ok(found?),
            }
        }
    }

    /// A topic that was read before is not known to the broker: one that has just come up may not know all of them yet.
    fn look_again(&self, stream: &StreamId) -> Result<Bounds, RunError> {
        let deadline = Instant::now() + GONE;
        loop {
            std::thread::sleep(Duration::from_millis(200));
            match self.fetcher.bounds(&stream.topic(), stream.partition, ASK) {
                Err(FetchError::UnknownTopic { .. }) if Instant::now() < deadline => {}
                Err(FetchError::UnknownTopic { .. }) => {
                    return Err(RunError::TopicGone { topic: format!("the topic of {stream}") });
                }
                bounds => return Ok(bounds?),
            }
        }
    }

    /// Searches windows from the topic's end backwards for a beacon whose place can be begun at: the newest one, or the
    /// oldest of all when the whole rest of the topic is wanted.
    fn search(
        &self,
        expected: &Expected,
        source: usize,
        bounds: Bounds,
        latest: bool,
    ) -> Result<Option<Place>, RunError> {
        let mut window = WINDOW;
        let mut high = bounds.high.0;
        let mut best = None;
        let mut proofs = Proofs::default();
        while high > bounds.low.0 {
            let low = bounds.low.0.max(high.saturating_sub(window));
            let mut places = self.places(expected, source, low, high, &mut proofs)?;
            // The fragments before a place in the midst of a row would be missing.
            let whole = |place: &Place| !place.state.last.mark.is_unfinished();
            places.retain(|place| bounds.low <= place.offset && whole(place) && proofs.hold(place));
            let newest = places.last().copied();
            best = places.first().copied().or(best);
            if latest && newest.is_some() {
                return Ok(newest);
            }
            high = low;
            window = window.saturating_mul(4);
        }
        Ok(best)
    }

    /// The places of verified beacons in a window, in the order of the topic, and what the beacons prove to be in the log.
    fn places(
        &self,
        expected: &Expected,
        source: usize,
        low: i64,
        high: i64,
        proofs: &mut Proofs,
    ) -> Result<Vec<Place>, RunError> {
        let Some(source) = self.sources.get(source) else { return Ok(Vec::new()) };
        let mut fetcher = Fetcher::new(&self.properties)?;
        let (topic, partition): (Arc<str>, _) = (expected.stream.topic().into(), expected.stream.partition);
        fetcher.assign(vec![Reading { topic, partition, offset: Offset(low) }])?;
        let signers = OriginSigners { trust: &self.trust, origin: &expected.origin };
        let mut places = Vec::new();
        // The largest log that was proven up to here: what follows of a key that was over by then is a thief's.
        let mut log_size = 0;
        let mut deadline = Instant::now() + ASK;
        loop {
            match fetcher.next(Duration::from_millis(100)) {
                Ok(Some(record)) => {
                    if record.offset.0 >= high {
                        return Ok(places);
                    }
                    deadline = Instant::now() + ASK;
                    if let Ok(beacon) = verify_beacon(&record.bytes, &signers, expected).into_verified()
                        && !self.is_over(expected, &beacon, log_size)
                    {
                        log_size = log_size.max(proofs.take(beacon.content(), &source.judge));
                        let place = Place::of(&beacon.content().place);
                        if place.offset <= record.offset {
                            places.push(place);
                        }
                    }
                    if record.offset.0 + 1 >= high {
                        return Ok(places);
                    }
                }
                Ok(None) => {
                    // The last offsets may be Kafka's own, which are never handed out.
                    let at = fetcher.readings().first().map_or(high, |reading| reading.offset.0);
                    if at >= high || Instant::now() > deadline {
                        return Ok(places);
                    }
                }
                Err(error)
                    if error.disposition() == bridge_kafka::Disposition::Retry
                        && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a key that signed the beacon was over when the log had this size.
    fn is_over(&self, expected: &Expected, beacon: &Attested<Beacon>, log_size: u64) -> bool {
        let until = |key| {
            let term = self.trust.signing_key(&expected.stream.department, &expected.origin, key)?;
            term.valid.until
        };
        beacon.signers().iter().filter_map(until).any(|until| until.0 < log_size)
    }
}

/// Batches that verified beacons prove to be in the log.
#[derive(Debug, Default)]
struct Proofs(BTreeMap<Sequence, Digest>);

impl Proofs {
    /// Takes a beacon's proof, and gives the size of the log that was proven.
    fn take(&mut self, beacon: &Beacon, judge: &Judge) -> u64 {
        let Some(Ok(proven)) = beacon.appended.as_ref().map(|appended| judge.prove(appended)) else {
            return 0;
        };
        self.0.insert(proven.entry.sequence, proven.entry.digest);
        proven.under.checkpoint.size
    }

    /// Whether a place can be begun at: its head is proven, or a later batch is, which the reading from the place runs
    /// into. The proof may be a later beacon's: while a stream is busy, a place is always ahead of its own beacon's.
    fn hold(&self, place: &Place) -> bool {
        let Some((last, _)) = self.0.last_key_value() else { return false };
        let Some((sequence, digest)) = place.state.head else { return true };
        self.0.get(&sequence).map_or(sequence < *last, |proven| *proven == digest)
    }
}

/// A place outside of the topic: before it, retention was faster than the reading; behind it, the topic was cut.
fn check_bounds(stream: &StreamId, offset: Offset, bounds: Bounds) -> Result<(), RunError> {
    if offset > bounds.high {
        let what = format!(
            "the topic ends at offset {}, and was read up to {offset} before: its end was cut off, or it was made anew",
            bounds.high
        );
        return Err(RunError::Halted(vec![Found::halt("CHA020", what).of_stream(stream)]));
    }
    if offset < bounds.low {
        let reason =
            format!("retention removed the records from {offset} to {}, which were not read", bounds.low);
        return Err(RunError::NoPlace { stream: stream.to_string(), reason });
    }
    Ok(())
}

fn name(dataset: &Subscribed) -> String {
    format!("{}/{}", dataset.department, dataset.dataset)
}
