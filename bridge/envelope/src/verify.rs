//! Verify: untrusted bytes -> a verdict, and a verified batch when it is clean.
//!
//! It works on the received bytes, never on an encoding made again, and needs no section's key: a department that
//! may open nothing still checks shape, signatures, stream, header, blocks and ciphertexts.

use bridge_event::{Kind, LogIndex, Origin, Sequence, StreamId};
use bridge_suite::{Digest, KeyId, Suite, sha256};
use std::ops::Range;

use crate::seal::FRAME_BYTES_MAX;
use crate::section::{BLOCK_BYTES_MAX, ROWS_MAX};
use crate::signed::{BATCH, Signature, Signers, Verdict};
use crate::wire::Reader;
use crate::{BatchEntry, Finding, Header, ParseError, SectionBlock};

/// What a reader knows from the contract before it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The stream.
    pub stream: StreamId,
    /// The log that the contract binds it to.
    pub origin: Origin,
    /// The suite that the contract fixes.
    pub suite: Suite,
}

impl Expected {
    pub(crate) fn check(&self, stream: &StreamId, origin: &Origin) -> Vec<Finding> {
        let mut findings = Vec::new();
        if *stream != self.stream {
            let (expected, found) = (self.stream.to_string(), stream.to_string());
            findings.push(Finding::Stream { expected, found });
        }
        if *origin != self.origin {
            findings.push(Finding::Origin { expected: self.origin.clone(), found: origin.clone() });
        }
        findings
    }
}

/// Where the parts of a batch frame stand in its bytes.
#[derive(Clone, Debug)]
struct Layout {
    header: Header,
    digest: Digest,
    header_at: Range<usize>,
    signatures: Vec<Signature>,
    sections: Vec<SectionLayout>,
}

#[derive(Clone, Debug)]
struct SectionLayout {
    block: SectionBlock,
    block_at: Range<usize>,
    ciphertext_at: Range<usize>,
}

/// The clear parts of a batch frame. Nothing about them is verified.
#[derive(Clone, Debug)]
pub struct BatchFrame<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> BatchFrame<'a> {
    /// Takes a batch frame apart.
    ///
    /// # Errors
    /// [`ParseError`], also for leftover bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<BatchFrame<'a>, ParseError> {
        parse(bytes)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.layout.header
    }

    /// The batch's digest, from the received bytes.
    pub fn digest(&self) -> Digest {
        self.layout.digest
    }

    /// The signatures.
    pub fn signatures(&self) -> &[Signature] {
        &self.layout.signatures
    }

    /// The section blocks, in header order.
    pub fn blocks(&self) -> impl Iterator<Item = &SectionBlock> {
        self.layout.sections.iter().map(|section| &section.block)
    }

    fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

fn parse(bytes: &[u8]) -> Result<BatchFrame<'_>, ParseError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(ParseError::limit("frame", bytes.len(), FRAME_BYTES_MAX));
    }
    let parts = BATCH.take_apart(bytes)?;
    let header = Header::decode(parts.body)?;
    let trailer_at = bytes.len() - parts.trailer.len();
    let mut r = Reader::new(parts.trailer);
    let mut blocks = Vec::with_capacity(header.sections.len());
    for _ in &header.sections {
        let length = usize::try_from(r.u32be("section block length")?).unwrap_or(usize::MAX);
        if length > BLOCK_BYTES_MAX {
            return Err(ParseError::limit("section block length", length, BLOCK_BYTES_MAX));
        }
        let start = trailer_at + r.at();
        let block = SectionBlock::decode(r.take("section block", length)?)?;
        blocks.push((block, start..start + length));
    }
    let mut sections = Vec::with_capacity(blocks.len());
    for (block, block_at) in blocks {
        let length = usize::try_from(block.ciphertext_bytes).unwrap_or(usize::MAX);
        let start = trailer_at + r.at();
        r.take("section ciphertext", length)?;
        sections.push(SectionLayout { block, block_at, ciphertext_at: start..start + length });
    }
    r.finish()?;
    let layout = Layout {
        header,
        digest: parts.digest,
        header_at: 8..8 + parts.body.len(),
        signatures: parts.signatures,
        sections,
    };
    Ok(BatchFrame { bytes, layout })
}

/// A batch whose shape, signatures, stream, header, blocks and ciphertexts are right; only [`verify_batch`] makes
/// one. Whether it follows its chain is `bridge-chain`'s to say.
#[derive(Clone, Debug)]
pub struct Verified {
    frame: Vec<u8>,
    layout: Layout,
    signers: Vec<KeyId>,
}

