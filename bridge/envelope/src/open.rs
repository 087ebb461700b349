//! Open: a verified batch and the section's secret -> the section's rows.
//!
//! Nothing is returned before everything is checked: commitment, ciphertext, padding, expansion, row count, row
//! root.

use bridge_event::{RowSplit, Rows, SplitError};
use bridge_suite::{Digest, Secret, Suite};

use crate::padding::{PaddingFault, content};
use crate::rows::{RowTree, SALT_BYTES};
use crate::seal::EXPANDED_BYTES_MAX;
use crate::section::Binding;
use crate::{Compression, SectionBlock, Verified};

/// The first bytes of a zstd frame that is not a skippable one (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a section or a wrapped secret does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The batch has no such section.
    #[error("the batch has {sections} sections, and none has the number {index}")]
    NoSection {
        /// The number that was asked for, from 0.
        index: usize,
        /// How many there are.
        sections: usize,
    },
    /// The secret is not the one that the section was sealed with, or the section was moved.
    #[error(
        "the secret does not fit the section's commitment: it is another key version's, or a field was altered"
    )]
    Commitment,
    /// The ciphertext is not authentic, though its commitment is.
    #[error("the section does not decrypt: {0}")]
    Decrypt(bridge_suite::OpenError),
    /// The plaintext's frame is wrong.
    #[error("the section's plaintext is not padded as the format says: {0}; the sender is at fault")]
    Padding(&'static str),
    /// The content is not one whole zstd frame.
    #[error(
        "the section's content is not one zstd frame that declares its size: {0}; the sender is at fault"
    )]
    Compressed(&'static str),
    /// The content expands beyond the limit.
    #[error("the section's content expands to {bytes} bytes, and the limit is {EXPANDED_BYTES_MAX}")]
    Expansion {
        /// The declared size.
        bytes: u64,
    },
    /// The content is not the rows that the block announces.
    #[error("the section's content is not its {rows} rows: {source}")]
    Rows {
        /// The number of rows that the block announces.
        rows: u64,
        /// What is wrong.
        source: SplitError,
    },
    /// Fragments that do not make one row.
    #[error("the fragment does not belong to the row that came before it: {0}; the sender is at fault")]
    Fragment(&'static str),
    /// The rows are not those that were signed.
    #[error(
        "the rows' root is {found}, and the signed one is {signed}: the rows are not those that were signed"
    )]
    RowRoot {
        /// The root in the signed block.
        signed: Digest,
        /// The root over the rows.
        found: Digest,
    },
    /// The key is not wrapped for this recipient key.
    #[error("the secret is not wrapped for {recipient} under key {key}: ask for a rewrap")]
    NotWrapped {
        /// The recipient.
        recipient: String,
        /// The key's id.
        key: String,
    },
    /// The wrapped secret does not open.
    #[error("the wrapped secret does not open: {0}")]
    Unwrap(bridge_suite::OpenError),
    /// The wrapped secret is not the one that the record commits to.
    #[error(
        "the wrapped secret is not the one that the key record commits to: the sender gave recipients different keys"
    )]
    WrongSecret,
}

impl OpenError {
    /// The code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::NoSection { .. } => "OPE001",
            OpenError::Commitment => "OPE002",
            OpenError::Decrypt(_) => "OPE003",
            OpenError::Padding(_) => "OPE004",
            OpenError::Compressed(_) => "OPE005",
            OpenError::Expansion { .. } => "OPE006",
            OpenError::Rows { .. } => "OPE007",
            OpenError::RowRoot { .. } => "OPE008",
            OpenError::Fragment(_) => "OPE013",
            OpenError::NotWrapped { .. } => "OPE010",
            OpenError::Unwrap(_) => "OPE011",
            OpenError::WrongSecret => "OPE012",
        }
    }
}

/// The rows of one section, and the salts of their leaves.
#[derive(Clone, Debug)]
pub struct Opened {
    rows: Rows,
    salts: Salts,
}

