//! Seal: rows -> one sealed batch.
//!
//! ```text
//! for each section   salts -> leaves -> row root -> keys -> compress, pad, encrypt -> block
//! then               header with the blocks' digests -> signatures -> frame
//! ```

use std::ops::Range;

use bridge_event::{GroupName, Kind, LogIndex, Rows, SectionName};
use bridge_suite::{Digest, EncryptError, Role, Secret, SigningKey, Suite, TAG_BYTES, WrapError, sha256};

use crate::fragment::Fragments;
use crate::header::EXTENSIONS_MAX;
use crate::padding::padded;
use crate::rows::RowTree;
use crate::section::{BLOCK_BYTES_MAX, Binding, GROUPS_MAX, ROWS_MAX, SECTIONS_MAX};
use crate::signed::{BATCH, SIGNATURES_MAX};
use crate::{BatchEntry, Compression, EXTENSION_BYTES_MAX, Header, SectionBlock};

/// Longest batch frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest content of a section after expansion, in bytes: a row of 64 MiB and 64 KiB for its head and framing.
pub const EXPANDED_BYTES_MAX: usize = 64 * 1024 * 1024 + 64 * 1024;

/// zstd's fastest standard level; a batch is small and sealed within milliseconds.
const ZSTD_LEVEL: i32 = 1;

/// The secret of a section, and the digest of the key record that carries it.
#[derive(Debug)]
pub struct KeyVersion {
    /// The suite that it is for.
    pub suite: Suite,
    /// `E`.
    pub secret: Secret,
    /// The digest of its key record.
    pub record: Digest,
}

/// One section of a batch, before it is sealed.
#[derive(Clone, Copy, Debug)]
pub struct SectionDraft<'a> {
    /// Its name.
    pub name: &'a SectionName,
    /// SHA-256 of the exact schema file.
    pub schema: Digest,
    /// Its disclosure groups, in contract order.
    pub groups: &'a [GroupName],
    /// How to compress it.
    pub compression: Compression,
    /// Its rows, as many as every other section's.
    pub rows: &'a Rows,
    /// Its key version.
    pub key: &'a KeyVersion,
}

/// Why nothing was sealed or signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The header contradicts itself.
    #[error("the header contradicts itself: {0}; nothing was sealed, report it")]
    Contradiction(&'static str),
    /// Something is larger than the format allows.
    #[error(
        "{field} is {found}, and the format allows {limit}: close the batch earlier or shorten the record"
    )]
    Limit {
        /// What.
        field: &'static str,
        /// Its size or count.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A section's rows do not fit the header or the section.
    #[error("section {section}: {why}; nothing was sealed, report it")]
    Rows {
        /// The section, or `-` when none was given.
        section: String,
        /// What does not fit.
        why: &'static str,
    },
    /// A key version is of another suite than the header.
    #[error("section {section}: its key version is of another suite than the batch")]
    KeySuite {
        /// The section.
        section: SectionName,
    },
    /// Too few or too many signing keys.
    #[error("{found} signing keys were given: 1 to {SIGNATURES_MAX} sign, a department's own among them")]
    Signers {
        /// How many.
        found: usize,
    },
    /// A notice without an operator's key.
    #[error(
        "a GAP or RETRACT needs the signature of the operator who accepted it: give the operator's key too"
    )]
    OperatorMissing,
    /// zstd failed.
    #[error("zstd could not compress the section: {0}")]
    Compression(String),
    /// The plaintext is too long for one key.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// A secret could not be wrapped for a recipient.
    #[error("the secret could not be wrapped for {recipient}: {source}")]
    Wrap {
        /// The recipient.
        recipient: String,
        /// Why.
        source: WrapError,
    },
    /// Two wraps for the same key.
    #[error("{recipient} is given twice with the same key: name each recipient's key once")]
    RecipientTwice {
        /// The recipient.
        recipient: String,
    },
}

impl SealError {
    pub(crate) fn limit(field: &'static str, found: usize, limit: usize) -> SealError {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        SealError::Limit { field, found: wide(found), limit: wide(limit) }
    }

    /// The code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            SealError::Contradiction(_) => "SEA001",
            SealError::Limit { .. } => "SEA002",
            SealError::Rows { .. } => "SEA003",
            SealError::KeySuite { .. } => "SEA004",
            SealError::Signers { .. } => "SEA005",
            SealError::OperatorMissing => "SEA006",
            SealError::Compression(_) => "SEA007",
            SealError::Encrypt(_) => "SEA008",
            SealError::Wrap { .. } => "SEA009",
            SealError::RecipientTwice { .. } => "SEA010",
        }
    }
}

/// A sealed batch: what publish takes.
#[derive(Clone, Debug)]
pub struct Sealed {
    frame: Vec<u8>,
    header: Header,
    digest: Digest,
}

impl Sealed {
    /// The frame's bytes: the content of one Kafka record.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The frame's bytes, owned.
    pub fn into_frame(self) -> Vec<u8> {
        self.frame
    }

