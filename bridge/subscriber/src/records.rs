//! Key records and contracts: read from their topics, kept by digest.
//!
//! Both topics hold the records of every department. Only those of the subscribed datasets are kept, after their
//! signature was verified: what anyone else wrote costs a look and no memory. What is kept has a bound; a record that had
//! to go is read from the topic's beginning again when a batch names it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_envelope::{Attested, ContractRecord, Entry, Frame, KeyRecord, Rewrap, Signers};
use bridge_event::{Department, Offset, Origin, Partition};
use bridge_kafka::{FetchError, Fetched, Fetcher, Properties, Reading, topics};
use bridge_suite::{Algorithm, Digest, KeyId, PublicKey, sha256};
use bridge_trust::Trust;
use schemas::{Contract, ContractFiles};

use crate::finding::of_verdict;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::on_record::Record;
use crate::promise::Promise;
use crate::settings::{Settings, Subscribed};
use crate::{Found, RunError};

/// How long one question to a broker may take.
const ASK: Duration = Duration::from_secs(10);

/// How long a record that the broker says it has may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the question lasts whether a topic is there.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look waits for a record. Not nothing: the client's own events come before its records, and a wait that is over
/// after the first of them would see no record ever.
const GLANCE: Duration = Duration::from_millis(5);

/// Most rewraps of one key record that are kept: one for each recipient that a contract can have.
const REWRAPS_MAX: usize = schemas::GRANTS_MAX;

/// Most contract records of the subscribed datasets: 64 bytes are remembered of each, 4 MiB.
const CONTRACTS_MAX: usize = 65_536;

/// Records taken at one look at the topics.
const LOOK_MAX: usize = 1024;

/// The signing keys of one log: a department's key for another log does not sign here.
pub(crate) struct OriginSigners<'a> {
    pub(crate) trust: &'a Trust,
    pub(crate) origin: &'a Origin,
}

impl Signers for OriginSigners<'_> {
    fn signing_key(&self, department: &Department, id: &KeyId) -> Option<&PublicKey> {
        let signing = self.trust.signing_key(department, self.origin, id).map(|term| &term.key);
        signing.or_else(|| self.trust.operator(department, id))
    }

    fn required(&self) -> &[Algorithm] {
        self.trust.required()
    }
}

/// A key record and its rewraps, each once.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) record: Arc<Attested<KeyRecord>>,
    /// Its log entry.
    pub(crate) entry: Record,
    pub(crate) rewraps: Vec<KeptRewrap>,
}

/// A rewrap's frame, and the contract that it names.
#[derive(Clone, Debug)]
pub(crate) struct KeptRewrap {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) contract: Digest,
}

/// A record that is looked for from the topics' beginnings, because it was let go. It stays at hand until the next such one.
#[derive(Debug)]
struct Wanted {
    digest: Digest,
    key: Option<Arc<Kept>>,
    contract: Option<Arc<Promise>>,
}

/// What was read of the two topics.
pub(crate) struct Records {
    trust: Arc<Trust>,
    datasets: Vec<Subscribed>,
    properties: Properties,
    fetcher: Fetcher,
    assigned: bool,
    contracts: Memory<Arc<Promise>>,
    /// The frame that was read first for each contract: no later one takes its place.
    frames: HashMap<Digest, Digest>,
    /// The newest contract of each dataset, in the order of the topic, and the log that the first one named.
    newest: BTreeMap<Subscribed, (Origin, Arc<Promise>)>,
    keys: Memory<Arc<Kept>>,
    /// Rewraps that came, whether or not their key record is at hand: what was not wrapped for this department may be now.
    rewraps: u64,
    wanted: Option<Wanted>,
    /// Since when Kafka says that it knows no such topic.
    unknown: Option<Instant>,
}

