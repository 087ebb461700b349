//! The sender's log: in memory, under checkpoints that its witnesses cosign.

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;

use bridge_suite::{Digest, Role};
use bridge_tlog::{
    Checkpoint, Frontier, HashReader, NoteSigner, SignedCheckpoint, append_entry, bundles_for, leaf_hash,
    node_hash, tiles_for,
};

use super::{NOW, ORIGIN, Sender, key};

pub(super) fn witness(name: &str) -> NoteSigner {
    NoteSigner::witness(&format!("{name}.gov.example/w"), key(Role::Witness, &format!("witness/{name}")))
        .unwrap()
}

pub(super) fn log_signer() -> NoteSigner {
    NoteSigner::log(ORIGIN, key(Role::Log, "log")).unwrap()
}

/// The log's leaves.
pub(super) struct Hashes<'a>(pub(super) &'a [Vec<u8>]);

impl HashReader for Hashes<'_> {
    type Error = Infallible;
    fn hash(&self, level: u8, index: u64) -> Result<Digest, Infallible> {
        if level == 0 {
            return Ok(leaf_hash(&self.0[usize::try_from(index).unwrap()]));
        }
        Ok(node_hash(&self.hash(level - 1, 2 * index)?, &self.hash(level - 1, 2 * index + 1)?))
    }
}

impl Sender {
    pub fn checkpoint(&self) -> String {
        let mut tree = Frontier::new();
        for entry in &self.entries {
            tree.append(leaf_hash(entry)).unwrap();
        }
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
        let mut note = SignedCheckpoint::sign(checkpoint, &log_signer()).unwrap().into_note();
        for name in &self.witnesses {
            note.add(witness(name).cosign(note.text(), NOW as u64 - 1).unwrap()).unwrap();
        }
        note.format()
    }

    /// The root of the whole log.
    pub fn root(&self) -> Digest {
        let mut tree = Frontier::new();
        self.entries.iter().for_each(|entry| drop(tree.append(leaf_hash(entry)).unwrap()));
        tree.root()
    }

    /// The log as a directory of tiles, as its connector publishes it.
    pub fn write_log(&self, folder: &Path) {
        let (size, hashes) = (self.entries.len() as u64, Hashes(&self.entries));
        let mut files = vec![("checkpoint".to_owned(), self.checkpoint().into_bytes())];
        for tile in tiles_for(0, size) {
            let first = tile.index() * 256;
            let hash = |index| hashes.hash(8 * tile.level(), index).unwrap().0;
            files.push((tile.path(), (first..first + u64::from(tile.width())).flat_map(hash).collect()));
        }
        for bundle in bundles_for(0, size) {
            let first = usize::try_from(bundle.index() * 256).unwrap();
            let mut content = Vec::new();
            for entry in &self.entries[first..first + usize::from(bundle.width())] {
                append_entry(&mut content, entry).unwrap();
            }
            files.push((bundle.path(), content));
        }
        for (name, bytes) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().write_all(&bytes).unwrap();
        }
    }
}
