//! Whether key records and contracts stand in their log, before the first batch that uses them.
//!
//! A reader that says of a batch that the log holds it says the same of what opens it. The entry is known byte for byte, so
//! its leaf hash is looked for among the hash tiles: first near the batch, where a connector puts it, then from the log's
//! first leaf on, in small steps beside the delivery. Found, it is proven under a checkpoint that this subscriber has
//! verified; that it is absent counts only when all leaves together give that checkpoint's root. What cannot be asked
//! stops nothing: each row says how its records are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_ledger::{ReadError, TileReader};
use bridge_suite::Digest;
use bridge_tlog::{Frontier, TILE_WIDTH, inclusion_proof, leaf_hash, verify_inclusion};

use crate::Found;
use crate::assurance::{Level, Standing};
use crate::memory::Memory;
use crate::metrics::Metrics;

/// Bytes of levels that are remembered: those of 16,384 records.
const PROVEN_BYTES_MAX: usize = 4 << 20;

/// Records that are looked for at a time; what comes beyond is looked for later.
const WANTED_MAX: usize = 4096;

/// Tiles near a batch that are looked at before its rows are delivered: 1,024 entries.
const NEAR: u64 = 4;

/// Between two tries after the log did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// A log is left alone for so many times as long as it took to fail.
const REST: u32 = 10;

/// Failures in a row before they are told: a connector that starts again does not answer for a moment.
const FAILURES: u32 = 5;

/// A record whose entry is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The leaf hash of its entry.
    pub(crate) leaf: Digest,
    /// In words.
    pub(crate) what: String,
}

impl Record {
    /// `entry` is the record's log entry, whole.
    pub(crate) fn new(entry: &[u8], what: String) -> Record {
        Record { leaf: leaf_hash(entry), what }
    }
}

#[derive(Debug)]
struct Wanted {
    what: String,
    /// The first batch that uses it stands at this index or before it.
    before: u64,
    /// It is not near the batch.
    far: bool,
}

/// All leaves of a tree, from the first on.
#[derive(Debug)]
struct Scan {
    under: Arc<Standing>,
    frontier: Frontier,
    wanted: BTreeSet<Digest>,
    found: BTreeMap<Digest, u64>,
}

/// What is known of one log's records.
#[derive(Debug)]
pub(crate) struct OnRecord {
    proven: Memory<Level>,
    wanted: BTreeMap<Digest, Wanted>,
    scan: Option<Scan>,
    rests_until: Option<Instant>,
    failures: u32,
    /// The newest checkpoints of the log: one with a quorum, and one without.
    witnessed: Option<Arc<Standing>>,
    logged: Option<Arc<Standing>>,
}

/// The log did not give what it has.
type Unread = String;

impl OnRecord {
    pub(crate) fn new(metrics: &Metrics) -> OnRecord {
        OnRecord {
            proven: Memory::new("on-record", PROVEN_BYTES_MAX, metrics, |_| 0),
            wanted: BTreeMap::new(),
            scan: None,
            rests_until: None,
            failures: 0,
            witnessed: None,
            logged: None,
        }
    }

    /// A checkpoint was verified, and does not contradict those before it.
    pub(crate) fn observe(&mut self, standing: &Arc<Standing>) {
        let place = match standing.level {
            Level::Witnessed => &mut self.witnessed,
            _ => &mut self.logged,
        };
        if place.as_ref().is_none_or(|known| known.checkpoint.size < standing.checkpoint.size) {
            *place = Some(Arc::clone(standing));
        }
    }

    fn under(&self, before: u64) -> Option<Arc<Standing>> {
        let holds = |standing: &&Arc<Standing>| standing.checkpoint.size >= before;
        self.witnessed.as_ref().filter(holds).or(self.logged.as_ref().filter(holds)).map(Arc::clone)
    }

    /// How a record is known that a batch of this level uses, which stands at `before` or earlier: at most as well as the
    /// batch. Looks near the batch when it was not asked for before.
    pub(crate) fn level(
        &mut self,
        record: &Record,
        before: u64,
        wanted: Level,
        log: Option<&TileReader>,
    ) -> Level {
        let known = self.proven.find(&record.leaf).unwrap_or(Level::Signed);
        if known >= wanted {
            return wanted;
        }
        if self.wanted.contains_key(&record.leaf) || self.wanted.len() >= WANTED_MAX {
            return known;
        }
        let ask = Wanted { what: record.what.clone(), before, far: false };
        self.wanted.insert(record.leaf, ask);
        if let Some(log) = log
            && !self.rests()
        {
            self.look_near(log);
        }
        self.proven.peek(&record.leaf).unwrap_or(known).min(wanted)
    }

    /// Goes on looking, at most until `deadline`. What is certainly absent comes back as findings that halt.
    pub(crate) fn go_on(&mut self, log: Option<&TileReader>, deadline: Instant) -> Vec<Found> {
        let mut found = Vec::new();
        if self.wanted.is_empty() || self.rests() {
            return found;
        }
        match log {
            None => self.failed(Instant::now(), "it has no address that can be read"),
            Some(log) => {
                self.look_near(log);
                if !self.rests() {
                    found = self.scan_on(log, deadline);
                }
            }
        }
        if self.failures == FAILURES {
            self.failures += 1;
            let what = "the log could not be asked for the entries of key records and contracts; rows say how these are known";
            found.push(Found::note("VER075", what));
        }
        found
    }

    /// Whether nothing is looked for any more, or nothing can be.
    pub(crate) fn is_done(&self) -> bool {
        self.rests() || self.wanted.values().all(|wanted| self.under(wanted.before).is_none())
    }

