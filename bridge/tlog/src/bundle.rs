//! Entry bundles: the entries behind a tile of leaf hashes (C2SP tlog-tiles, "Log entries").
//!
//! | bytes | content                                   |
//! |-------|-------------------------------------------|
//! | 2     | length of the entry, big-endian           |
//! | n     | the entry; then the next one, 256 in all  |

use std::fmt;

use crate::tile::{TILE_WIDTH, Tile, TileError, parse_path, place, tiles_of_level};

/// Longest entry, in bytes: its length has 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// A bundle that cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The entry is too long.
    #[error("an entry of {0} bytes is above the limit of {ENTRY_BYTES_MAX}: make it shorter")]
    EntryLength(usize),
    /// The content ends inside an entry, or before the bundle's last one.
    #[error("bundle {bundle} ends at entry {entry}: fetch it again or from another place")]
    Short {
        /// The bundle.
        bundle: Bundle,
        /// The entry that is not whole, counted in the bundle.
        entry: u16,
    },
    /// Bytes follow the bundle's last entry.
    #[error("bundle {bundle} has {bytes} bytes after its last entry: fetch it again or from another place")]
    Trailing {
        /// The bundle.
        bundle: Bundle,
        /// Bytes that follow.
        bytes: usize,
    },
}

/// The name of an entry bundle: the entries `256 * index` and on, `width` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// The bundle at `index` with its first `width` entries; 256 is the full bundle.
    ///
    /// # Errors
    /// The width is not 1 to 256.
    pub fn new(index: u64, width: u16) -> Result<Self, TileError> {
        Tile::new(0, index, width).map(Self::from_tile)
    }

    /// The bundle that holds the entry, as wide as a log of `size` entries has it. None when the log has no such entry.
    pub fn holding(entry: u64, size: u64) -> Option<Self> {
        Tile::holding(0, entry, size).map(Self::from_tile)
    }

    fn from_tile(tile: Tile) -> Self {
        Self { index: tile.index(), width: tile.width() }
    }

    /// Place of the bundle in the log, counted from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Entries in the bundle, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether the bundle is full, and so never changes.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full bundle of the same place, whose first entries are the same.
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// The path below the log's prefix, without a slash at its beginning.
    pub fn path(&self) -> String {
        format!("tile/entries/{}", place(self.index, self.width))
    }

    /// Reads a path as [`Bundle::path`] writes it, and in no other form.
    ///
    /// # Errors
    /// The text is not the path of an entry bundle.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        parse_path(path)
            .and_then(|(_, index, width)| Self::new(index, width).ok())
            .filter(|bundle| bundle.path() == path)
            .ok_or_else(|| TileError::Path(path.chars().take(64).collect()))
    }

    /// The entries in the content, which has exactly this bundle's number of them.
    ///
    /// # Errors
    /// The content is too short or too long.
    pub fn entries<'a>(&self, content: &'a [u8]) -> Result<Vec<&'a [u8]>, BundleError> {
        let mut entries = Vec::with_capacity(usize::from(self.width));
        let mut rest = content;
        for entry in 0..self.width {
            let (found, after) = split_entry(rest).ok_or(BundleError::Short { bundle: *self, entry })?;
            entries.push(found);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(BundleError::Trailing { bundle: *self, bytes: rest.len() });
        }
        Ok(entries)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// The bundles that a log of `new_size` entries has and one of `old_size` had not, from the left.
pub fn bundles_for(old_size: u64, new_size: u64) -> impl Iterator<Item = Bundle> {
    tiles_of_level(0, old_size, new_size).map(Bundle::from_tile)
}

/// Writes an entry behind those that the bundle has.
///
/// # Errors
/// The entry is longer than [`ENTRY_BYTES_MAX`]; the bundle is unchanged.
pub fn append_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryLength(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

fn split_entry(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_gives_back_its_entries() {
        let entries: [&[u8]; 3] = [b"one", b"", &[7; ENTRY_BYTES_MAX]];
        let mut content = Vec::new();
        for entry in entries {
            append_entry(&mut content, entry).unwrap();
        }
        let bundle = Bundle::new(5, 3).unwrap();
        assert_eq!(bundle.entries(&content).unwrap(), entries);
        let wider = Bundle::new(5, 4).unwrap();
        assert_eq!(wider.entries(&content), Err(BundleError::Short { bundle: wider, entry: 3 }));
        let smaller = Bundle::new(5, 1).unwrap();
        let trailing = BundleError::Trailing { bundle: smaller, bytes: content.len() - 5 };
        assert_eq!(smaller.entries(&content), Err(trailing));
        assert_eq!(
            bundle.entries(&content[..content.len() - 1]),
            Err(BundleError::Short { bundle, entry: 2 })
        );
    }

    #[test]
    fn an_entry_above_the_limit_is_refused() {
        let mut content = vec![1];
        let long = vec![0; ENTRY_BYTES_MAX + 1];
        assert_eq!(append_entry(&mut content, &long), Err(BundleError::EntryLength(65_536)));
        assert_eq!(content, [1]);
    }

    #[test]
    fn a_bundle_has_the_path_of_its_tile() {
        let bundle = Bundle::holding(70_000 - 1, 70_000).unwrap();
        assert_eq!(bundle.path(), "tile/entries/273.p/112");
        assert_eq!(Bundle::parse("tile/entries/273.p/112"), Ok(bundle));
        assert_eq!(bundle.full().path(), "tile/entries/273");
        assert_eq!(Bundle::holding(70_000, 70_000), None);
        for bad in ["tile/0/000", "tile/entries/0", "entries/000", "tile/entries/000.p/256"] {
            assert_eq!(Bundle::parse(bad), Err(TileError::Path(bad.to_owned())));
        }
        let new: Vec<String> = bundles_for(511, 513).map(|bundle| bundle.path()).collect();
        assert_eq!(new, ["tile/entries/001", "tile/entries/002.p/1"]);
    }
}
