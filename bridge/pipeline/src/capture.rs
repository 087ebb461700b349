//! Capture and encode: whole source transactions become batches, one draft for each stream.
//!
//! ```text
//!   Source --begin/row/commit--> Assembler --Encoded--> seal
//!                                 lane 0: skip? encode -> draft
//!                                 lane 1: skip? encode -> draft      a lane for each stream
//! ```
//!
//! All drafts are closed together at a commit boundary: when the source has nothing more or the oldest row has waited long
//! enough, and Kafka has answered for most of what was sent before; or when a draft has reached its limit. Inside a transaction a lane that reaches its limit is
//! closed by itself and leaves the transaction open.

use crate::batch::{Encoded, FromCapture, LargeRow, Stand};
use crate::settings::BatchLimits;
use bridge_chain::skip::{Skip, SkipError};
use bridge_chain::{Mark, State};
use bridge_envelope::{ClosedBy, FRAGMENT_BYTES, Fragments, ROW_BYTES_MAX};
use bridge_event::{At, Change, IncarnationNumber, Kind, Operation, Rows, Token, Transaction, UnixMicros};
use connectors_source::{Capture, Stop};
use schemas::{EncodeError, Encoder, EventHead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

mod snapshot;

pub(crate) use snapshot::SnapshotAssembler;

/// Why assembling stopped.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A value that the contract's type cannot hold.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What the source sends does not follow what the stream has.
    #[error("CAP020: {0}")]
    Skip(#[from] SkipError),
    /// A row over the limit.
    #[error(
        "CAP021: a row of stream {stream} takes {bytes} bytes encoded, and at most {max} can be sent: shorten the value at the source, or do not share its column"
    )]
    RowTooLarge {
        /// The stream's index.
        stream: usize,
        /// The row's encoded bytes over all sections.
        bytes: usize,
        /// The limit.
        max: u64,
    },
    /// A row whose first fragments were sent, and which is another now.
    #[error(
        "CAP023: stream {stream} has the first fragments of row {at}, and {why}: its readers could not put the row together; go back to what was there, or an operator decides with a signed GAP"
    )]
    RowChanged {
        /// The stream's index.
        stream: usize,
        /// The row's place.
        at: At,
        /// What is another.
        why: &'static str,
    },
    /// The source named a table that no contract has.
    #[error(
        "CAP022: the source sent a row of table {0}, which it was not asked for: this is a defect of the connector"
    )]
    NoSuchTable(usize),
}

impl CaptureError {
    /// The row is not the one whose fragments were sent.
    fn row_changed(stream: usize, at: At) -> CaptureError {
        CaptureError::RowChanged { stream, at, why: "the source's row is shorter now" }
    }
}

/// What one transaction or snapshot leaves in a lane until it is closed.
#[derive(Debug, Default)]
struct Draft {
    sections: Vec<Rows>,
    bytes: usize,
    rows: u64,
    truncates: u64,
    first: Option<Stand>,
    begun: u64,
    ended: u64,
    first_commit_time: Option<UnixMicros>,
    last_commit_time: UnixMicros,
}

/// One stream while it is assembled.
#[derive(Debug)]
struct Lane {
    encoder: Encoder,
    skip: Skip,
    draft: Draft,
    /// The stream's last row, adopted or assembled.
    last: Stand,
    /// The transaction that the last closed batch, or the adopted head, leaves open.
    left_open: Option<u64>,
    /// The current transaction's rows in this stream so far, skipped ones too.
    ordinal: u64,
    /// Whether the draft holds rows of the current transaction.
    touched: bool,
}

/// What the assembler hands over to, and whether it should go on.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    pub(crate) seal: std::sync::mpsc::SyncSender<crate::seal::ToSeal>,
    pub(crate) ended: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) shutdown: crate::Shutdown,
    pub(crate) rows: Arc<AtomicU64>,
    /// Batches that were sent to the sealing thread and are not acknowledged by Kafka.
    pub(crate) under_way: Arc<AtomicUsize>,
}

/// How long rows that have waited long enough wait more, before it is looked again whether Kafka has answered.
const CROWDED: Duration = Duration::from_millis(1);
/// Rows that have waited so many times as long as they had to no longer wait for Kafka's answer to the batch before.
const AGES_MAX: u32 = 5;