impl Records {
    pub(crate) fn new(
        properties: &Properties,
        trust: Arc<Trust>,
        settings: &Settings,
        metrics: &Metrics,
    ) -> Result<Records, RunError> {
        // A compiled schema takes several times its text.
        let of_promise = |promise: &Arc<Promise>| promise.bytes().saturating_mul(8);
        let of_kept = |kept: &Arc<Kept>| {
            let rewraps: usize = kept.rewraps.iter().map(|rewrap| rewrap.bytes.len()).sum();
            kept.record.frame().len().saturating_mul(2).saturating_add(rewraps)
        };
        let bytes_max = settings.limits.verified_bytes_max;
        Ok(Records {
            trust,
            datasets: settings.datasets.clone(),
            properties: properties.clone(),
            fetcher: Fetcher::new(properties)?,
            assigned: false,
            contracts: Memory::new("contracts", bytes_max, metrics, of_promise),
            frames: HashMap::new(),
            newest: BTreeMap::new(),
            keys: Memory::new("key-records", bytes_max, metrics, of_kept),
            rewraps: 0,
            wanted: None,
            unknown: None,
        })
    }

    /// The log and the newest contract of a dataset.
    pub(crate) fn dataset(&self, dataset: &Subscribed) -> Option<(&Origin, &Arc<Promise>)> {
        self.newest.get(dataset).map(|(origin, promise)| (origin, promise))
    }

    pub(crate) fn contract(&self, digest: &Digest) -> Option<Arc<Promise>> {
        let aside = || self.aside(digest).and_then(|wanted| wanted.contract.clone());
        self.contracts.find(digest).or_else(aside)
    }

    /// A key record with its rewraps.
    pub(crate) fn key(&self, digest: &Digest) -> Option<Arc<Kept>> {
        self.keys.find(digest).or_else(|| self.aside(digest).and_then(|wanted| wanted.key.clone()))
    }

    fn aside(&self, digest: &Digest) -> Option<&Wanted> {
        self.wanted.as_ref().filter(|wanted| wanted.digest == *digest)
    }

    /// How many rewraps have come: a number to compare with an earlier one.
    pub(crate) fn rewraps(&self) -> u64 {
        self.rewraps
    }

