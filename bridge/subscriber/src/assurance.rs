//! Assurance levels: what is known of a batch besides its signature and its chain.
//!
//! A beacon carries the log entry of a batch of its stream, the entry's inclusion path, and the checkpoint. When the path
//! leads to the checkpoint's root and the entry is that of the accepted batch, the log holds this batch and, by the chain
//! of digests, every one before it.

use std::fmt;
use std::sync::Arc;

use bridge_envelope::{Appended, BatchEntry, Entry};
use bridge_event::{LogIndex, Origin};
use bridge_suite::{Digest, sha256};
use bridge_tlog::{Checkpoint, Note, Policy, SignedCheckpoint, VerifierKey, leaf_hash, verify_inclusion};
use serde::Serialize;

use crate::Found;
use crate::memory::Memory;
use crate::metrics::Metrics;

/// How well a batch is known to be the only one that anybody was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Signed by its department, and it follows the chain of its stream.
    Signed,
    /// A checkpoint that the log signed holds it.
    Logged,
    /// A checkpoint with a quorum of checking witnesses, none of them the log's owner's, holds it.
    Witnessed,
}

impl Level {
    /// The level's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Signed => "signed",
            Level::Logged => "logged",
            Level::Witnessed => "witnessed",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a source's proofs are judged by.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) origin: Origin,
    /// The log's key; without it nothing is more than signed.
    pub(crate) log: Option<VerifierKey>,
    /// The trust file's policy; without it nothing is witnessed.
    pub(crate) policy: Option<Policy>,
    /// How many cosignatures the policy wants.
    pub(crate) quorum: usize,
    /// Checkpoints that were judged before, by the digest of their text.
    pub(crate) judged: Memory<Arc<Standing>>,
}

/// An empty memory of judged checkpoints: notes of 1 to 64 KiB.
pub(crate) fn judged(bytes_max: usize, metrics: &Metrics) -> Memory<Arc<Standing>> {
    // The text, and what was parsed of it.
    Memory::new("checkpoints", bytes_max, metrics, |standing| 2 * standing.note.len())
}

/// An entry that a checkpoint holds.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) entry: BatchEntry,
    pub(crate) index: LogIndex,
    /// The checkpoint that holds it.
    pub(crate) under: Arc<Standing>,
}

/// A checkpoint that the log signed, and how well it is witnessed.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) level: Level,
    /// The signed note.
    pub(crate) note: String,
    /// Since when a quorum has cosigned, in seconds since 1970: the oldest of its newest cosignatures.
    pub(crate) cosigned: Option<u64>,
}

impl Judge {
    /// Judges what a verified beacon says that the log holds.
    ///
    /// # Errors
    /// A halting finding when the proof does not hold: the connector signed it. A note when the checkpoint cannot be used
    /// here: its batches then stay at their level.
    pub(crate) fn prove(&self, appended: &Appended) -> Result<Proven, Found> {
        let Some(log) = &self.log else {
            return Err(Found::note(
                "VER070",
                format!("the trust file does not name the log {}", self.origin),
            ));
        };
        let under = self.checkpoint(&appended.checkpoint, log)?;
        let checkpoint = &under.checkpoint;
        let Ok(Entry::Batch(entry)) = Entry::decode(&appended.entry) else {
            return Err(Found::halt("VER071", "the beacon's log entry is no batch entry"));
        };
        let leaf = leaf_hash(&appended.entry);
        verify_inclusion(&leaf, appended.index.0, checkpoint.size, &checkpoint.root, &appended.path)
            .map_err(|error| {
                Found::halt("VER071", format!("the beacon's inclusion proof does not hold: {error}"))
            })?;
        Ok(Proven { entry, index: appended.index, under })
    }

    /// Judges a checkpoint by itself. Its signatures are verified once, however many beacons carry it.
    pub(crate) fn checkpoint(&self, text: &str, log: &VerifierKey) -> Result<Arc<Standing>, Found> {
        let digest = sha256(&[text.as_bytes()]);
        if let Some(standing) = self.judged.find(&digest) {
            return Ok(standing);
        }
        let standing = Arc::new(self.verify(text, log)?);
        self.judged.keep(digest, Arc::clone(&standing));
        Ok(standing)
    }