/// Turns source transactions into batches.
#[derive(Debug)]
pub(crate) struct Assembler {
    lanes: Vec<Lane>,
    limits: BatchLimits,
    outlet: Outlet,
    current: Option<(Transaction, Token)>,
    /// The end of the last whole transaction.
    captured: At,
    /// What was last said to the sealing thread.
    said: At,
    /// When the oldest undelivered row came.
    oldest: Option<Instant>,
    error: Option<CaptureError>,
}

impl Assembler {
    /// An assembler over streams with these encoders, adopted states and incarnation.
    pub(crate) fn new(
        lanes: Vec<(Encoder, State, Token)>,
        incarnation: IncarnationNumber,
        from: At,
        limits: BatchLimits,
        outlet: Outlet,
    ) -> Result<Assembler, CaptureError> {
        let lanes = lanes
            .into_iter()
            .map(|(encoder, state, token)| {
                let skip = Skip::new(&state, incarnation)?;
                let last = if state.head.is_some() { state.last.mark } else { Mark::START };
                Ok(Lane {
                    draft: Draft { sections: encoder.rows(), ..Draft::default() },
                    encoder,
                    skip,
                    last: Stand { mark: last, token },
                    left_open: state.open.map(|open| open.commit),
                    ordinal: 0,
                    touched: false,
                })
            })
            .collect::<Result<Vec<_>, CaptureError>>()?;
        Ok(Assembler {
            lanes,
            limits,
            outlet,
            current: None,
            captured: from,
            said: At::START,
            oldest: None,
            error: None,
        })
    }

    /// Why the assembler told the source to stop, when it was not a shutdown.
    pub(crate) fn take_error(&mut self) -> Option<CaptureError> {
        self.error.take()
    }

    /// How long the source may be waited for, at most `longest`, before the rows that wait are due.
    pub(crate) fn patience(&self, longest: Duration) -> Duration {
        let Some(oldest) = self.oldest else { return longest };
        let left = self.limits.age().saturating_sub(oldest.elapsed());
        if left.is_zero() && !self.has_room() { CROWDED } else { left }.min(longest)
    }

    /// The source has nothing more and no transaction is open: everything is closed.
    pub(crate) fn idle(&mut self, at: At) -> Result<(), Stop> {
        self.captured = self.captured.max(at);
        if self.oldest.is_some() && !self.has_room() { Ok(()) } else { self.flush() }
    }

    /// Closes everything when the oldest row has waited long enough and no transaction is open.
    pub(crate) fn close_due(&mut self) -> Result<(), Stop> {
        if self.current.is_none() && self.waited() { self.flush() } else { Ok(()) }
    }

    fn waited(&self) -> bool {
        self.oldest.is_some_and(|since| since.elapsed() >= self.limits.age()) && self.has_room()
    }

    /// Whether a few rows are worth a batch of their own now. While Kafka owes an answer they would mostly wait behind the
    /// batch before, and cost a signature, a request and a log entry; where the answer is far away, several are under way.
    fn has_room(&self) -> bool {
        let under_way = self.outlet.under_way.load(Ordering::Relaxed);
        let waited = self.oldest.map_or(Duration::ZERO, |since| since.elapsed());
        let long = waited >= self.limits.age().saturating_mul(AGES_MAX);
        under_way == 0 || (long && under_way < self.lanes.len().saturating_mul(2).saturating_add(3))
    }

    fn fail(&mut self, error: impl Into<CaptureError>) -> Stop {
        self.error = Some(error.into());
        Stop
    }

    fn send(&self, message: FromCapture) -> Result<(), Stop> {
        if self.outlet.ended.load(Ordering::Relaxed) {
            return Err(Stop);
        }
        if matches!(message, FromCapture::Batch(_)) {
            self.outlet.under_way.fetch_add(1, Ordering::Relaxed);
        }
        self.outlet.seal.send(crate::seal::ToSeal::Captured(message)).map_err(|_| Stop)
    }

    /// Closes every lane at a commit boundary, and says how far the source was captured.
    fn flush(&mut self) -> Result<(), Stop> {
        for lane in 0..self.lanes.len() {
            self.close(lane, ClosedBy::Commit, false)?;
        }
        self.oldest = None;
        if self.captured > self.said {
            self.said = self.captured;
            self.send(FromCapture::Captured(self.captured))?;
        }
        Ok(())
    }