impl Verified {
    /// The signed header.
    pub fn header(&self) -> &Header {
        &self.layout.header
    }

    /// The batch's digest, from the received bytes.
    pub fn digest(&self) -> Digest {
        self.layout.digest
    }

    /// The keys that signed it. Whether each was valid at the batch's log index is the trust file's to say.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// The signatures.
    pub fn signatures(&self) -> &[Signature] {
        &self.layout.signatures
    }

    /// The section blocks, in header order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &SectionBlock> {
        self.layout.sections.iter().map(|section| &section.block)
    }

    /// The block of a section, `None` past the last one.
    pub fn block(&self, index: usize) -> Option<&SectionBlock> {
        self.layout.sections.get(index).map(|section| &section.block)
    }

    /// The frame, byte for byte as received: what an archive keeps.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The header's bytes, for evidence.
    pub fn header_bytes(&self) -> &[u8] {
        self.slice(&self.layout.header_at)
    }

    /// A section block's bytes, for evidence.
    pub fn block_bytes(&self, index: usize) -> Option<&[u8]> {
        self.layout.sections.get(index).map(|section| self.slice(&section.block_at))
    }

    /// A section's ciphertext.
    pub fn ciphertext(&self, index: usize) -> Option<&[u8]> {
        self.layout.sections.get(index).map(|section| self.slice(&section.ciphertext_at))
    }

    /// What the log must hold of the batch.
    pub fn entry(&self, previous_index: Option<LogIndex>) -> BatchEntry {
        BatchEntry::of(&self.layout.header, self.layout.digest, previous_index)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.frame.get(range.clone()).unwrap_or_default()
    }
}

/// Verifies a batch. A shape that is wrong is the only finding; everything after it is reported together.
pub fn verify_batch(bytes: &[u8], signers: &dyn Signers, expected: &Expected) -> Verdict<Verified> {
    let frame = match BatchFrame::parse(bytes) {
        Ok(frame) => frame,
        Err(error) => return Verdict::refused(vec![error.into()]),
    };
    let header = frame.header();
    let operator = matches!(header.kind, Kind::Gap | Kind::Retract);
    let mut findings = expected.check(&header.stream, &header.origin);
    if header.suite != expected.suite {
        findings.push(Finding::Suite { expected: expected.suite, found: header.suite });
    }
    let (unsigned, keys) = BATCH.check_signatures(
        &frame.layout.digest,
        &frame.layout.signatures,
        &expected.stream.department,
        signers,
        operator,
    );
    findings.extend(unsigned);
    findings.extend(check_header(header));
    findings.extend(check_sections(&frame));
    Verdict::new(findings, || Verified { frame: bytes.to_vec(), layout: frame.layout, signers: keys })
}

fn check_header(header: &Header) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        header.contradictions().into_iter().map(Finding::Contradiction).collect();
    if header.sequence == Sequence(0) && header.previous != Header::genesis(&header.stream, &header.origin) {
        findings.push(Finding::Genesis { stream: header.stream.clone() });
    }
    let unknown = header.extensions.iter().filter(|e| e.critical);
    findings.extend(unknown.map(|e| Finding::Extension { id: e.id }));
    let rows = usize::try_from(header.rows()).unwrap_or(usize::MAX);
    if rows > ROWS_MAX {
        findings.push(ParseError::limit("row_events", rows, ROWS_MAX).into());
    }
    if (rows == 0) != header.sections.is_empty() {
        let found = format!("there are {} sections", header.sections.len());
        findings.push(Finding::Rows { announced: header.rows(), found });
    }
    findings
}

fn check_sections(frame: &BatchFrame<'_>) -> Vec<Finding> {
    let header = frame.header();
    let mut findings = Vec::new();
    let sections = &frame.layout.sections;
    for (i, (section, named)) in sections.iter().zip(&header.sections).enumerate() {
        let block = &section.block;
        if SectionBlock::digest_of(frame.slice(&section.block_at)) != *named {
            findings.push(Finding::Block { section: block.name.clone() });
        }
        if sha256(&[frame.slice(&section.ciphertext_at)]) != block.ciphertext {
            findings.push(Finding::Ciphertext { section: block.name.clone() });
        }
        if block.rows != header.rows() {
            let found = format!("section {} says {}", block.name, block.rows);
            findings.push(Finding::Rows { announced: header.rows(), found });
        }
        if sections.iter().take(i).any(|other| other.block.name == block.name) {
            findings.push(Finding::SectionTwice { section: block.name.clone() });
        }
    }
    findings
}