    /// Takes what has come by itself since the last look, and waits for nothing more.
    ///
    /// # Errors
    /// [`FetchError`]; the next look begins with a new connection.
    pub(crate) fn look(&mut self) -> Result<Vec<Found>, FetchError> {
        let mut found = Vec::new();
        for _ in 0..LOOK_MAX {
            match self.fetcher.next(GLANCE) {
                Ok(Some(record)) => found.extend(self.take(&record)),
                Ok(None) => break,
                Err(FetchError::Failed { .. }) => {
                    let readings = self.fetcher.readings().to_vec();
                    self.fetcher = Fetcher::new(&self.properties)
                        .map_err(|error| FetchError::Failed { reason: error.to_string() })?;
                    self.fetcher.assign(readings)?;
                    break;
                }
                Err(error) if error.disposition() == bridge_kafka::Disposition::Retry => {
                    if matches!(error, FetchError::UnknownTopic { .. }) {
                        self.unknown.get_or_insert(Instant::now());
                    }
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Which of the topics a broker says it does not have.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let is_missing = |topic: &&str| {
            let bounds = self.fetcher.bounds(topic, Partition(0), LOOK);
            matches!(bounds, Err(FetchError::UnknownTopic { .. }))
        };
        [topics::KEYS, topics::CONTRACTS].into_iter().find(is_missing)
    }

    /// Which of the topics is not there any more, and was not for longer than `wait`.
    ///
    /// # Errors
    /// FET006 when a topic that came back cannot be read on.
    pub(crate) fn gone(&mut self, wait: Duration) -> Result<Option<&'static str>, FetchError> {
        let Some(since) = self.unknown else { return Ok(None) };
        let missing = self.missing();
        if missing.is_none() {
            self.unknown = None;
            // What librdkafka has given up on account of the missing topic is taken up again.
            let readings = self.fetcher.readings().to_vec();
            self.fetcher.assign(readings)?;
        }
        Ok(missing.filter(|_| since.elapsed() > wait))
    }

    /// Looks for a record that no refresh has brought, from the topics' beginnings: it was let go for lack of room.
    ///
    /// # Errors
    /// [`FetchError`]; the call may be made again.
    pub(crate) fn read_again(&mut self, digest: Digest) -> Result<Vec<Found>, FetchError> {
        if !self.contracts.has_let_go() && !self.keys.has_let_go() {
            return Ok(Vec::new());
        }
        self.wanted = Some(Wanted { digest, key: None, contract: None });
        self.assigned = false;
        self.refresh()
    }

    /// Reads both topics up to what the broker holds now, and says what was found on the way.
    ///
    /// # Errors
    /// [`FetchError`]; the call may be made again.
    pub(crate) fn refresh(&mut self) -> Result<Vec<Found>, FetchError> {
        let mut found = self.assign()?;
        let mut ends = Vec::new();
        for reading in self.fetcher.readings() {
            let bounds = self.fetcher.bounds(&reading.topic, reading.partition, ASK)?;
            ends.push((Arc::clone(&reading.topic), bounds.high));
        }
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let behind = self.fetcher.readings().iter().any(|reading| {
                ends.iter().any(|(topic, high)| *topic == reading.topic && reading.offset < *high)
            });
            if !behind {
                return Ok(found);
            }
            match self.fetcher.next(Duration::from_millis(100)) {
                Ok(Some(record)) => {
                    deadline = Instant::now() + PATIENCE;
                    found.extend(self.take(&record));
                }
                // The last offsets may be Kafka's own control records, which are never handed out.
                Ok(None) if Instant::now() > deadline => return Ok(found),
                Ok(None) => {}
                Err(error)
                    if error.disposition() == bridge_kafka::Disposition::Retry
                        && Instant::now() < deadline =>
                {
                    tracing::debug!(%error, "records");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn assign(&mut self) -> Result<Vec<Found>, FetchError> {
        let mut found = Vec::new();
        if self.assigned {
            return Ok(found);
        }
        let mut readings = Vec::new();
        for topic in [topics::CONTRACTS, topics::KEYS] {
            let low = self.fetcher.bounds(topic, Partition(0), ASK)?.low;
            if low > Offset(0) {
                let what = "the topic's first records are gone, and nothing there may be removed; set retention.ms to -1";
                found.push(Found::note("VER063", what).in_topic(topic, low));
            }
            readings.push(Reading { topic: topic.into(), partition: Partition(0), offset: low });
        }
        self.fetcher.assign(readings)?;
        self.assigned = true;
        Ok(found)
    }

    fn take(&mut self, record: &Fetched) -> Vec<Found> {
        let found = match Frame::parse(&record.bytes) {
            Err(error) => vec![Found::drop(error.code(), error.to_string())],
            Ok(Frame::KeyRecord(clear)) => self.take_key(&record.bytes, &clear.content),
            Ok(Frame::Rewrap(clear)) => self.take_rewrap(&record.bytes, &clear.content),
            Ok(Frame::Contract(_)) => self.take_contract(&record.bytes),
            Ok(_) => vec![Found::drop("VER001", "the frame does not belong into this topic")],
        };
        found.into_iter().map(|found| found.in_topic(&record.topic, record.offset)).collect()
    }

    fn take_key(&mut self, bytes: &[u8], clear: &KeyRecord) -> Vec<Found> {
        let terms = &clear.terms;
        let dataset = Subscribed { department: terms.department.clone(), dataset: terms.dataset.clone() };
        if !self.datasets.contains(&dataset) {
            return Vec::new();
        }
        // A contract that was read later than its keys names no log yet; the contract's own log is then asked for.
        let origins: Vec<Origin> = match self.newest.get(&dataset) {
            Some((origin, _)) => vec![origin.clone()],
            None => self.origins_of(&dataset.department),
        };
        let mut refused = Vec::new();
        for origin in &origins {
            let signers = OriginSigners { trust: &self.trust, origin };
            match KeyRecord::verify(bytes, &signers, &dataset.department).into_verified() {
                Ok(attested) => {
                    self.keep_key(attested);
                    return Vec::new();
                }
                Err(findings) => refused = dropped(&findings),
            }
        }
        refused
    }

    /// The signature first: whoever may write here could otherwise fill the list with rubbish, or with copies, and keep
    /// out the one rewrap that somebody waits for.
    fn take_rewrap(&mut self, bytes: &[u8], clear: &Rewrap) -> Vec<Found> {
        let Some(kept) = self.kept(&clear.key_record) else {
            // It may be of a record that was let go, and then its absence must not be remembered.
            self.rewraps = self.rewraps.saturating_add(1);
            return Vec::new();
        };
        let terms = &kept.record.content().terms;
        let dataset = Subscribed { department: terms.department.clone(), dataset: terms.dataset.clone() };
        let origins = match self.newest.get(&dataset) {
            Some((origin, _)) => vec![origin.clone()],
            None => self.origins_of(&dataset.department),
        };
        let mut refused = Vec::new();
        for origin in &origins {
            let signers = OriginSigners { trust: &self.trust, origin };
            match Rewrap::verify(bytes, &signers, &kept.record).into_verified() {
                Ok(_) => {
                    self.keep_rewrap(&kept, clear, bytes);
                    return Vec::new();
                }
                Err(findings) => refused = dropped(&findings),
            }
        }
        refused
    }

    fn take_contract(&mut self, bytes: &[u8]) -> Vec<Found> {
        let mut departments: Vec<&Department> = self.datasets.iter().map(|one| &one.department).collect();
        departments.dedup();
        // The signature first: a stranger's contract is not even read.
        let signed = departments.into_iter().find_map(|department| {
            ContractRecord::verify(bytes, &*self.trust, department)
                .into_verified()
                .ok()
                .map(|record| (department.clone(), record))
        });
        let Some((department, record)) = signed else {
            return Vec::new();
        };
        let (digest, frame) = (sha256(&[&record.content().contract]), sha256(&[bytes]));
        let known = self.frames.get(&digest).copied();
        let asked = self.wanted.as_ref().is_some_and(|wanted| wanted.digest == digest);
        if known.is_some_and(|first| first != frame || !asked) {
            // The digest is the contract file's alone: a second record with other schemas must not take the place of the
            // first, and a copy of an older record does not make it the newest.
            return Vec::new();
        }
        match self.promise(&department, &record, bytes) {
            Ok(Some(_)) if known.is_none() && self.frames.len() >= CONTRACTS_MAX => {
                vec![Found::drop("VER061", format!("there are {CONTRACTS_MAX} contracts already"))]
            }
            Ok(Some((dataset, promise))) => {
                self.keep_contract(dataset, Arc::new(promise), frame);
                Vec::new()
            }
            Ok(None) => Vec::new(),
            Err(what) => vec![Found::drop("VER061", what)],
        }
    }

    fn kept(&self, digest: &Digest) -> Option<Arc<Kept>> {
        self.aside(digest).and_then(|wanted| wanted.key.clone()).or_else(|| self.keys.peek(digest))
    }

    /// A record of the same digest says the same: the first one stays, with its rewraps.
    fn keep_key(&mut self, attested: Attested<KeyRecord>) {
        let digest = attested.digest();
        // Every frame that verifies is short enough for an entry.
        let Ok(entry) = Entry::KeyRecord(attested.frame().to_vec()).encode() else { return };
        if self.kept(&digest).is_none() {
            let entry = Record::new(&entry, format!("key record {digest}"));
            self.hold(digest, Kept { record: Arc::new(attested), entry, rewraps: Vec::new() });
        }
    }

    fn keep_rewrap(&mut self, kept: &Kept, clear: &Rewrap, bytes: &[u8]) {
        if kept.rewraps.len() < REWRAPS_MAX && kept.rewraps.iter().all(|one| *one.bytes != *bytes) {
            let mut kept = kept.clone();
            kept.rewraps.push(KeptRewrap { bytes: bytes.into(), contract: clear.contract });
            self.hold(clear.key_record, kept);
            self.rewraps = self.rewraps.saturating_add(1);
        }
    }

    fn hold(&mut self, digest: Digest, kept: Kept) {
        let kept = Arc::new(kept);
        if let Some(wanted) = &mut self.wanted
            && wanted.digest == digest
        {
            wanted.key = Some(Arc::clone(&kept));
        }
        self.keys.keep(digest, kept);
    }

    fn keep_contract(&mut self, dataset: Subscribed, promise: Arc<Promise>, frame: Digest) {
        let digest = promise.contract.digest();
        if let Some(wanted) = &mut self.wanted
            && wanted.digest == digest
        {
            wanted.contract = Some(Arc::clone(&promise));
        }
        self.contracts.keep(digest, Arc::clone(&promise));
        if self.frames.insert(digest, frame).is_some() {
            return;
        }
        let origin = promise.contract.origin().clone();
        let entry = self.newest.entry(dataset).or_insert_with(|| (origin, Arc::clone(&promise)));
        entry.1 = promise;
    }

    /// The contract, when it is one of a subscribed dataset; in words what is wrong with it.
    fn promise(
        &self,
        department: &Department,
        record: &Attested<ContractRecord>,
        bytes: &[u8],
    ) -> Result<Option<(Subscribed, Promise)>, String> {
        let schemas =
            record.content().schemas.iter().map(|file| (file.section.as_str(), file.content.as_slice()));
        let files = ContractFiles::of_record(&record.content().contract, schemas);
        let contract =
            Contract::parse(&files).map_err(|problems| format!("the contract is not sound: {problems}"))?;
        let dataset =
            Subscribed { department: contract.department().clone(), dataset: contract.dataset().clone() };
        if contract.department() != department {
            return Err(format!("{department} signed a contract of {}", contract.department()));
        }
        if !self.datasets.contains(&dataset) {
            return Ok(None);
        }
        let origin = contract.origin();
        if let Some((first, _)) = self.newest.get(&dataset)
            && first != origin
        {
            return Err(format!(
                "the contract names the log {origin}, and the dataset's first contract named {first}"
            ));
        }
        if self.trust.log(origin).is_some_and(|log| log.department != *department) {
            return Err(format!("the contract names the log {origin}, which is another department's"));
        }
        let signers = OriginSigners { trust: &self.trust, origin };
        if ContractRecord::verify(bytes, &signers, department).into_verified().is_err() {
            return Err(format!("the contract was not signed with a key for its log {origin}"));
        }
        let what = format!("the record of contract {}", contract.digest());
        let entry = Entry::Contract(bytes.to_vec()).encode().map_err(|error| error.to_string())?;
        Ok(Some((dataset, Promise::new(contract, Record::new(&entry, what)))))
    }

    fn origins_of(&self, department: &Department) -> Vec<Origin> {
        let member = self.trust.terms().department(department);
        let mut origins: Vec<Origin> =
            member.into_iter().flat_map(|member| &member.signing).map(|term| term.origin.clone()).collect();
        origins.sort();
        origins.dedup();
        origins
    }
}

/// A record that is refused here is dropped; a batch that names it halts when it is not found.
fn dropped(findings: &[bridge_envelope::Finding]) -> Vec<Found> {
    let mut found = of_verdict(findings);
    for one in &mut found {
        one.consequence = crate::Consequence::Drop;
    }
    found
}