    fn verify(&self, text: &str, log: &VerifierKey) -> Result<Standing, Found> {
        let unusable = |what: String| Found::note("VER070", what);
        let note = Note::parse(text.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let signed = SignedCheckpoint::verify(note, [log]).map_err(|error| unusable(error.to_string()))?;
        let checkpoint = signed.checkpoint().clone();
        if checkpoint.origin != self.origin.as_str() {
            return Err(unusable(format!("the checkpoint is of the log {:?}", checkpoint.origin)));
        }
        let note = signed.into_note();
        let standing = self.policy.as_ref().and_then(|policy| policy.evaluate(&note).ok());
        let (level, cosigned) = match standing {
            Some(standing) if standing.quorum => {
                let mut times: Vec<u64> = standing.cosigned.iter().map(|one| one.time).collect();
                times.sort_unstable_by(|a, b| b.cmp(a));
                (Level::Witnessed, times.get(self.quorum.saturating_sub(1)).copied())
            }
            _ => (Level::Logged, None),
        };
        Ok(Standing { checkpoint, level, note: note.format(), cosigned })
    }
}

/// Whether the log's entry is that of the accepted batch.
pub(crate) fn same_batch(proven: &Proven, accepted: Digest) -> Result<(), Found> {
    if proven.entry.digest == accepted {
        return Ok(());
    }
    let what = format!(
        "the log holds batch {} at sequence {}, and the stream holds {accepted}: two batches were made of one",
        proven.entry.digest, proven.entry.sequence
    );
    Err(Found::halt("VER072", what))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bridge_event::{Epoch, IncarnationNumber, Kind, Partition, Sequence, StreamId};
    use bridge_suite::{Role, SigningKey, Suite, sha256};
    use bridge_tlog::{Frontier, NoteSigner, inclusion_proof};

    const ORIGIN: &str = "gov.example/tax/main";

    fn entry(sequence: u64) -> BatchEntry {
        let mark = bridge_envelope::Mark { commit: 1, ordinal: 1, fragment: 0 };
        BatchEntry {
            suite: Suite::International,
            stream: StreamId {
                department: "tax".parse().unwrap(),
                dataset: "payments".parse().unwrap(),
                partition: Partition(0),
            },
            epoch: Epoch(1),
            sequence: Sequence(sequence),
            digest: sha256(&[&sequence.to_be_bytes()]),
            previous: Digest::ZERO,
            previous_index: None,
            contract: Digest::ZERO,
            kind: Kind::Stream,
            rows: 1,
            transactions_ended: 1,
            leaves_open: false,
            incarnation: IncarnationNumber(1),
            first: mark,
            last: mark,
            snapshot: None,
        }
    }

    struct Hashes(Vec<Digest>);

    impl bridge_tlog::HashReader for Hashes {
        type Error = std::convert::Infallible;
        fn hash(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
            let width = 1usize << level;
            let start = usize::try_from(index).unwrap() * width;
            let mut level: Vec<Digest> = self.0[start..start + width].to_vec();
            while level.len() > 1 {
                level = level.chunks(2).map(|pair| bridge_tlog::node_hash(&pair[0], &pair[1])).collect();
            }
            Ok(level[0])
        }
    }

    fn log_signer() -> NoteSigner {
        NoteSigner::log(ORIGIN, SigningKey::from_seed(Role::Log, [1; 32])).unwrap()
    }

    fn witness(n: u8) -> NoteSigner {
        NoteSigner::witness(&format!("witness-{n}"), SigningKey::from_seed(Role::Witness, [10 + n; 32]))
            .unwrap()
    }

    fn appended(cosigners: &[u8], index: u64) -> Appended {
        let entries: Vec<Vec<u8>> = (0..5).map(|n| Entry::Batch(entry(n)).encode().unwrap()).collect();
        let hashes = Hashes(entries.iter().map(|entry| leaf_hash(entry)).collect());
        let mut tree = Frontier::new();
        for leaf in &hashes.0 {
            tree.append(*leaf).unwrap();
        }
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 5, root: tree.root() };
        let mut note = SignedCheckpoint::sign(checkpoint, &log_signer()).unwrap().into_note();
        for n in cosigners {
            note.add(witness(*n).cosign(note.text(), 1000 + u64::from(*n)).unwrap()).unwrap();
        }
        let path = inclusion_proof(index, 5, &hashes).unwrap();
        Appended {
            entry: entries[usize::try_from(index).unwrap()].clone(),
            index: LogIndex(index),
            path,
            checkpoint: note.format(),
        }
    }

