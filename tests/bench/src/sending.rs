//! The sending end: rows become sealed frames, in batches that close as the connector closes them.

use bridge_envelope::{ClosedBy, Header, Mark, RowPosition, Sealed, Sealer, SectionDraft};
use bridge_event::{
    At, Change, Epoch, IncarnationNumber, Kind, Operation, Rows, Sequence, Token, UnixMicros,
};
use bridge_suite::{Digest, sha256};
use schemas::{Encoder, EventHead};

use crate::row::{commit_of, committed_at};
use crate::scene::compression_of;
use crate::{COLUMNS, CpuClock, ROWS_PER_TRANSACTION, Row, Scene, Spent};

/// The connector's limits of a batch: rows, and encoded bytes of all sections.
const BATCH_ROWS_MAX: u64 = 4096;
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Encodes and seals.
#[derive(Debug)]
pub struct Sending<'a> {
    scene: &'a Scene,
    encoder: Encoder,
    sealer: Sealer,
    sections: Vec<Rows>,
    rows: u64,
    bytes: usize,
    /// The numbers of the batch's first row and of the stream's last one.
    first: u64,
    last: u64,
    left_open: bool,
    sequence: Sequence,
    previous: Digest,
    spent: Spent,
    content_bytes: u64,
}

impl<'a> Sending<'a> {
    /// The beginning of the scene's stream.
    ///
    /// # Errors
    /// The contract and the columns do not agree, or zstd gives no context.
    pub fn new(scene: &'a Scene) -> anyhow::Result<Sending<'a>> {
        let encoder = Encoder::new(&scene.contract, &COLUMNS)?;
        Ok(Sending {
            scene,
            sections: encoder.rows(),
            encoder,
            sealer: Sealer::new()?,
            rows: 0,
            bytes: 0,
            first: 0,
            last: 0,
            left_open: false,
            sequence: Sequence(0),
            previous: Header::genesis(&scene.stream, &scene.origin),
            spent: Spent::default(),
            content_bytes: 0,
        })
    }

    /// What encode and seal took so far.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Encoded bytes so far, of all sections.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Sends rows that follow each other; whole batches among them go to `take`.
    ///
    /// # Errors
    /// A row does not encode or a batch does not seal.
    pub fn send(&mut self, rows: &[Row], take: &mut dyn FnMut(Sealed)) -> anyhow::Result<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let clock = CpuClock::start();
            let taken = self.encode(rest)?;
            self.spent.encode += clock.spent();
            rest = rest.get(taken..).unwrap_or_default();
            if self.is_full() {
                take(self.seal(ClosedBy::Limit)?);
            }
        }
        Ok(())
    }

    /// Seals what is left.
    ///
    /// # Errors
    /// The batch does not seal.
    pub fn finish(&mut self, take: &mut dyn FnMut(Sealed)) -> anyhow::Result<()> {
        if self.rows > 0 {
            take(self.seal(ClosedBy::Commit)?);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// Encodes rows until the batch is full, and says how many.
    pub fn encode(&mut self, rows: &[Row]) -> anyhow::Result<usize> {
        let mut taken = 0;
        for row in rows {
            if self.is_full() {
                break;
            }
            let (number, cells) = (row.number(), row.cells());
            let ordinal = (number - 1) % ROWS_PER_TRANSACTION + 1;
            let commit = commit_of(number);
            let change = Change {
                table: 0,
                operation: Operation::Insert,
                index: ordinal - 1,
                with_next: false,
                before: None,
                after: Some(&cells),
            };
            self.bytes +=
                self.encoder.encode(&change, &head_of(number, commit, ordinal), &mut self.sections)?;
            if self.rows == 0 {
                self.first = number;
            }
            self.rows += 1;
            self.last = number;
            taken += 1;
        }
        Ok(taken)
    }

    /// Seals the batch and begins the next one, with buffers of its own: the connector hands these to another thread.
    ///
    /// # Errors
    /// The batch does not seal.
    pub fn seal(&mut self, closed_by: ClosedBy) -> anyhow::Result<Sealed> {
        let clock = CpuClock::start();
        let sections = std::mem::replace(&mut self.sections, self.encoder.rows());
        self.spent.encode += clock.spent();
        let header = self.header(closed_by)?;
        let clock = CpuClock::start();
        let sealed = seal_batch(self.scene, &mut self.sealer, header, &sections)?;
        self.spent.seal += clock.spent();
        self.content_bytes += u64::try_from(self.bytes)?;
        self.left_open = sealed.header().leaves_open;
        self.sequence = sealed.header().sequence.next().unwrap_or_default();
        self.previous = sealed.digest();
        (self.rows, self.bytes) = (0, 0);
        Ok(sealed)
    }

    /// The header of the batch that would be sealed now.
    fn header(&self, closed_by: ClosedBy) -> anyhow::Result<Header> {
        let (first, last) = (position(self.first)?, position(self.last)?);
        let open = closed_by == ClosedBy::Limit && !self.last.is_multiple_of(ROWS_PER_TRANSACTION);
        let (first_commit, last_commit) = (first.mark.commit, last.mark.commit);
        let touched = last_commit - first_commit + 1;
        Ok(Header {
            suite: self.scene.contract.suite(),
            stream: self.scene.stream.clone(),
            origin: self.scene.origin.clone(),
            epoch: Epoch(1),
            sequence: self.sequence,
            previous: self.previous,
            kind: Kind::Stream,
            contract: self.scene.contract.digest(),
            // Not random, and of this batch alone: what the keys of a benchmark need.
            nonce: sha256(&[&self.sequence.0.to_be_bytes()]).0,
            incarnation: IncarnationNumber(1),
            first,
            last,
            continues: self.left_open,
            leaves_open: open,
            closed_by,
            resolved: At::end_of(if open { last_commit - 1 } else { last_commit }),
            transactions_begun: touched - u64::from(self.left_open),
            transactions_ended: touched - u64::from(open),
            first_commit_time: UnixMicros(committed_at(first_commit)),
            last_commit_time: UnixMicros(committed_at(last_commit)),
            row_events: self.rows,
            truncates: 0,
            snapshot: None,
            fragment: None,
            notice: None,
            sections: Vec::new(),
            extensions: Vec::new(),
        })
    }

    /// The next batch's header and rows, as they stand; for benchmarks of one stage.
    ///
    /// # Errors
    /// The engine's token is too long, which it is not.
    pub fn draft(&self) -> anyhow::Result<(Header, &[Rows])> {
        Ok((self.header(ClosedBy::Limit)?, &self.sections))
    }
}

/// Seals the rows of the scene's sections.
///
/// # Errors
/// The batch does not seal.
pub fn seal_batch(
    scene: &Scene,
    sealer: &mut Sealer,
    header: Header,
    sections: &[Rows],
) -> anyhow::Result<Sealed> {
    let drafts: Vec<SectionDraft<'_>> = scene
        .contract
        .sections()
        .iter()
        .zip(sections)
        .zip(&scene.keys)
        .map(|((section, rows), key)| SectionDraft {
            name: section.name(),
            schema: section.schema_digest(),
            groups: &[],
            compression: compression_of(section),
            rows,
            key,
        })
        .collect();
    Ok(sealer.seal(header, &drafts, &[&scene.signing])?)
}

/// The head of a row's bytes.
pub(crate) fn head_of(number: u64, commit: u64, ordinal: u64) -> EventHead {
    EventHead {
        commit,
        ordinal,
        commit_time: UnixMicros(committed_at(commit)),
        // Any number that a server would have given; it does not stand in the header.
        transaction: number - ordinal + 1,
        index: ordinal - 1,
    }
}

/// Where a row stands, with a token as long as PostgreSQL's LSN.
fn position(number: u64) -> anyhow::Result<RowPosition> {
    let commit = commit_of(number);
    let ordinal = (number - 1) % ROWS_PER_TRANSACTION + 1;
    let token = Token::new(format!("0/{commit:08X}").into_bytes())?;
    Ok(RowPosition { mark: Mark { commit, ordinal, fragment: 0 }, token })
}