    /// Closes a lane's draft, when it holds anything to say.
    fn close(&mut self, index: usize, closed_by: ClosedBy, leaves_open: bool) -> Result<(), Stop> {
        let resolved = self.captured;
        let open_commit = self.current.as_ref().map(|(transaction, _)| transaction.commit);
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        let draft = &mut lane.draft;
        if draft.rows == 0 && draft.ended == 0 {
            return Ok(());
        }
        let empty = lane.encoder.rows();
        let draft = std::mem::replace(draft, Draft { sections: empty, ..Draft::default() });
        let first = draft.first.unwrap_or_else(|| lane.last.clone());
        let encoded = Encoded {
            stream: index,
            kind: Kind::Stream,
            first,
            last: lane.last.clone(),
            continues: lane.left_open.is_some(),
            leaves_open,
            closed_by,
            resolved,
            begun: draft.begun,
            ended: draft.ended,
            first_commit_time: draft.first_commit_time.unwrap_or(draft.last_commit_time),
            last_commit_time: draft.last_commit_time,
            row_events: draft.rows.saturating_sub(draft.truncates),
            truncates: draft.truncates,
            snapshot: None,
            sections: if draft.rows == 0 { Vec::new() } else { draft.sections },
            fragment: None,
        };
        lane.left_open = if leaves_open { open_commit } else { None };
        if leaves_open {
            lane.touched = false;
        }
        self.send(FromCapture::Batch(Box::new(encoded)))
    }

    fn take_row(&mut self, change: &Change<'_>) -> Result<(), Stop> {
        let Some((transaction, token)) = self.current.as_ref().map(|(t, k)| (*t, k.clone())) else {
            return Err(self.fail(CaptureError::NoSuchTable(change.table)));
        };
        let Some(lane) = self.lanes.get_mut(change.table) else {
            return Err(self.fail(CaptureError::NoSuchTable(change.table)));
        };
        lane.ordinal = lane.ordinal.saturating_add(1);
        let mark = Mark { commit: transaction.commit, ordinal: lane.ordinal, fragment: 0 };
        let sent = lane.skip.unfinished(mark.at());
        if sent.is_none() && lane.skip.has(mark) {
            return Ok(());
        }
        let head = EventHead::of(change, &transaction, lane.ordinal);
        let bytes = match lane.encoder.encode(change, &head, &mut lane.draft.sections) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.fail(error)),
        };
        if sent.is_some() || bytes > self.limits.whole_row_bytes_max() {
            return self.take_large(change.table, Stand { mark, token }, transaction, sent);
        }
        lane.took(change.operation, mark, token, transaction, bytes);
        self.oldest.get_or_insert_with(Instant::now);
        self.outlet.rows.fetch_add(1, Ordering::Relaxed);
        let full = self.limits.reached(lane.draft.rows, lane.draft.bytes);
        if full && !change.with_next { self.close(change.table, ClosedBy::Limit, true) } else { Ok(()) }
    }

    /// Sends the row that was encoded last in fragments, behind those that the stream has.
    fn take_large(
        &mut self,
        stream: usize,
        row: Stand,
        transaction: Transaction,
        sent: Option<u32>,
    ) -> Result<(), Stop> {
        let Some(lane) = self.lanes.get_mut(stream) else { return Ok(()) };
        // The same row is cut in the same way in every life, whatever the limits are.
        let large = lane.split_large(stream, row.mark.at()).map_err(|error| self.fail(error))?;
        let of = large.fragments.count();
        if sent.is_some_and(|sent| sent >= of) {
            return Err(self.fail(CaptureError::row_changed(stream, row.mark.at())));
        }
        // What waits goes before it; it leaves the transaction open when it has rows of it.
        let touched = self.lanes.get(stream).is_some_and(|lane| lane.touched);
        self.close(stream, if touched { ClosedBy::Limit } else { ClosedBy::Commit }, touched)?;
        for index in sent.unwrap_or(0)..of {
            let resolved = self.captured;
            let Some(lane) = self.lanes.get_mut(stream) else { return Ok(()) };
            let continues = lane.left_open == Some(transaction.commit);
            let stand = Stand { mark: Mark::fragment(row.mark.at(), index, of), token: row.token.clone() };
            (lane.last, lane.left_open) = (stand.clone(), Some(transaction.commit));
            // The transaction ends with the next batch: nobody knows yet whether a row follows.
            let encoded = Encoded {
                continues,
                leaves_open: true,
                resolved,
                begun: u64::from(!continues),
                first_commit_time: transaction.committed_at,
                last_commit_time: transaction.committed_at,
                ..Encoded::fragment(stream, Kind::Stream, stand, &large, index)
            };
            self.send(FromCapture::Batch(Box::new(encoded)))?;
        }
        self.outlet.rows.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn take_commit(&mut self, transaction: &Transaction) -> Result<(), Stop> {
        let mut owing = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let open = lane.left_open.map(|commit| bridge_chain::Open { commit });
            let owes = lane.skip.owes_last_part(open, transaction.commit);
            if lane.touched {
                lane.draft.ended = lane.draft.ended.saturating_add(1);
            } else if owes {
                // A last part without rows is a batch of its own: the next batch begins another transaction.
                lane.draft.ended = 1;
                lane.draft.last_commit_time = transaction.committed_at;
                owing.push(index);
            }
        }
        self.captured = self.captured.max(transaction.end());
        for index in owing {
            self.close(index, ClosedBy::Commit, false)?;
        }
        self.current = None;
        if self.waited()
            || self.lanes.iter().any(|lane| self.limits.reached(lane.draft.rows, lane.draft.bytes))
        {
            self.flush()?;
        }
        Ok(())
    }
}

