//! Checkpoints: signed after the entries were read and hashed again from the disk, published in one piece.

use bridge_event::LogIndex;
use bridge_suite::Digest;
use bridge_tlog::{
    Bundle, Checkpoint, Frontier, HASH_BYTES, NoteSigner, SignedCheckpoint, TILE_WIDTH, Tile, append_entry,
    bundles_for, leaf_hash, tiles_for,
};

use crate::disk::{Act, read_bounded};
use crate::levels::TILE_BYTES;
use crate::log::{CHECKPOINT, HEADS, OWN_CHECKPOINT, Own};
use crate::{AppendError, Log, TileReader};

impl Log {
    /// Signs the head of the log and makes its tiles readable; `publish` makes the checkpoint so.
    ///
    /// The entries since the last checkpoint are read again from the disk and hashed; only a root that they give is
    /// signed. The checkpoint is on the disk as the log's own newest before this returns, and no start goes below it.
    ///
    /// # Errors
    /// APP011 when the disk gives back something else than was written; APP014 when the signer is of another log.
    pub fn sign_checkpoint(&mut self, signer: &NoteSigner) -> Result<SignedCheckpoint, AppendError> {
        if self.ended {
            return Err(AppendError::Ended);
        }
        let writing = self.lock.writing().map_err(|source| AppendError::Disk { source })?;
        self.check_own()?;
        let old = self.own.as_ref().map_or(0, |own| own.frontier.size());
        let frontier = match self.read_again() {
            Ok(frontier) => frontier,
            Err(error) => {
                self.ended = true;
                return Err(error);
            }
        };
        let checkpoint =
            Checkpoint { origin: self.origin.to_string(), size: frontier.size(), root: frontier.root() };
        let signed = SignedCheckpoint::sign(checkpoint, signer)
            .map_err(|error| AppendError::Checkpoint { reason: error.to_string() })?;
        if let Err(source) = self.write_signed(old, &signed) {
            return Err(self.fail(source));
        }
        self.own = Some(Own { note: signed.note().clone(), frontier });
        drop(writing);
        Ok(signed)
    }

    /// Makes a signed checkpoint the log's published one, with the cosignatures that it has by now. Its size never
    /// falls.
    ///
    /// # Errors
    /// APP014 when it is of another log, larger than the own newest one, or smaller than the published one.
    pub fn publish(&mut self, signed: &SignedCheckpoint) -> Result<(), AppendError> {
        if self.ended {
            return Err(AppendError::Ended);
        }
        let checkpoint = signed.checkpoint();
        let own = self.own.as_ref().map_or(0, |own| own.frontier.size());
        let refused = |reason: String| Err(AppendError::Checkpoint { reason });
        if checkpoint.origin != self.origin.as_str() {
            return refused(format!("it is of {}", checkpoint.origin));
        }
        if checkpoint.size > own || self.published.is_some_and(|published| checkpoint.size < published) {
            return refused(format!(
                "{} entries are published and {own} signed, it has {}",
                self.published.unwrap_or(0),
                checkpoint.size
            ));
        }
        let writing = self.lock.writing().map_err(|source| AppendError::Disk { source })?;
        self.check_own()?;
        let text = signed.note().format();
        if let Err(source) = self.disk.replace(Act::Checkpoint, &self.dir.join(CHECKPOINT), text.as_bytes()) {
            return Err(self.fail(source));
        }
        self.published = Some(checkpoint.size);
        drop(writing);
        Ok(())
    }

    /// The newest checkpoint that this log has signed: its size and root.
    pub fn own_checkpoint(&self) -> Option<(u64, Digest)> {
        self.own.as_ref().map(|own| (own.frontier.size(), own.frontier.root()))
    }

    /// The size of the newest published checkpoint.
    pub fn published_size(&self) -> Option<u64> {
        self.published
    }

