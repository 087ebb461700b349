//! Tiles: the tree as files of up to 256 hashes (C2SP tlog-tiles, height 8).
//!
//! | path                       | content                                                    |
//! |----------------------------|------------------------------------------------------------|
//! | `tile/<L>/<N>`             | 256 hashes of 32 bytes: the subtrees of height 8L, from the left |
//! | `tile/<L>/<N>.p/<W>`       | the first W of them, 1 to 255, while the tree has no more  |
//!
//! `<N>` is in groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`.

use std::fmt;

use bridge_suite::Digest;

use crate::tree::{HashReader, root_of_edge};

/// Hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Bytes of a hash in a tile.
pub const HASH_BYTES: usize = 32;

/// Levels of the tree that one tile spans.
const TILE_HEIGHT: u8 = 8;

/// Highest level of a path (tlog-tiles, "Merkle Tree").
const TILE_LEVEL_MAX: u8 = 63;

/// Longest path: `tile/63/`, seven groups for 20 digits with their `x` and `/`, `.p/255`; 8 + 7 * 5 + 6 = 49.
const PATH_BYTES_MAX: usize = 64;

/// A tile that does not exist, or bytes that are not its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// No tile has this level.
    #[error("tile level {0} is above {TILE_LEVEL_MAX}: check the level")]
    Level(u8),
    /// No tile has this width.
    #[error("a tile of {0} hashes does not exist: use 1 to {TILE_WIDTH}")]
    Width(u16),
    /// The text is not the path of a tile or a bundle.
    #[error(
        "{0:?} is not a tile's path: use tile/<level>/<index> with groups of three digits, then .p/<width>"
    )]
    Path(String),
    /// The content has a wrong length.
    #[error("tile {tile} has {found} bytes instead of {wanted}: fetch it again or from another place")]
    Length {
        /// The tile.
        tile: Tile,
        /// Bytes of its content.
        wanted: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The hash is not in this tile.
    #[error("the hash of height {level} at {index} is not in tile {tile}: read the tile that holds it")]
    Outside {
        /// The tile.
        tile: Tile,
        /// Height of the subtree that was asked for.
        level: u8,
        /// Its index.
        index: u64,
    },
}