impl Lane {
    /// Takes the row that was encoded last out of the draft, and cuts it.
    fn split_large(&mut self, stream: usize, at: At) -> Result<Arc<LargeRow>, CaptureError> {
        let sections: Vec<Rows> = self.draft.sections.iter_mut().map(Rows::split_last).collect();
        let bytes = sections.iter().map(|rows| rows.bytes().len()).sum();
        if u64::try_from(bytes).unwrap_or(u64::MAX) > ROW_BYTES_MAX {
            return Err(CaptureError::RowTooLarge { stream, bytes, max: ROW_BYTES_MAX });
        }
        let fragments =
            Fragments::new(&sections, FRAGMENT_BYTES).map_err(|_| CaptureError::row_changed(stream, at))?;
        Ok(Arc::new(LargeRow { sections, fragments }))
    }

    /// The draft took a row.
    fn took(
        &mut self,
        operation: Operation,
        mark: Mark,
        token: Token,
        transaction: Transaction,
        bytes: usize,
    ) {
        let continued = self.left_open == Some(mark.commit);
        if !self.touched && !continued {
            self.draft.begun = self.draft.begun.saturating_add(1);
        }
        self.touched = true;
        let stand = Stand { mark, token };
        if self.draft.first.is_none() {
            self.draft.first = Some(stand.clone());
            self.draft.first_commit_time = Some(transaction.committed_at);
        }
        self.last = stand;
        self.draft.last_commit_time = transaction.committed_at;
        self.draft.rows = self.draft.rows.saturating_add(1);
        self.draft.bytes = self.draft.bytes.saturating_add(bytes);
        if operation == Operation::Truncate {
            self.draft.truncates = self.draft.truncates.saturating_add(1);
        }
    }
}

impl Capture for Assembler {
    fn begin(&mut self, transaction: &Transaction, token: &Token) -> Result<(), Stop> {
        for lane in &mut self.lanes {
            lane.ordinal = 0;
            lane.touched = false;
            if let Err(error) = lane.skip.begins(transaction.commit) {
                return Err(self.fail(error));
            }
        }
        self.current = Some((*transaction, token.clone()));
        Ok(())
    }

    fn row(&mut self, change: &Change<'_>) -> Result<(), Stop> {
        self.take_row(change)
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), Stop> {
        self.take_commit(transaction)
    }
}

impl BatchLimits {
    fn reached(&self, rows: u64, bytes: usize) -> bool {
        rows >= self.rows_max || bytes >= self.bytes_max
    }

    /// The largest row that goes whole: with a batch that is nearly full, and the other row of a changed key, far below the
    /// 8 MiB that a frame may have.
    fn whole_row_bytes_max(&self) -> usize {
        self.row_bytes_max.clamp(FRAGMENT_BYTES, 2 * 1024 * 1024)
    }

    fn age(&self) -> Duration {
        Duration::from_millis(self.age_ms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]
    use super::*;
    use crate::seal::ToSeal;
    use schemas::{Contract, ContractFiles};
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Receiver, sync_channel};

    const WAIT: Duration = Duration::from_secs(3600);

