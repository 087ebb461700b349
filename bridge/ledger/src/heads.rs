//! The `heads` file: what the entries up to a size amount to, so that a start does not read the whole log.
//!
//! It can be made again from the entries; only the places, which beacons carry too, would be missing. A file that is
//! damaged, or does not fit the tree, is not used.

use std::collections::BTreeMap;

use bridge_envelope::Entry;
use bridge_event::{LogIndex, Origin, Partition, StreamId};
use bridge_suite::Digest;
use bridge_tlog::leaf_hash;
use serde::{Deserialize, Serialize};

use crate::chains::{Chains, ChainsRecord, Violation};
use crate::stored;

const KIND: &str = "govbridge-heads-v1";

/// Longest place that is kept, in bytes.
pub const PLACE_BYTES_MAX: usize = 16 * 1024;

/// What a log's entries amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) chains: Chains,
    /// Newest incarnation entry.
    pub(crate) incarnation: Option<LogIndex>,
    /// Where the entries stand that a connector appends once: contracts, incarnations, trust versions; by leaf hash.
    pub(crate) records: BTreeMap<Digest, LogIndex>,
    /// Each stream's place, as the connector gave it.
    pub(crate) places: BTreeMap<StreamId, Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    root: String,
    incarnation: Option<u64>,
    records: Vec<(String, u64)>,
    places: Vec<PlaceRecord>,
    chains: ChainsRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceRecord {
    department: String,
    dataset: String,
    partition: u32,
    place: Vec<u8>,
}

impl Heads {
    pub(crate) fn new(origin: Origin) -> Heads {
        Heads {
            chains: Chains::new(origin),
            incarnation: None,
            records: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// A copy to try entries on. Places can be large and do not take part in that.
    pub(crate) fn trial(&self) -> Heads {
        Heads {
            chains: self.chains.clone(),
            incarnation: self.incarnation,
            records: self.records.clone(),
            places: BTreeMap::new(),
        }
    }

    /// Takes the next entry.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Entry, Violation> {
        let index = LogIndex(self.chains.size());
        let entry = self.chains.take(bytes)?;
        if matches!(entry, Entry::Incarnation(_)) {
            self.incarnation = Some(index);
        }
        if matches!(entry, Entry::Contract(_) | Entry::Incarnation(_) | Entry::Trust(_)) {
            self.records.insert(leaf_hash(bytes), index);
        }
        Ok(entry)
    }

    /// The file's content; `root` is that of the tree of these entries.
    pub(crate) fn write(&self, root: Digest) -> Result<Vec<u8>, serde_json::Error> {
        let place = |(stream, place): (&StreamId, &Vec<u8>)| PlaceRecord {
            department: stream.department.to_string(),
            dataset: stream.dataset.to_string(),
            partition: stream.partition.0,
            place: place.clone(),
        };
        let record = Record {
            root: root.to_string(),
            incarnation: self.incarnation.map(|index| index.0),
            records: self.records.iter().map(|(digest, index)| (digest.to_string(), index.0)).collect(),
            places: self.places.iter().map(place).collect(),
            chains: self.chains.record(),
        };
        stored::write(KIND, &record)
    }

    /// What a file says, and the root of the tree that it speaks of; none when it cannot be used.
    pub(crate) fn read(origin: Origin, content: &[u8]) -> Option<(Heads, Digest)> {
        let record: Record = stored::read(KIND, content).ok()?;
        let places = record.places.into_iter().map(|place| {
            let stream = StreamId {
                department: place.department.parse().ok()?,
                dataset: place.dataset.parse().ok()?,
                partition: Partition(place.partition),
            };
            Some((stream, place.place))
        });
        let records =
            record.records.iter().map(|(digest, index)| Some((digest.parse().ok()?, LogIndex(*index))));
        let heads = Heads {
            chains: Chains::of_record(origin, &record.chains)?,
            incarnation: record.incarnation.map(LogIndex),
            records: records.collect::<Option<_>>()?,
            places: places.collect::<Option<_>>()?,
        };
        Some((heads, record.root.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{batch, epoch, origin, stream};

    #[test]
    fn the_file_gives_back_what_was_written() {
        let mut heads = Heads::new(origin());
        heads.take(&epoch(1)).unwrap();
        let entry = batch(&heads.chains, &stream("payments"), 1);
        heads.take(&entry.encode().unwrap()).unwrap();
        heads.places.insert(stream("payments"), vec![1, 2, 255]);
        let content = heads.write(Digest([5; 32])).unwrap();
        assert_eq!(Heads::read(origin(), &content), Some((heads, Digest([5; 32]))));
        assert_eq!(Heads::read(origin(), &content[1..]), None);
    }
}