/// The name of a tile of hashes.
///
/// Invariant: level 0 to 63, width 1 to 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile at `index` of a level with its first `width` hashes; 256 is the full tile.
    ///
    /// # Errors
    /// The level is above 63, or the width is not 1 to 256.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        if level > TILE_LEVEL_MAX {
            return Err(TileError::Level(level));
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width(width));
        }
        Ok(Self { level, index, width })
    }

    /// The tile that holds the root of the complete subtree of height `level` at `index`, as wide as a tree of `size`
    /// entries has it. None when the tree has no such subtree.
    pub fn holding(level: u8, index: u64, size: u64) -> Option<Self> {
        let tile_level = level / TILE_HEIGHT;
        let hashes = size.checked_shr(u32::from(tile_level) * u32::from(TILE_HEIGHT))?;
        let span = 1u64 << (level % TILE_HEIGHT);
        if index.checked_add(1)?.checked_mul(span)? > hashes {
            return None;
        }
        let tile_index = index * span / u64::from(TILE_WIDTH);
        let rest = hashes - tile_index * u64::from(TILE_WIDTH);
        let width = u16::try_from(rest).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        Some(Self { level: tile_level, index: tile_index, width })
    }

    /// Level of the tile; its hashes are roots of subtrees of height 8 times this.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Place of the tile in its level, from the left, counted from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes in the tile, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether the tile is full, and so never changes.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile of the same place. A log may delete a partial tile once it has the full one, whose first hashes
    /// are the same.
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Bytes of the tile's content.
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * HASH_BYTES
    }

    /// The path below the log's prefix, without a slash at its beginning.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, place(self.index, self.width))
    }

    /// Reads a path as [`Tile::path`] writes it, and in no other form.
    ///
    /// # Errors
    /// The text is not the path of a tile of hashes.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        parse_path(path)
            .and_then(|(level, index, width)| Self::new(level.parse().ok()?, index, width).ok())
            .filter(|tile| tile.path() == path)
            .ok_or_else(|| TileError::Path(path.chars().take(PATH_BYTES_MAX).collect()))
    }

    /// The hashes of the tile.
    ///
    /// # Errors
    /// The content's length is not that of the tile.
    pub fn hashes(&self, content: &[u8]) -> Result<Vec<Digest>, TileError> {
        if content.len() != self.bytes() {
            return Err(TileError::Length { tile: *self, wanted: self.bytes(), found: content.len() });
        }
        let (hashes, _) = content.as_chunks::<HASH_BYTES>();
        Ok(hashes.iter().map(|hash| Digest(*hash)).collect())
    }

    /// The root of the complete subtree of height `level` at `index`, from the content of the tile that holds it.
    ///
    /// # Errors
    /// The content's length is not that of the tile, or the tile does not hold the subtree.
    pub fn hash(&self, content: &[u8], level: u8, index: u64) -> Result<Digest, TileError> {
        let outside = TileError::Outside { tile: *self, level, index };
        if level / TILE_HEIGHT != self.level {
            return Err(outside);
        }
        if content.len() != self.bytes() {
            return Err(TileError::Length { tile: *self, wanted: self.bytes(), found: content.len() });
        }
        let span = 1usize << (level % TILE_HEIGHT);
        let in_tile = (usize::from(TILE_WIDTH) / span) as u64;
        let first = usize::try_from(index % in_tile).unwrap_or(usize::MAX).saturating_mul(span);
        let part = content
            .get(first * HASH_BYTES..(first + span) * HASH_BYTES)
            .filter(|_| index / in_tile == self.index)
            .ok_or(outside)?;
        let (hashes, _) = part.as_chunks::<HASH_BYTES>();
        Ok(complete_root(hashes))
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// The tiles that a log of `new_size` entries has and one of `old_size` had not, level by level, each level from the
/// left. What is written for a new checkpoint; from 0 it is every tile of the tree.
pub fn tiles_for(old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    (0..u8::try_from(u64::BITS).unwrap_or(u8::MAX) / TILE_HEIGHT)
        .flat_map(move |level| tiles_of_level(level, old_size, new_size))
}

pub(crate) fn tiles_of_level(level: u8, old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    let shift = u32::from(level) * u32::from(TILE_HEIGHT);
    let (old, new) = (old_size >> shift, new_size >> shift);
    let width = u64::from(TILE_WIDTH);
    let rest = u16::try_from(new % width).unwrap_or(0);
    let partial = (rest != 0 && new > old).then_some(Tile { level, index: new / width, width: rest });
    (old / width..new / width).map(move |index| Tile { level, index, width: TILE_WIDTH }).chain(partial)
}

/// Reads hashes out of tiles. What a server sends is not checked here: proofs made from it are verified against a
/// signed root.
#[derive(Clone, Debug)]
pub struct TileReader<F> {
    size: u64,
    fetch: F,
}

/// A hash that cannot be read from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E> {
    /// The tree is too small.
    #[error(
        "a tree of {size} entries has no complete subtree of height {level} at {index}: ask for a larger tree"
    )]
    NotInTree {
        /// Height of the subtree that was asked for.
        level: u8,
        /// Its index.
        index: u64,
        /// Entries of the tree.
        size: u64,
    },
    /// The tile's content is not right.
    #[error(transparent)]
    Tile(TileError),
    /// The tile cannot be had.
    #[error("tile {tile} cannot be read")]
    Fetch {
        /// The tile.
        tile: Tile,
        /// Why.
        #[source]
        source: E,
    },
}

impl<F, B, E> TileReader<F>
where
    F: Fn(&Tile) -> Result<B, E>,
    B: AsRef<[u8]>,
{
    /// A reader over the tiles of a tree of `size` entries. `fetch` gives the content of a tile; it may keep what it
    /// has read.
    pub fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<F, B, E> HashReader for TileReader<F>
where
    F: Fn(&Tile) -> Result<B, E>,
    B: AsRef<[u8]>,
{
    type Error = TileReadError<E>;

    fn hash(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        let tile = Tile::holding(level, index, self.size).ok_or(TileReadError::NotInTree {
            level,
            index,
            size: self.size,
        })?;
        let content = (self.fetch)(&tile).map_err(|source| TileReadError::Fetch { tile, source })?;
        tile.hash(content.as_ref(), level, index).map_err(TileReadError::Tile)
    }
}

/// The root over 1, 2, 4 .. 256 hashes.
fn complete_root(hashes: &[[u8; HASH_BYTES]]) -> Digest {
    match hashes {
        [hash] => Digest(*hash),
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            if left.is_empty() {
                return crate::EMPTY_ROOT;
            }
            root_of_edge(&[complete_root(left), complete_root(right)])
        }
    }
}

/// Index and width as the end of a path.
pub(crate) fn place(index: u64, width: u16) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH {
        text.push_str(&format!(".p/{width}"));
    }
    text
}