#[derive(Clone)]
struct Salts(Vec<u8>);

impl std::fmt::Debug for Salts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salts(..)")
    }
}

impl Opened {
    /// The rows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The rows, owned.
    pub fn into_rows(self) -> Rows {
        self.rows
    }

    /// The salt of a row's leaf, and with `group` from 1 the salt of that group's commitment: what evidence shows.
    pub fn salt(&self, row: usize, group: usize) -> Option<[u8; SALT_BYTES]> {
        let chunks = self.rows.groups() + 1;
        if group >= chunks || row >= self.rows.rows() {
            return None;
        }
        let (salts, _) = self.salts.0.as_chunks::<SALT_BYTES>();
        salts.get(row.checked_mul(chunks)?.checked_add(group)?).copied()
    }
}

/// Opens sections; keeps its buffers and zstd's context from one to the next.
pub struct Opener {
    tree: RowTree,
    zstd: zstd::bulk::Decompressor<'static>,
    text: Vec<u8>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener(..)")
    }
}

impl Opener {
    /// An opener with empty buffers.
    ///
    /// # Errors
    /// [`OpenError::Compressed`] when zstd gives no context.
    pub fn new() -> Result<Opener, OpenError> {
        let zstd =
            zstd::bulk::Decompressor::new().map_err(|_| OpenError::Compressed("zstd gives no context"))?;
        Ok(Opener { tree: RowTree::default(), zstd, text: Vec::new() })
    }

    /// Opens the section with this number, from 0.
    ///
    /// `splitter` knows the section's columns; it reads content that is authentic, and is trusted to find the ends
    /// of the rows' parts.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the section is then given out.
    pub fn open(
        &mut self,
        batch: &Verified,
        index: usize,
        secret: &Secret,
        splitter: &dyn RowSplit,
    ) -> Result<Opened, OpenError> {
        if batch.header().fragment.is_some() {
            return Err(OpenError::Fragment("a fragment is opened with those before it"));
        }
        let (block, salts, content) = self.decrypt(batch, index, secret, EXPANDED_BYTES_MAX)?;
        self.close(batch.header().suite, block, &salts, content, splitter)
    }

    /// Rows over the content of a section, whose root must be the signed one.
    pub(crate) fn close(
        &mut self,
        suite: Suite,
        block: &SectionBlock,
        salts: &Secret,
        content: Vec<u8>,
        splitter: &dyn RowSplit,
    ) -> Result<Opened, OpenError> {
        let rows = rows_of(block, content, splitter)?;
        let found = self.tree.root(suite, salts, &rows);
        if found != block.row_root {
            return Err(OpenError::RowRoot { signed: block.row_root, found });
        }
        Ok(Opened { rows, salts: Salts(self.tree.salts().to_vec()) })
    }

    /// Checks that a slice is the one that a fragment, not its row's last one, was signed with.
    pub(crate) fn check_slice(
        &mut self,
        suite: Suite,
        block: &SectionBlock,
        salts: &Secret,
        slice: &[u8],
    ) -> Result<(), OpenError> {
        let found = self.tree.fragment(suite, salts, slice);
        if found == block.row_root {
            Ok(())
        } else {
            Err(OpenError::RowRoot { signed: block.row_root, found })
        }
    }