    /// The header, with its section digests.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The batch's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the log holds of the batch.
    pub fn entry(&self, previous_index: Option<LogIndex>) -> BatchEntry {
        BatchEntry::of(&self.header, self.digest, previous_index)
    }
}

/// Seals batches; keeps its buffers and zstd's context from one to the next.
pub struct Sealer {
    tree: RowTree,
    zstd: zstd::bulk::Compressor<'static>,
    /// A plaintext, then ciphertext, for each section.
    texts: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// A sealer with empty buffers.
    ///
    /// # Errors
    /// [`SealError::Compression`] when zstd gives no context.
    pub fn new() -> Result<Sealer, SealError> {
        let zstd =
            zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|e| SealError::Compression(e.to_string()))?;
        Ok(Sealer { tree: RowTree::default(), zstd, texts: Vec::new() })
    }

    /// Seals one batch. `header.sections` is filled in here; everything else in it is the caller's. A batch without
    /// rows gets no sections, whatever drafts are given.
    ///
    /// The caller never seals two batches with the same epoch, sequence and nonce: the nonce is 32 fresh random
    /// bytes.
    ///
    /// # Errors
    /// [`SealError`]; nothing is then sealed.
    pub fn seal(
        &mut self,
        header: Header,
        drafts: &[SectionDraft<'_>],
        signers: &[&SigningKey],
    ) -> Result<Sealed, SealError> {
        self.seal_cut(header, drafts, None, signers)
    }

    /// Seals one fragment of a row: the one that `header.fragment` names, as `cut` cuts it. The drafts hold the whole row,
    /// alone.
    ///
    /// # Errors
    /// [`SealError`]; nothing is then sealed.
    pub fn seal_fragment(
        &mut self,
        header: Header,
        drafts: &[SectionDraft<'_>],
        cut: &Fragments,
        signers: &[&SigningKey],
    ) -> Result<Sealed, SealError> {
        self.seal_cut(header, drafts, Some(cut), signers)
    }

    fn seal_cut(
        &mut self,
        mut header: Header,
        drafts: &[SectionDraft<'_>],
        cut: Option<&Fragments>,
        signers: &[&SigningKey],
    ) -> Result<Sealed, SealError> {
        check_header(&header)?;
        check_signers(&header, signers)?;
        check_drafts(&header, drafts)?;
        check_cut(&header, drafts, cut)?;
        let drafts = if header.rows() == 0 { &[] } else { drafts };
        self.texts.resize_with(drafts.len().max(self.texts.len()), Vec::new);
        let Sealer { tree, zstd, texts } = self;
        let mut blocks = Vec::with_capacity(drafts.len());
        let mut trailer_bytes = 0;
        for (number, (draft, text)) in drafts.iter().zip(texts.iter_mut()).enumerate() {
            let slice = cut.zip(header.fragment).map(|(cut, part)| cut.slice(number, part.index));
            let block = seal_section(tree, zstd, &header, draft, slice, text)?.encode();
            if block.len() > BLOCK_BYTES_MAX {
                return Err(SealError::limit("a section block", block.len(), BLOCK_BYTES_MAX));
            }
            trailer_bytes += 4 + block.len() + text.len();
            blocks.push(block);
        }
        header.sections = blocks.iter().map(|block| SectionBlock::digest_of(block)).collect();
        let (mut frame, digest) = BATCH.sign(&header.encode(), signers)?;
        if frame.len() + trailer_bytes > FRAME_BYTES_MAX {
            return Err(SealError::limit("the batch's frame", frame.len() + trailer_bytes, FRAME_BYTES_MAX));
        }
        frame.reserve_exact(trailer_bytes);
        for block in &blocks {
            // At most BLOCK_BYTES_MAX, checked above.
            frame.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes());
            frame.extend_from_slice(block);
        }
        for text in texts.iter().take(blocks.len()) {
            frame.extend_from_slice(text);
        }
        Ok(Sealed { frame, header, digest })
    }
}

fn check_header(header: &Header) -> Result<(), SealError> {
    if let Some(contradiction) = header.contradictions().first() {
        return Err(SealError::Contradiction(contradiction));
    }
    if header.extensions.len() > EXTENSIONS_MAX {
        return Err(SealError::limit("the number of extensions", header.extensions.len(), EXTENSIONS_MAX));
    }
    if let Some(long) = header.extensions.iter().map(|e| e.content.len()).find(|n| *n > EXTENSION_BYTES_MAX) {
        return Err(SealError::limit("an extension", long, EXTENSION_BYTES_MAX));
    }
    match usize::try_from(header.rows()).unwrap_or(usize::MAX) {
        rows if rows > ROWS_MAX => Err(SealError::limit("the number of rows", rows, ROWS_MAX)),
        _ => Ok(()),
    }
}

fn check_signers(header: &Header, signers: &[&SigningKey]) -> Result<(), SealError> {
    let has = |role: Role| signers.iter().any(|key| key.role() == role);
    if !has(Role::Signing) {
        return Err(SealError::Signers { found: signers.len() });
    }
    if matches!(header.kind, Kind::Gap | Kind::Retract) && !has(Role::Operator) {
        return Err(SealError::OperatorMissing);
    }
    Ok(())
}

fn check_drafts(header: &Header, drafts: &[SectionDraft<'_>]) -> Result<(), SealError> {
    let refuse = |section: &str, why| Err(SealError::Rows { section: section.to_owned(), why });
    if header.rows() > 0 && drafts.is_empty() {
        return refuse("-", "the batch has rows and no sections");
    }
    if drafts.len() > SECTIONS_MAX {
        return Err(SealError::limit("the number of sections", drafts.len(), SECTIONS_MAX));
    }
    for (i, draft) in drafts.iter().enumerate() {
        let name = draft.name.as_str();
        if u64::try_from(draft.rows.rows()).ok() != Some(header.rows()) {
            return refuse(name, "it has not as many rows as the header announces");
        }
        if !draft.rows.is_whole() {
            return refuse(name, "its last row is not whole");
        }
        if draft.rows.groups() != draft.groups.len() {
            return refuse(name, "its rows have not as many groups as the section");
        }
        if draft.groups.len() > GROUPS_MAX {
            return Err(SealError::limit("the number of groups", draft.groups.len(), GROUPS_MAX));
        }
        if draft.rows.bytes().len() > EXPANDED_BYTES_MAX {
            return Err(SealError::limit(
                "a section's content",
                draft.rows.bytes().len(),
                EXPANDED_BYTES_MAX,
            ));
        }
        if drafts.iter().take(i).any(|other| other.name == draft.name) {
            return refuse(name, "it is given twice");
        }
        if draft.key.suite != header.suite {
            return Err(SealError::KeySuite { section: draft.name.clone() });
        }
    }
    Ok(())
}

fn check_cut(header: &Header, drafts: &[SectionDraft<'_>], cut: Option<&Fragments>) -> Result<(), SealError> {
    let fits = match (header.fragment, cut) {
        (None, None) => true,
        (Some(part), Some(cut)) => {
            part == cut.part(part.index) && cut.is_of(drafts.iter().map(|draft| draft.rows.bytes().len()))
        }
        _ => false,
    };
    let why = "the row is not cut as the header says";
    if fits { Ok(()) } else { Err(SealError::Rows { section: "-".to_owned(), why }) }
}

/// Leaves the section's ciphertext in `text`. With a slice the batch is a fragment, and the draft the whole row.
fn seal_section(
    tree: &mut RowTree,
    zstd: &mut zstd::bulk::Compressor<'static>,
    header: &Header,
    draft: &SectionDraft<'_>,
    slice: Option<Range<usize>>,
    text: &mut Vec<u8>,
) -> Result<SectionBlock, SealError> {
    let binding = Binding {
        header,
        section: draft.name,
        schema: &draft.schema,
        key_record: &draft.key.record,
        // At most ROWS_MAX, checked before.
        rows: u32::try_from(draft.rows.rows()).unwrap_or(u32::MAX),
        compression: draft.compression,
    };
    let secret = &draft.key.secret;
    let salt_secret = binding.salt_secret(secret);
    let content = match slice {
        None => draft.rows.bytes(),
        // `check_cut` compared the lengths.
        Some(slice) => draft.rows.bytes().get(slice).unwrap_or_default(),
    };
    let row_root = match header.fragment {
        Some(part) if !part.is_last() => tree.fragment(header.suite, &salt_secret, content),
        _ => tree.root(header.suite, &salt_secret, draft.rows),
    };
    let keys = binding.keys(secret, &row_root);
    pack(zstd, draft.compression, content, text)?;
    header.suite.encrypt(&keys.encryption, keys.associated.as_bytes(), text)?;
    Ok(SectionBlock {
        name: draft.name.clone(),
        schema: draft.schema,
        rows: header.rows(),
        row_root,
        groups: draft.groups.to_vec(),
        compression: draft.compression,
        ciphertext_bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
        ciphertext: sha256(&[text]),
        key_record: draft.key.record,
        commitment: Digest(*keys.commitment.expose()),
    })
}

/// Writes `u32be n || n bytes || zeros`, with room for the tag.
fn pack(
    zstd: &mut zstd::bulk::Compressor<'static>,
    compression: Compression,
    content: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), SealError> {
    text.clear();
    text.extend_from_slice(&[0; 4]);
    let length = match compression {
        Compression::None => {
            text.reserve(padded(content.len()) + TAG_BYTES);
            text.extend_from_slice(content);
            content.len()
        }
        Compression::Zstd => {
            let bound = zstd::zstd_safe::compress_bound(content.len());
            text.reserve(padded(bound) + TAG_BYTES);
            text.resize(4 + bound, 0);
            let place = text.get_mut(4..).unwrap_or_default();
            let length = zstd.compress_to_buffer(content, place);
            length.map_err(|e| SealError::Compression(e.to_string()))?
        }
    };
    text.truncate(4 + length);
    // The content is at most EXPANDED_BYTES_MAX, so its length fits 32 bits.
    let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = text.first_chunk_mut::<4>() {
        *place = prefix;
    }
    text.resize(padded(length), 0);
    Ok(())
}
