//! The tree's tiles that are not full yet, one for each level, in memory; and the way to any hash of the tree through
//! them and the full tiles on the disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use bridge_suite::Digest;
use bridge_tlog::{Frontier, FrontierError, HashReader, TILE_WIDTH, Tile, TileReader as HashesOfTiles};

use crate::disk::read_bounded;

/// Height of a tile: its hashes are 2^8 apart.
const HEIGHT: u8 = 8;

/// Bytes of a full tile of hashes.
pub(crate) const TILE_BYTES: u64 = 8192;

/// The growing edge of the tiles.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    frontier: Frontier,
    /// For each level of tiles, the hashes of the tile that is not full yet.
    open: Vec<Vec<Digest>>,
}

impl Levels {
    /// The tree of `full` entries whose tiles stand in `dir`; `full` is a multiple of 256.
    pub(crate) fn read(dir: &Path, full: u64) -> io::Result<Levels> {
        let mut open: Vec<Vec<Digest>> = vec![Vec::new()];
        let mut below = full / u64::from(TILE_WIDTH);
        let mut level = 0u8;
        // The hashes of level n + 1 are the roots of the full tiles of level n.
        while below > 0 {
            let first = below - below % u64::from(TILE_WIDTH);
            let mut row = Vec::new();
            for index in first..below {
                let tile = Tile::new(level, index, TILE_WIDTH).map_err(invalid)?;
                row.push(root(&tile.hashes(&read_tile(dir, &tile)?).map_err(invalid)?)?);
            }
            open.push(row);
            below /= u64::from(TILE_WIDTH);
            level += 1;
        }
        let mut levels = Levels { frontier: Frontier::new(), open };
        let frontier = Frontier::read(full, &levels.hashes(dir, full)).map_err(invalid)?;
        levels.frontier = frontier;
        Ok(levels)
    }

    /// Entries in the tree.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over all entries.
    pub(crate) fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// Appends a leaf hash and gives the tiles that it fills, with their content, from the lowest.
    pub(crate) fn push(&mut self, leaf: Digest) -> Result<Vec<(Tile, Vec<u8>)>, FrontierError> {
        let index = self.frontier.size();
        let nodes = self.frontier.append(leaf)?;
        let mut filled = Vec::new();
        self.put(0, index, leaf, &mut filled);
        for node in nodes.iter().filter(|node| node.level % HEIGHT == 0) {
            self.put(node.level / HEIGHT, node.index, node.hash, &mut filled);
        }
        Ok(filled)
    }

    fn put(&mut self, level: u8, index: u64, hash: Digest, filled: &mut Vec<(Tile, Vec<u8>)>) {
        let place = usize::from(level);
        if self.open.len() <= place {
            self.open.resize_with(place + 1, Vec::new);
        }
        let Some(row) = self.open.get_mut(place) else { return };
        row.push(hash);
        if row.len() == usize::from(TILE_WIDTH) {
            let content = content_of(row);
            row.clear();
            // The level is at most 64 / 8 and the width is right, so the tile has a name.
            filled.extend(
                Tile::new(level, index / u64::from(TILE_WIDTH), TILE_WIDTH).map(|tile| (tile, content)),
            );
        }
    }

    /// The content of a tile that is not full yet, as wide as it is named.
    pub(crate) fn partial(&self, tile: &Tile) -> Option<Vec<u8>> {
        let row = self.open.get(usize::from(tile.level()))?;
        Some(content_of(row.get(..usize::from(tile.width()))?))
    }

    /// The hashes of the tree of the first `size` entries, from here and from the full tiles in `dir`.
    pub(crate) fn hashes<'a>(
        &'a self,
        dir: &'a Path,
        size: u64,
    ) -> impl HashReader<Error: std::fmt::Display> + 'a {
        let read: RefCell<HashMap<Tile, Vec<u8>>> = RefCell::default();
        let now = self.open_at(dir, size);
        HashesOfTiles::new(size, move |tile: &Tile| -> io::Result<Vec<u8>> {
            if let Some(content) = read.borrow().get(tile) {
                return Ok(content.clone());
            }
            let content = now(tile)?;
            read.borrow_mut().insert(*tile, content.clone());
            Ok(content)
        })
    }

    /// A tile of the tree at `size` may be partial there and full by now.
    fn open_at<'a>(&'a self, dir: &'a Path, size: u64) -> impl Fn(&Tile) -> io::Result<Vec<u8>> + 'a {
        let current = self.size().max(size);
        move |tile| {
            let hashes = current >> (u32::from(HEIGHT) * u32::from(tile.level()));
            if tile.index() < hashes / u64::from(TILE_WIDTH) {
                let mut content = read_tile(dir, &tile.full())?;
                content.truncate(tile.bytes());
                return Ok(content);
            }
            self.partial(tile)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{tile} is not there yet")))
        }
    }
}

/// The root over the hashes of a full tile.
fn root(hashes: &[Digest]) -> io::Result<Digest> {
    let mut tree = Frontier::new();
    for hash in hashes {
        tree.append(*hash).map_err(invalid)?;
    }
    Ok(tree.root())
}

fn content_of(row: &[Digest]) -> Vec<u8> {
    row.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Where a tile stands below a log's directory.
pub(crate) fn path_of(dir: &Path, path: &str) -> PathBuf {
    dir.join(path)
}

fn read_tile(dir: &Path, tile: &Tile) -> io::Result<Vec<u8>> {
    read_bounded(&path_of(dir, &tile.path()), TILE_BYTES)
        .map_err(|error| io::Error::new(error.kind(), format!("{tile}: {error}")))
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Act, Disk};
    use bridge_tlog::{leaf_hash, tree_root};

    fn leaf(index: u64) -> Digest {
        leaf_hash(&index.to_be_bytes())
    }

    #[test]
    fn the_tiles_on_the_disk_give_back_the_same_tree() {
        let folder = tempfile::tempdir().unwrap();
        let mut levels = Levels::read(folder.path(), 0).unwrap();
        for index in 0..256 * 257 + 3 {
            for (tile, content) in levels.push(leaf(index)).unwrap() {
                Disk::real().replace(Act::Tile, &folder.path().join(tile.path()), &content).unwrap();
            }
        }
        let full = 256 * 257;
        let mut again = Levels::read(folder.path(), full).unwrap();
        for index in full..levels.size() {
            assert!(again.push(leaf(index)).unwrap().is_empty());
        }
        assert_eq!(again.root(), levels.root());
        assert_eq!(again.open, levels.open);
        let mut older = Frontier::new();
        for index in 0..300 {
            older.append(leaf(index)).unwrap();
        }
        let found = tree_root(300, &levels.hashes(folder.path(), levels.size())).unwrap_or(Digest::ZERO);
        assert_eq!(found, older.root());
    }
}