    fn judge() -> Judge {
        let mut policy = format!("log {}\n", log_signer().verifier());
        for n in 0..3 {
            policy.push_str(&format!("witness w{n} {}\n", witness(n).verifier()));
        }
        policy.push_str("group counted 2 w0 w1 w2\nquorum counted\n");
        Judge {
            origin: ORIGIN.parse().unwrap(),
            log: Some(log_signer().verifier().clone()),
            policy: Some(Policy::parse(policy.as_bytes()).unwrap()),
            quorum: 2,
            judged: judged(1 << 20, &Metrics::new().unwrap()),
        }
    }

    #[test]
    fn a_quorum_makes_an_entry_witnessed_and_its_oldest_time_counts() {
        let proven = judge().prove(&appended(&[0, 1, 2], 3)).unwrap();
        assert_eq!((proven.under.level, proven.under.cosigned), (Level::Witnessed, Some(1001)));
        assert!(same_batch(&proven, sha256(&[&3u64.to_be_bytes()])).is_ok());
        assert_eq!(same_batch(&proven, Digest::ZERO).unwrap_err().code, "VER072");
    }

    #[test]
    fn without_a_quorum_an_entry_is_logged_and_no_more() {
        assert_eq!(judge().prove(&appended(&[1], 0)).unwrap().under.level, Level::Logged);
        assert_eq!(
            judge().prove(&appended(&[7, 8, 9], 0)).unwrap().under.level,
            Level::Logged,
            "strangers do not count"
        );
        let lawless = Judge { policy: None, ..judge() };
        assert_eq!(lawless.prove(&appended(&[0, 1, 2], 0)).unwrap().under.level, Level::Logged);
    }

    #[test]
    fn a_path_that_does_not_lead_to_the_root_halts() {
        let mut other = appended(&[0, 1], 3);
        other.index = LogIndex(2);
        assert_eq!(judge().prove(&other).unwrap_err().code, "VER071");
        let mut moved = appended(&[0, 1], 3);
        moved.entry = Entry::Batch(entry(9)).encode().unwrap();
        let found = judge().prove(&moved).unwrap_err();
        assert!(found.halts() && found.code == "VER071");
    }

    #[test]
    fn a_checkpoint_of_another_key_proves_nothing_and_stops_nothing() {
        let stranger = NoteSigner::log(ORIGIN, SigningKey::from_seed(Role::Log, [99; 32])).unwrap();
        let other = Judge { log: Some(stranger.verifier().clone()), ..judge() };
        let found = other.prove(&appended(&[0, 1, 2], 0)).unwrap_err();
        assert!(!found.halts() && found.code == "VER070");
    }

    #[test]
    fn a_checkpoint_is_verified_once() {
        let metrics = Metrics::new().unwrap();
        let judge = Judge { judged: judged(1 << 20, &metrics), ..judge() };
        for index in 0..3 {
            judge.prove(&appended(&[0, 1], index)).unwrap();
        }
        let text = metrics.text();
        assert!(text.contains("govbridge_verify_cache_hits_total{cache=\"checkpoints\"} 2"), "{text}");
        assert!(text.contains("govbridge_verify_cache_misses_total{cache=\"checkpoints\"} 1"), "{text}");
    }
}