/// Takes a path apart: level or `entries`, index, width. Whoever calls it writes the path again and compares, which
/// refuses every other spelling.
pub(crate) fn parse_path(path: &str) -> Option<(&str, u64, u16)> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
    let (digits, width) = match place.split_once(".p/") {
        Some((digits, width)) => (digits, width.parse().ok().filter(|width| *width < TILE_WIDTH)?),
        None => (place, TILE_WIDTH),
    };
    let mut index = 0u64;
    for group in digits.split('/') {
        let number: u16 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(u64::from(number))?;
    }
    Some((level, index, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{leaf_hash, node_hash};

    #[test]
    fn a_path_is_written_in_groups_of_three_digits() {
        for (level, index, width, path) in [
            (0, 0, 256, "tile/0/000"),
            (0, 273, 112, "tile/0/273.p/112"),
            (1, 1000, 256, "tile/1/x001/000"),
            (63, 1_234_067, 1, "tile/63/x001/x234/067.p/1"),
            (2, u64::MAX, 255, "tile/2/x018/x446/x744/x073/x709/x551/615.p/255"),
        ] {
            let tile = Tile::new(level, index, width).unwrap();
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Ok(tile));
        }
    }

    #[test]
    fn a_path_in_another_spelling_is_refused() {
        for bad in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/+01",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x001/x000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/000 ",
            "tile/entries/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/../../secret",
        ] {
            assert_eq!(Tile::parse(bad), Err(TileError::Path(bad.to_owned())), "{bad:?}");
        }
        assert!(Tile::parse(&"x".repeat(10_000)).is_err());
    }

    #[test]
    fn a_tile_without_a_place_in_any_tree_is_refused() {
        assert_eq!(Tile::new(64, 0, 1), Err(TileError::Level(64)));
        assert_eq!(Tile::new(0, 0, 0), Err(TileError::Width(0)));
        assert_eq!(Tile::new(0, 0, 257), Err(TileError::Width(257)));
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_that_the_specification_counts() {
        let tiles: Vec<Tile> = tiles_for(0, 70_000).collect();
        let full = |level| tiles.iter().filter(|tile| tile.level == level && tile.is_full()).count();
        assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
        let partial: Vec<String> = tiles.iter().filter(|tile| !tile.is_full()).map(Tile::path).collect();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        let of_256: Vec<String> = tiles_for(0, 256).map(|tile| tile.path()).collect();
        assert_eq!(of_256, ["tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(tiles_for(0, 0).count(), 0);
        assert_eq!(tiles_for(u64::MAX, u64::MAX).count(), 0);
    }

    #[test]
    fn growth_names_only_what_is_new() {
        let paths = |old, new| tiles_for(old, new).map(|tile| tile.path()).collect::<Vec<_>>();
        assert_eq!(paths(256, 257), ["tile/0/001.p/1"]);
        assert_eq!(paths(255, 257), ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
        assert_eq!(paths(300, 512), ["tile/0/001", "tile/1/000.p/2"]);
        assert!(paths(512, 512).is_empty());
    }

    #[test]
    fn a_hash_inside_a_tile_is_the_root_of_its_leaves() {
        let leaves: Vec<Digest> = (0..7u8).map(|i| leaf_hash(&[i])).collect();
        let content: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
        let tile = Tile::holding(0, 6, 7).unwrap();
        assert_eq!(tile, Tile::new(0, 0, 7).unwrap());
        assert_eq!(tile.hash(&content, 0, 5).unwrap(), leaves[5]);
        assert_eq!(tile.hash(&content, 1, 2).unwrap(), node_hash(&leaves[4], &leaves[5]));
        for (level, index) in [(0, 7), (1, 3), (2, 1), (3, 0), (8, 0), (0, 256), (7, u64::MAX), (255, 0)] {
            assert_eq!(tile.hash(&content, level, index), Err(TileError::Outside { tile, level, index }));
            assert_eq!(Tile::holding(level, index, 7), None);
        }
        let short = TileError::Length { tile, wanted: 224, found: 223 };
        assert_eq!(tile.hash(&content[1..], 0, 0), Err(short.clone()));
        assert_eq!(tile.hashes(&content[1..]), Err(short));
        assert_eq!(tile.hashes(&content).unwrap(), leaves);
    }

    #[test]
    fn a_subtree_is_held_by_the_tile_of_its_level() {
        let path = |level, index, size| Tile::holding(level, index, size).map(|tile| tile.path());
        assert_eq!(path(8, 272, 70_000).as_deref(), Some("tile/1/001.p/17"));
        assert_eq!(path(15, 1, 70_000).as_deref(), Some("tile/1/000"));
        assert_eq!(path(16, 0, 70_000).as_deref(), Some("tile/2/000.p/1"));
        assert_eq!(path(16, 1, 70_000), None);
        assert_eq!(path(255, 0, u64::MAX), None);
        assert_eq!(path(0, u64::MAX, u64::MAX), None);
    }
}
