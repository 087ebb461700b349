//! What a witness remembers of one log: the newest checkpoint that it cosigned and, when it checks entries, what they
//! amount to up to there. One file for each log, replaced as a whole before an answer goes out.

use bridge_event::Origin;
use bridge_suite::Digest;
use bridge_tlog::{Checkpoint, Frontier, Note};
use serde::{Deserialize, Serialize};

use crate::chains::{Chains, ChainsRecord};
use crate::stored;

const KIND: &str = "govbridge-witness-state-v1";

/// The newest cosigned checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) checkpoint: Checkpoint,
    /// The note, with the log's signature and this witness's cosignature.
    pub(crate) note: Note,
    /// When it was cosigned, in seconds since 1970.
    pub(crate) time: u64,
}

/// What the entries up to the newest cosigned checkpoint amount to.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) frontier: Frontier,
    pub(crate) chains: Chains,
}

/// A witness's state of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) latest: Option<Latest>,
    /// Missing where the witness is a plain one: it is computed from the log's first entry when it becomes a checking one.
    pub(crate) followed: Option<Followed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    origin: String,
    latest: Option<LatestRecord>,
    followed: Option<FollowedRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LatestRecord {
    note: String,
    time: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FollowedRecord {
    edge: Vec<String>,
    chains: ChainsRecord,
}

impl Followed {
    pub(crate) fn new(origin: Origin) -> Followed {
        Followed { frontier: Frontier::new(), chains: Chains::new(origin) }
    }
}

impl State {
    /// The file's content.
    pub(crate) fn write(&self, origin: &Origin) -> Result<Vec<u8>, serde_json::Error> {
        let latest =
            self.latest.as_ref().map(|latest| LatestRecord { note: latest.note.format(), time: latest.time });
        let followed = self.followed.as_ref().map(|followed| FollowedRecord {
            edge: followed.frontier.edge().iter().map(Digest::to_string).collect(),
            chains: followed.chains.record(),
        });
        stored::write(KIND, &Record { origin: origin.to_string(), latest, followed })
    }

    /// What a file says; the reason in words when it cannot be used.
    pub(crate) fn read(origin: &Origin, content: &[u8]) -> Result<State, String> {
        let record: Record = stored::read(KIND, content)?;
        if record.origin != origin.as_str() {
            return Err(format!("it is the state of {}", record.origin));
        }
        let latest = record.latest.map(|latest| read_latest(origin, &latest)).transpose()?;
        let followed = record.followed.map(|followed| read_followed(origin, &followed)).transpose()?;
        let size = latest.as_ref().map_or(0, |latest| latest.checkpoint.size);
        if let Some(followed) = &followed {
            let root = latest.as_ref().map_or(bridge_tlog::EMPTY_ROOT, |latest| latest.checkpoint.root);
            if (followed.frontier.size(), followed.frontier.root()) != (size, root) {
                return Err("the checked entries are not those of the checkpoint".to_owned());
            }
        }
        Ok(State { latest, followed })
    }
}

fn read_latest(origin: &Origin, record: &LatestRecord) -> Result<Latest, String> {
    let note = Note::parse(record.note.as_bytes()).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
    if checkpoint.origin != origin.as_str() {
        return Err(format!("its checkpoint is of {}", checkpoint.origin));
    }
    Ok(Latest { checkpoint, note, time: record.time })
}

fn read_followed(origin: &Origin, record: &FollowedRecord) -> Result<Followed, String> {
    let edge: Option<Vec<Digest>> = record.edge.iter().map(|hash| hash.parse().ok()).collect();
    let edge = edge.ok_or("a hash of the tree's edge is none")?;
    let frontier = Frontier::from_edge(record.chains.size, edge).map_err(|error| error.to_string())?;
    let chains = Chains::of_record(origin.clone(), &record.chains).ok_or("its chains make no sense")?;
    Ok(Followed { frontier, chains })
}