    /// A section's content, of at most `most` bytes after expansion, its block, and the secret of its salts.
    pub(crate) fn decrypt<'b>(
        &mut self,
        batch: &'b Verified,
        index: usize,
        secret: &Secret,
        most: usize,
    ) -> Result<(&'b SectionBlock, Secret, Vec<u8>), OpenError> {
        let sections = batch.blocks().len();
        let missing = OpenError::NoSection { index, sections };
        let (Some(block), Some(ciphertext)) = (batch.block(index), batch.ciphertext(index)) else {
            return Err(missing);
        };
        let header = batch.header();
        let binding = Binding {
            header,
            section: &block.name,
            schema: &block.schema,
            key_record: &block.key_record,
            // At most ROWS_MAX: verification compared it with the header's rows.
            rows: u32::try_from(block.rows).unwrap_or(u32::MAX),
            compression: block.compression,
        };
        let keys = binding.keys(secret, &block.row_root);
        if !keys.commitment.matches(block.commitment.as_bytes()) {
            return Err(OpenError::Commitment);
        }
        self.text.clear();
        self.text.extend_from_slice(ciphertext);
        let decrypted = header.suite.decrypt(&keys.encryption, keys.associated.as_bytes(), &mut self.text);
        decrypted.map_err(OpenError::Decrypt)?;
        let content = self.content(block, most)?;
        Ok((block, binding.salt_secret(secret), content))
    }

    fn content(&mut self, block: &SectionBlock, most: usize) -> Result<Vec<u8>, OpenError> {
        let content = content(&self.text).map_err(|fault| match fault {
            PaddingFault::Length => OpenError::Padding("its length does not fit its content"),
            PaddingFault::NotZero => OpenError::Padding("a byte of the padding is not zero"),
        })?;
        match block.compression {
            Compression::None if content.len() > most => {
                Err(OpenError::Fragment("its slices have more bytes than it announces"))
            }
            Compression::None => Ok(content.to_vec()),
            Compression::Zstd => expand(&mut self.zstd, content, most),
        }
    }
}

/// The rows of a content that is authentic: exactly those that the block announces.
fn rows_of(block: &SectionBlock, content: Vec<u8>, splitter: &dyn RowSplit) -> Result<Rows, OpenError> {
    let content_bytes = content.len();
    let refuse = |source| OpenError::Rows { rows: block.rows, source };
    let announced = usize::try_from(block.rows).map_err(|_| refuse(SplitError::Ends))?;
    let rows = splitter.split(content, announced).map_err(refuse)?;
    let fits = rows.rows() == announced
        && rows.is_whole()
        && rows.groups() == block.groups.len()
        && rows.bytes().len() == content_bytes;
    if fits { Ok(rows) } else { Err(refuse(SplitError::Ends)) }
}

/// Expands one zstd frame whose declared size is within the limits: the format's, and `most`, a fragment's.
fn expand(
    zstd: &mut zstd::bulk::Decompressor<'static>,
    content: &[u8],
    most: usize,
) -> Result<Vec<u8>, OpenError> {
    if !content.starts_with(&ZSTD_MAGIC) {
        return Err(OpenError::Compressed("it does not begin with the magic number"));
    }
    let frame = zstd::zstd_safe::find_frame_compressed_size(content);
    if frame.ok() != Some(content.len()) {
        return Err(OpenError::Compressed("it is not exactly one frame"));
    }
    let declared = zstd::zstd_safe::get_frame_content_size(content).ok().flatten();
    let bytes = declared.ok_or(OpenError::Compressed("it does not declare its size"))?;
    let size = usize::try_from(bytes).ok().filter(|size| *size <= EXPANDED_BYTES_MAX);
    let size = size.ok_or(OpenError::Expansion { bytes })?;
    if size > most {
        return Err(OpenError::Fragment("its slices have more bytes than it announces"));
    }
    let mut expanded = Vec::with_capacity(size);
    let written = zstd.decompress_to_buffer(content, &mut expanded);
    match written {
        Ok(written) if written == size && expanded.len() == size => Ok(expanded),
        _ => Err(OpenError::Compressed("it does not expand to its declared size")),
    }
}

/// Opens one section with buffers of its own; who opens many keeps an [`Opener`].
///
/// # Errors
/// [`OpenError`]; nothing of the section is then given out.
pub fn open_section(
    batch: &Verified,
    index: usize,
    secret: &Secret,
    splitter: &dyn RowSplit,
) -> Result<Opened, OpenError> {
    Opener::new()?.open(batch, index, secret, splitter)
}
