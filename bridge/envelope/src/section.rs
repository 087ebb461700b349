//! A section of a batch: its clear block, and the formulas that bind its ciphertext to the batch.

use bridge_event::{GroupName, SectionName};
use bridge_suite::{Digest, Secret, Suite, sha256};

use crate::wire::{Reader, Writer};
use crate::{Header, ParseError};

/// Most sections of a batch.
pub const SECTIONS_MAX: usize = 32;

/// Most disclosure groups of a section.
pub const GROUPS_MAX: usize = 16;

/// Most rows of a batch: what one leaf count of a section may be.
pub const ROWS_MAX: usize = 65_536;

/// Longest section block, in bytes: five digests, four numbers of at most 10 bytes, a name and 16 group names of at
/// most 66 bytes are 1,332; the limit leaves room for three times as much.
pub const BLOCK_BYTES_MAX: usize = 4096;

/// How a section's content is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// One zstd frame.
    Zstd,
}

impl Compression {
    /// The number in blocks and contexts.
    pub fn number(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Zstd => 1,
        }
    }
}

/// The clear block of a section. The header holds its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionBlock {
    /// The section's name.
    pub name: SectionName,
    /// SHA-256 of the exact schema file.
    pub schema: Digest,
    /// The number of rows, the same in every section of the batch.
    pub rows: u64,
    /// The root over the rows' leaves.
    pub row_root: Digest,
    /// The disclosure groups, in contract order.
    pub groups: Vec<GroupName>,
    /// How the content is compressed.
    pub compression: Compression,
    /// The ciphertext's length, its tag included, in bytes.
    pub ciphertext_bytes: u64,
    /// SHA-256 of the ciphertext.
    pub ciphertext: Digest,
    /// The digest of the key record whose secret opens the section.
    pub key_record: Digest,
    /// The commitment to the section's key.
    pub commitment: Digest,
}

impl SectionBlock {
    /// The block's Avro bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.text(self.name.as_str());
        w.digest(&self.schema);
        w.unsigned(self.rows);
        w.digest(&self.row_root);
        w.array(&self.groups, |w, group| w.text(group.as_str()));
        w.small(self.compression.number().into());
        w.unsigned(self.ciphertext_bytes);
        w.digest(&self.ciphertext);
        w.digest(&self.key_record);
        w.digest(&self.commitment);
        w.into_bytes()
    }

    /// Reads a block. Nothing about it is verified.
    ///
    /// # Errors
    /// [`ParseError`], also for leftover bytes.
    pub fn decode(bytes: &[u8]) -> Result<SectionBlock, ParseError> {
        let r = &mut Reader::new(bytes);
        let block = SectionBlock {
            name: r.name("section.name")?,
            schema: r.digest("section.schema")?,
            rows: r.unsigned("section.rows")?,
            row_root: r.digest("section.row_root")?,
            groups: r.array("section.groups", GROUPS_MAX, |r| r.name("section.groups"))?,
            compression: match r.choice("section.compression", 2)? {
                0 => Compression::None,
                _ => Compression::Zstd,
            },
            ciphertext_bytes: r.unsigned("section.ciphertext_bytes")?,
            ciphertext: r.digest("section.ciphertext")?,
            key_record: r.digest("section.key_record")?,
            commitment: r.digest("section.commitment")?,
        };
        r.finish()?;
        Ok(block)
    }

    /// `SHA-256("govbridge/v1/section-block\0" || block bytes)`, as the header holds it.
    pub fn digest_of(bytes: &[u8]) -> Digest {
        sha256(&[b"govbridge/v1/section-block\0", bytes])
    }
}

/// What ties a section's keys to its place: everything but the row root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) header: &'a Header,
    pub(crate) section: &'a SectionName,
    pub(crate) schema: &'a Digest,
    pub(crate) key_record: &'a Digest,
    pub(crate) rows: u32,
    pub(crate) compression: Compression,
}

impl Binding<'_> {
    /// `ctx0`: each part with its length before it.
    fn bytes(&self) -> Vec<u8> {
        let header = self.header;
        let parts: [&[u8]; 15] = [
            b"govbridge/v1/context\0",
            &header.suite.number().to_be_bytes(),
            header.stream.department.as_str().as_bytes(),
            header.stream.dataset.as_str().as_bytes(),
            &header.stream.partition.0.to_be_bytes(),
            &header.epoch.0.to_be_bytes(),
            &header.sequence.0.to_be_bytes(),
            &[header.kind.number()],
            self.section.as_str().as_bytes(),
            self.schema.as_bytes(),
            header.contract.as_bytes(),
            self.key_record.as_bytes(),
            &self.rows.to_be_bytes(),
            &[self.compression.number()],
            &header.nonce,
        ];
        prefixed(&parts)
    }

    /// `S`: the secret of the section's salts.
    pub(crate) fn salt_secret(&self, key: &Secret) -> Secret {
        let suite = self.header.suite;
        let context = suite.hash(&[&self.bytes()]);
        suite.derive(key, &[b"govbridge/v1/salts\0", context.as_bytes()])
    }

    /// The section's one-time keys, bound to its rows too.
    pub(crate) fn keys(&self, key: &Secret, row_root: &Digest) -> SectionKeys {
        let suite = self.header.suite;
        let mut context = self.bytes();
        context.extend(prefixed(&[row_root.as_bytes()]));
        let associated = suite.hash(&[&context]);
        let base = suite.derive(key, &[b"govbridge/v1/section\0", associated.as_bytes()]);
        SectionKeys::of(suite, &base, associated)
    }
}

/// The keys of one section of one batch, from its `B`.
#[derive(Debug)]
pub(crate) struct SectionKeys {
    /// The AEAD's key, used once.
    pub(crate) encryption: Secret,
    /// What the block's commitment must be.
    pub(crate) commitment: Secret,
    /// The AEAD's associated data, `H(ctx)`.
    pub(crate) associated: Digest,
}

impl SectionKeys {
    fn of(suite: Suite, base: &Secret, associated: Digest) -> SectionKeys {
        let encryption = suite.expand(base, b"key\0");
        let commitment = suite.expand(base, b"commit\0");
        SectionKeys { encryption, commitment, associated }
    }
}

/// `lp(x)` of each part: `u32be length || part`.
pub(crate) fn prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| 4 + part.len()).sum());
    for part in parts {
        // Names, digests and numbers: never near 4 GiB.
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}