    /// What is still not known, in words.
    pub(crate) fn unknown(&self) -> Vec<&str> {
        self.wanted.values().map(|wanted| wanted.what.as_str()).collect()
    }

    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    fn failed(&mut self, asked: Instant, why: &str) {
        let rest = PAUSE.max(asked.elapsed().saturating_mul(REST));
        self.rests_until = Some(Instant::now() + rest);
        if self.failures < FAILURES {
            self.failures += 1;
        }
        self.scan = None;
        tracing::debug!(why, "the log could not be asked for a record");
    }

    fn look_near(&mut self, log: &TileReader) {
        let near: Vec<(Digest, u64)> =
            self.wanted.iter().filter(|(_, ask)| !ask.far).map(|(leaf, ask)| (*leaf, ask.before)).collect();
        for (leaf, before) in near {
            let Some(under) = self.under(before) else { continue };
            let asked = Instant::now();
            match near_by(log, &under, leaf, before) {
                Ok(Some(())) => {
                    self.wanted.remove(&leaf);
                    self.proven.keep(leaf, under.level);
                    self.failures = 0;
                }
                Ok(None) => {
                    self.wanted.get_mut(&leaf).into_iter().for_each(|ask| ask.far = true);
                }
                Err(why) => return self.failed(asked, &why),
            }
        }
    }

    fn scan_on(&mut self, log: &TileReader, deadline: Instant) -> Vec<Found> {
        let asked = Instant::now();
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => {
                let Some(under) = self.wanted.values().find_map(|ask| self.under(ask.before)) else {
                    return Vec::new();
                };
                let size = under.checkpoint.size;
                let within = self.wanted.iter().filter(|(_, ask)| ask.far && ask.before <= size);
                let wanted: BTreeSet<Digest> = within.map(|(leaf, _)| *leaf).collect();
                if wanted.is_empty() {
                    return Vec::new();
                }
                Scan { under, frontier: Frontier::new(), wanted, found: BTreeMap::new() }
            }
        };
        match scan.step(log, deadline) {
            Err(why) => {
                self.failed(asked, &why);
                Vec::new()
            }
            Ok(false) => {
                self.scan = Some(scan);
                Vec::new()
            }
            Ok(true) => {
                self.failures = 0;
                self.judge(&scan)
            }
        }
    }

    /// What a scan that ended at the signed root says of each record.
    fn judge(&mut self, scan: &Scan) -> Vec<Found> {
        let mut found = Vec::new();
        for leaf in &scan.wanted {
            let Some(Wanted { what, before, .. }) = self.wanted.remove(leaf) else { continue };
            match scan.found.get(leaf) {
                Some(index) if *index < before => self.proven.keep(*leaf, scan.under.level),
                Some(index) => found.push(Found::halt(
                    "VER065",
                    format!("{what} stands in the log at entry {index}, and a batch at {before} or before uses it"),
                )),
                None => found.push(Found::halt(
                    "VER065",
                    format!(
                        "{what} is not in the log: none of its {} entries is that record's, and a batch at entry {before} or before uses it",
                        scan.under.checkpoint.size
                    ),
                )),
            }
        }
        found
    }
}

impl Scan {
    /// Reads on; true at the end, when the leaves give the signed root.
    fn step(&mut self, log: &TileReader, deadline: Instant) -> Result<bool, Unread> {
        let checkpoint = &self.under.checkpoint;
        while self.frontier.size() < checkpoint.size {
            if Instant::now() > deadline {
                return Ok(false);
            }
            let tile = self.frontier.size() / u64::from(TILE_WIDTH);
            for hash in leaves(log, tile, checkpoint.size)? {
                if self.wanted.contains(&hash) {
                    self.found.entry(hash).or_insert(self.frontier.size());
                }
                self.frontier.append(hash).map_err(|error| error.to_string())?;
            }
        }
        if self.frontier.root() == checkpoint.root {
            return Ok(true);
        }
        // Whoever serves the tiles is nobody who could accuse a log.
        Err("its tiles do not lead to the signed root".to_owned())
    }
}

/// Looks for a leaf in the tiles right before `before`, and in the log's first one, where its contracts stand.
fn near_by(log: &TileReader, under: &Standing, leaf: Digest, before: u64) -> Result<Option<()>, Unread> {
    let checkpoint = &under.checkpoint;
    let width = u64::from(TILE_WIDTH);
    let Some(newest) = before.checked_sub(1).map(|last| last / width) else { return Ok(None) };
    let oldest = newest.saturating_sub(NEAR - 1);
    let first = (oldest > 0).then_some(0);
    for tile in (oldest..=newest).rev().chain(first) {
        let hashes = leaves(log, tile, checkpoint.size)?;
        let indexes = (tile * width..before).zip(&hashes);
        let Some((index, _)) = indexes.into_iter().find(|(_, hash)| **hash == leaf) else { continue };
        let path = inclusion_proof(index, checkpoint.size, &log.hashes(checkpoint.size))
            .map_err(|error| error.to_string())?;
        verify_inclusion(&leaf, index, checkpoint.size, &checkpoint.root, &path)
            .map_err(|error| format!("its tiles do not lead to the signed root: {error}"))?;
        return Ok(Some(()));
    }
    Ok(None)
}

fn leaves(log: &TileReader, tile: u64, size: u64) -> Result<Vec<Digest>, Unread> {
    log.leaves(tile, size).map_err(|error: ReadError| error.to_string())
}
