//! Reads a log's tiles, from its directory or over HTTP (C2SP tlog-tiles).
//!
//! Nothing that is read is trusted: entries are hashed and proofs verified against a signed root by whoever asks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bridge_event::LogIndex;
use bridge_suite::Digest;
use bridge_tlog::{
    Bundle, ENTRY_BYTES_MAX, HashReader, NOTE_BYTES_MAX, Note, TILE_WIDTH, Tile, TileReadError,
    TileReader as HashesOfTiles, bundles_for,
};

use crate::Disposition;
use crate::disk::read_bounded;
use crate::http::{Answer, Http};
use crate::levels::TILE_BYTES;

/// Longest bundle: 256 entries of 65,535 bytes, each with its length of 2; 16.8 MB.
const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH as u64 * (ENTRY_BYTES_MAX as u64 + 2);

/// Most tiles that one reader of hashes keeps: 1,024 of 8 KiB are 8 MiB. A proof needs about 8 a level.
const TILES_KEPT_MAX: usize = 1024;

/// Something of a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log does not answer.
    #[error("APP020: {place} does not answer: {reason}; check the address and the network")]
    Unreachable {
        /// Where it was asked.
        place: String,
        /// Why.
        reason: String,
    },
    /// It is not there.
    #[error(
        "APP021: {place} is not there; a log keeps every tile of a checkpoint that it has published, ask its operator"
    )]
    Missing {
        /// What was asked for.
        place: String,
    },
    /// It is there and is not what it should be.
    #[error(
        "APP022: {place} is not what it should be: {reason}; read it from a mirror and tell the log's operator"
    )]
    Malformed {
        /// What was asked for.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The address is not one that can be read.
    #[error("APP023: {address:?} is no address of a log; use http://host:port/prefix or a directory")]
    Address {
        /// The address.
        address: String,
    },
}

impl ReadError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            ReadError::Unreachable { .. } => "APP020",
            ReadError::Missing { .. } => "APP021",
            ReadError::Malformed { .. } => "APP022",
            ReadError::Address { .. } => "APP023",
        }
    }

    /// Retry when the log does not answer or has not published yet, Reject for wrong content, Halt for a wrong address.
    pub fn disposition(&self) -> Disposition {
        match self {
            ReadError::Unreachable { .. } | ReadError::Missing { .. } => Disposition::Retry,
            ReadError::Malformed { .. } => Disposition::Reject,
            ReadError::Address { .. } => Disposition::Halt,
        }
    }
}

#[derive(Clone, Debug)]
enum Source {
    Directory(PathBuf),
    Http { base: String, http: Http },
}

/// A log that is read.
#[derive(Clone, Debug)]
pub struct TileReader {
    source: Source,
}

/// Why a hash could not be read.
pub type HashError = TileReadError<ReadError>;

impl TileReader {
    /// Reads a directory.
    pub fn directory(path: &Path) -> TileReader {
        TileReader { source: Source::Directory(path.to_owned()) }
    }