    /// The tree over what the disk holds now: the last checkpoint's, and the entries since then read again.
    fn read_again(&self) -> Result<Frontier, AppendError> {
        let damaged = |reason: String| AppendError::Damaged { reason };
        let mut frontier = self.own.as_ref().map(|own| own.frontier.clone()).unwrap_or_default();
        let full = self.size() - self.pending.len() as u64;
        let mut leaves: Vec<Digest> = Vec::new();
        let start = frontier.size();
        if start < full {
            let tiles = TileReader::directory(&self.dir);
            tiles.visit(LogIndex(start)..LogIndex(full), full, |_, entry| {
                leaves.push(leaf_hash(entry));
                Ok::<(), AppendError>(())
            })?;
            self.compare_tiles(start, full, &leaves)?;
        }
        let replay = self.journal.reread().map_err(|error| damaged(error.to_string()))?;
        if replay.first != full || replay.entries.len() != self.pending.len() {
            return Err(damaged("the journal does not hold the entries that were written".to_owned()));
        }
        let skip = usize::try_from(start.saturating_sub(full)).unwrap_or(usize::MAX);
        leaves.extend(replay.entries.iter().skip(skip).map(|entry| leaf_hash(entry)));
        for leaf in leaves {
            frontier.append(leaf).map_err(|error| damaged(error.to_string()))?;
        }
        if frontier.root() != self.levels.root() {
            return Err(damaged(format!(
                "the entries from {start} on give another root than those that were written"
            )));
        }
        Ok(frontier)
    }

    /// The full tiles of leaf hashes must hold the hashes of the entries from `start` to `full`.
    fn compare_tiles(&self, start: u64, full: u64, leaves: &[Digest]) -> Result<(), AppendError> {
        let width = u64::from(TILE_WIDTH);
        let first = start - start % width;
        let skip = usize::try_from(start - first).unwrap_or(0) * HASH_BYTES;
        let mut stored = Vec::new();
        for bundle in bundles_for(first, full) {
            let tile = Tile::new(0, bundle.index(), TILE_WIDTH).map_err(|error| damaged(&error))?;
            stored.extend(
                read_bounded(&self.dir.join(tile.path()), TILE_BYTES).map_err(|error| damaged(&error))?,
            );
        }
        let wanted: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        if stored.get(skip..) != Some(wanted.as_slice()) {
            return Err(damaged(&"a tile does not hold the hashes of its entries"));
        }
        Ok(())
    }

    /// Partial tiles first, then the checkpoint, then the heads: what a file names is there before it.
    fn write_signed(&self, old: u64, signed: &SignedCheckpoint) -> std::io::Result<()> {
        let size = signed.checkpoint().size;
        for bundle in bundles_for(old, size).filter(|bundle| !bundle.is_full()) {
            self.disk.replace(Act::Bundle, &self.dir.join(bundle.path()), &self.partial_bundle(&bundle)?)?;
        }
        for tile in tiles_for(old, size).filter(|tile| !tile.is_full()) {
            let content = self
                .levels
                .partial(&tile)
                .ok_or_else(|| std::io::Error::other(format!("{tile} is not there")))?;
            self.disk.replace(Act::Tile, &self.dir.join(tile.path()), &content)?;
        }
        let text = signed.note().format();
        if self.own.as_ref().is_none_or(|own| own.note.format() != text) {
            self.disk.replace(Act::OwnCheckpoint, &self.dir.join(OWN_CHECKPOINT), text.as_bytes())?;
        }
        let heads = self.heads.write(signed.checkpoint().root).map_err(std::io::Error::other)?;
        self.disk.replace(Act::Heads, &self.dir.join(HEADS), &heads)
    }

    fn partial_bundle(&self, bundle: &Bundle) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        for entry in self.pending.iter().take(usize::from(bundle.width())) {
            append_entry(&mut content, entry).map_err(std::io::Error::other)?;
        }
        Ok(content)
    }
}

fn damaged(reason: &dyn std::fmt::Display) -> AppendError {
    AppendError::Damaged { reason: reason.to_string() }
}