    /// An assembler of the payments whose rows are due at once, and what it sends.
    fn assembler() -> (Assembler, Receiver<ToSeal>) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/tax/payments");
        let mut files = ContractFiles::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(path).unwrap());
        }
        let contract = Contract::parse(&files).unwrap();
        let encoder = Encoder::new(&contract, &contract.source_columns()).unwrap();
        let (seal, sent) = sync_channel(100);
        let outlet = Outlet {
            seal,
            ended: Arc::new(AtomicBool::new(false)),
            shutdown: crate::Shutdown::default(),
            rows: Arc::default(),
            under_way: Arc::default(),
        };
        let limits = BatchLimits { age_ms: 0, rows_max: 8, ..BatchLimits::default() };
        let lanes = vec![(encoder, State::START, Token::default())];
        let assembler = Assembler::new(lanes, IncarnationNumber(1), At::START, limits, outlet).unwrap();
        (assembler, sent)
    }

    /// A transaction of one truncate: the row that has no cells.
    fn transact(assembler: &mut Assembler, commit: u64) {
        let transaction = Transaction { number: commit, commit, committed_at: UnixMicros(0) };
        let change = Change {
            table: 0,
            operation: Operation::Truncate,
            index: 0,
            with_next: false,
            before: None,
            after: None,
        };
        assembler.begin(&transaction, &Token::default()).unwrap();
        assembler.row(&change).unwrap();
        assembler.commit(&transaction).unwrap();
    }

    /// How many rows each batch has that was sent since the last look.
    fn batches(sent: &Receiver<ToSeal>) -> Vec<u64> {
        let rows = |message| match message {
            ToSeal::Captured(FromCapture::Batch(batch)) => Some(batch.row_events + batch.truncates),
            _ => None,
        };
        sent.try_iter().filter_map(rows).collect()
    }

    #[test]
    fn while_kafka_owes_an_answer_transactions_wait_for_each_other_and_none_is_left_behind() {
        let (mut assembler, sent) = assembler();
        transact(&mut assembler, 1);
        assert_eq!(batches(&sent), [1], "the first is due at once");
        assembler.limits.age_ms = 1000;
        (2..=8).for_each(|commit| transact(&mut assembler, commit));
        assembler.oldest = Instant::now().checked_sub(Duration::from_millis(1500));
        assembler.close_due().unwrap();
        assembler.idle(At::end_of(8)).unwrap();
        assert_eq!(batches(&sent).len(), 0, "Kafka owes an answer");
        assert_eq!(assembler.patience(WAIT), CROWDED);
        assembler.outlet.under_way.fetch_sub(1, Ordering::Relaxed);
        assert_eq!(assembler.patience(WAIT), Duration::ZERO);
        assembler.close_due().unwrap();
        assert_eq!(batches(&sent), [7]);
        assert_eq!(assembler.patience(WAIT), WAIT, "nothing waits");
    }

    #[test]
    fn where_kafka_is_far_away_five_batches_are_under_way_and_no_more() {
        let (mut assembler, sent) = assembler();
        assembler.limits.age_ms = 1000;
        for commit in 1..=8 {
            transact(&mut assembler, commit);
            assembler.oldest = Instant::now().checked_sub(Duration::from_millis(5500));
            assembler.close_due().unwrap();
        }
        assert_eq!(batches(&sent), [1; 5]);
    }

    #[test]
    fn a_full_draft_is_closed_however_many_answers_kafka_owes() {
        let (mut assembler, sent) = assembler();
        assembler.outlet.under_way.store(1000, Ordering::Relaxed);
        (1..=20).for_each(|commit| transact(&mut assembler, commit));
        // The eighth row closes the batch before its transaction's end is known, which then has one of its own.
        assert_eq!(batches(&sent), [8, 0, 8, 0]);
    }

    #[test]
    fn rows_that_are_due_wait_for_the_commit_of_an_open_transaction() {
        let (mut assembler, sent) = assembler();
        assembler.outlet.under_way.store(1000, Ordering::Relaxed);
        transact(&mut assembler, 1);
        assembler.outlet.under_way.store(0, Ordering::Relaxed);
        let open = Transaction { number: 2, commit: 2, committed_at: UnixMicros(0) };
        assembler.begin(&open, &Token::default()).unwrap();
        assembler.close_due().unwrap();
        assert_eq!(batches(&sent).len(), 0);
        assembler.commit(&open).unwrap();
        assert_eq!(batches(&sent), [1]);
    }
}