    /// Reads over HTTP, each request within `timeout`.
    ///
    /// # Errors
    /// APP023 when the address does not begin with `http://` or `https://`.
    pub fn http(base: &str, timeout: Duration) -> Result<TileReader, ReadError> {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(ReadError::Address { address: base.to_owned() });
        }
        Ok(TileReader {
            source: Source::Http { base: base.trim_end_matches('/').to_owned(), http: Http::new(timeout) },
        })
    }

    /// Reads an address of either kind, as a configuration file or a trust file names it.
    ///
    /// # Errors
    /// APP023 when it has another scheme.
    pub fn open(address: &str, timeout: Duration) -> Result<TileReader, ReadError> {
        if address.contains("://") {
            TileReader::http(address, timeout)
        } else {
            Ok(TileReader::directory(Path::new(address)))
        }
    }

    /// The newest published checkpoint. Its signatures are not verified.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn checkpoint(&self) -> Result<Note, ReadError> {
        let content = self.read("checkpoint", NOTE_BYTES_MAX as u64)?;
        Note::parse(&content).map_err(|error| self.malformed("checkpoint", &error))
    }

    /// Gives the entries of a range to `visit`, in order, one bundle in memory at a time. `size` is that of a published
    /// checkpoint: it says how wide the last bundle is.
    ///
    /// # Errors
    /// See [`ReadError`]; or what `visit` returned, which ends the reading.
    pub fn visit<E: From<ReadError>>(
        &self,
        range: Range<LogIndex>,
        size: u64,
        mut visit: impl FnMut(LogIndex, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (start, end) = (range.start.0, range.end.0);
        if end > size {
            return Err(ReadError::Missing { place: format!("entry {} of {size}", end - 1) }.into());
        }
        let width = u64::from(TILE_WIDTH);
        for bundle in
            bundles_for(start - start % width, size).take_while(|bundle| bundle.index() * width < end)
        {
            let entries = self.bundle(&bundle)?;
            for (index, entry) in (bundle.index() * width..).zip(&entries) {
                if (start..end).contains(&index) {
                    visit(LogIndex(index), entry)?;
                }
            }
        }
        Ok(())
    }

    /// The entries of a range, all in memory: for few of them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn entries(&self, range: Range<LogIndex>, size: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut entries = Vec::new();
        self.visit(range, size, |_, entry| {
            entries.push(entry.to_vec());
            Ok::<(), ReadError>(())
        })?;
        Ok(entries)
    }

    /// The hashes of the tree of the first `size` entries, for proofs. `size` is that of a published checkpoint.
    pub fn hashes(&self, size: u64) -> impl HashReader<Error = HashError> + '_ {
        let kept: RefCell<BTreeMap<Tile, Vec<u8>>> = RefCell::default();
        HashesOfTiles::new(size, move |tile: &Tile| -> Result<Vec<u8>, ReadError> {
            if let Some(content) = kept.borrow().get(tile) {
                return Ok(content.clone());
            }
            let content = self.tile(tile)?;
            let mut kept = kept.borrow_mut();
            if kept.len() == TILES_KEPT_MAX {
                kept.clear();
            }
            kept.insert(*tile, content.clone());
            Ok(content)
        })
    }

    /// The leaf hashes of one tile of the lowest level, from the entry 256 times `tile` on: at most 256. `size` is that of a
    /// published checkpoint.
    ///
    /// # Errors
    /// See [`ReadError`]; APP021 when the tile is beyond the tree.
    pub fn leaves(&self, tile: u64, size: u64) -> Result<Vec<Digest>, ReadError> {
        let beyond = || ReadError::Missing { place: format!("tile {tile} of a tree of {size} entries") };
        let tile = Tile::holding(0, tile.saturating_mul(u64::from(TILE_WIDTH)), size).ok_or_else(beyond)?;
        let content = self.tile(&tile)?;
        tile.hashes(&content).map_err(|error| self.malformed(&tile.path(), &error))
    }

    /// A tile's content; the beginning of the full tile when the log no longer has the partial one.
    fn tile(&self, tile: &Tile) -> Result<Vec<u8>, ReadError> {
        let path = tile.path();
        match self.read(&path, TILE_BYTES) {
            Err(ReadError::Missing { .. }) if !tile.is_full() => {
                let mut content = self.read(&tile.full().path(), TILE_BYTES)?;
                tile.full().hashes(&content).map_err(|error| self.malformed(&path, &error))?;
                content.truncate(tile.bytes());
                Ok(content)
            }
            other => other,
        }
    }

    /// A bundle's entries; the first ones of the full bundle when the log no longer has the partial one.
    fn bundle(&self, bundle: &Bundle) -> Result<Vec<Vec<u8>>, ReadError> {
        let (found, content) = match self.read(&bundle.path(), BUNDLE_BYTES_MAX) {
            Err(ReadError::Missing { .. }) if !bundle.is_full() => {
                (bundle.full(), self.read(&bundle.full().path(), BUNDLE_BYTES_MAX)?)
            }
            other => (*bundle, other?),
        };
        let entries = found.entries(&content).map_err(|error| self.malformed(&found.path(), &error))?;
        Ok(entries.into_iter().take(usize::from(bundle.width())).map(<[u8]>::to_vec).collect())
    }

    fn read(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
        match &self.source {
            Source::Directory(dir) => {
                read_bounded(&dir.join(path), bytes_max).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => ReadError::Missing { place: self.place(path) },
                    io::ErrorKind::InvalidData => self.malformed(path, &error),
                    _ => ReadError::Unreachable { place: self.place(path), reason: error.to_string() },
                })
            }
            Source::Http { base, http } => match http.read(&format!("{base}/{path}"), bytes_max) {
                Ok(Answer { status: 200, body, .. }) => Ok(body),
                Ok(Answer { status: 404 | 410, .. }) => Err(ReadError::Missing { place: self.place(path) }),
                Ok(Answer { status, .. }) => Err(ReadError::Unreachable {
                    place: self.place(path),
                    reason: format!("status {status}"),
                }),
                Err(reason) => Err(ReadError::Unreachable { place: self.place(path), reason }),
            },
        }
    }

    fn place(&self, path: &str) -> String {
        match &self.source {
            Source::Directory(dir) => dir.join(path).display().to_string(),
            Source::Http { base, .. } => format!("{base}/{path}"),
        }
    }

    fn malformed(&self, path: &str, error: &dyn std::fmt::Display) -> ReadError {
        ReadError::Malformed { place: self.place(path), reason: error.to_string() }
    }
}

/// The root of the tree of the first `size` entries, as the tiles have it.
///
/// # Errors
/// Why a tile could not be read, in words.
pub(crate) fn root_of(tiles: &TileReader, at: u64, size: u64) -> Result<Digest, String> {
    bridge_tlog::tree_root(at, &tiles.hashes(size)).map_err(|error| error.to_string())
}
