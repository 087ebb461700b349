//! What a stream already has of the transactions that the source sends again (design section 5, start, step 5).
//!
//! The source begins again at the last acknowledged commit; each stream may have more than that, each its own much.
//! Rows are skipped by (commit, ordinal, fragment) of this incarnation, never by the LSN of a row: several rows share
//! one. The head's open transaction is taken over: the next batch continues it, and at its commit the last part is
//! sent even when every row was skipped.

use std::marker::PhantomData;

use bridge_event::{At, IncarnationNumber};

use crate::{Mark, Open, Rules, Shipped, State};

/// Why a stream cannot go on from its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SkipError {
    /// The stream's last position belongs to another life of the source.
    #[error(
        "the stream ends in incarnation {stream} and the source is in {source_now}: an operator's GAP or RETRACT comes first"
    )]
    Incarnation {
        /// The stream's.
        stream: IncarnationNumber,
        /// The source's.
        source_now: IncarnationNumber,
    },
    /// The source went past a transaction that the stream has open, without sending it again.
    #[error(
        "the stream has transaction {open} open and the source begins with {begun}: the source lost it; halt before the position moves"
    )]
    OpenVanished {
        /// The open transaction's commit.
        open: u64,
        /// The commit that the source sent instead.
        begun: u64,
    },
}

/// What one stream has, as of its adopted head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Skip<R: Rules = Shipped> {
    last: Option<Mark>,
    open: Option<Open>,
    rules: PhantomData<R>,
}

impl Skip {
    /// What to skip after the adopted state of a stream, for a source in `incarnation`.
    pub fn new(adopted: &State, incarnation: IncarnationNumber) -> Result<Skip, SkipError> {
        Skip::ruled(adopted, incarnation)
    }

    /// What to skip after a snapshot whose last chunk is sealed: everything at or before its as-of position.
    pub fn after_snapshot(as_of: Mark) -> Skip {
        Skip::ruled_after_snapshot(as_of)
    }
}

impl<R: Rules> Skip<R> {
    /// The same under given rules; everything shipped uses [`Skip::new`].
    pub fn ruled(adopted: &State, incarnation: IncarnationNumber) -> Result<Skip<R>, SkipError> {
        if adopted.head.is_none() {
            return Ok(Skip { last: None, open: None, rules: PhantomData });
        }
        if adopted.last.incarnation != incarnation {
            return Err(SkipError::Incarnation { stream: adopted.last.incarnation, source_now: incarnation });
        }
        Ok(Skip { last: Some(adopted.last.mark), open: adopted.open, rules: PhantomData })
    }

    /// The same under given rules; everything shipped uses [`Skip::after_snapshot`].
    pub fn ruled_after_snapshot(as_of: Mark) -> Skip<R> {
        Skip { last: Some(as_of), open: None, rules: PhantomData }
    }

    /// Whether the stream already has the row, or the fragment of one, at `mark`; of a row's beginning also when the row is
    /// [`Skip::unfinished`].
    pub fn has(&self, mark: Mark) -> bool {
        let Some(last) = self.last else { return false };
        if R::SKIP_BY_MARK { mark <= last } else { mark.commit <= last.commit }
    }

    /// How many fragments the stream has of the row at `at`, when it has not all of them: the row is cut again, and goes on
    /// behind them.
    pub fn unfinished(&self, at: At) -> Option<u32> {
        self.last.filter(|last| last.is_unfinished() && last.at() == at).map(|last| last.fragment)
    }

    /// Called when the source begins a transaction: the first one at or beyond a taken-over open transaction must be
    /// that one.
    pub fn begins(&self, commit: u64) -> Result<(), SkipError> {
        match self.open {
            Some(Open { commit: open }) if commit > open => {
                Err(SkipError::OpenVanished { open, begun: commit })
            }
            _ => Ok(()),
        }
    }

    /// Called when the source transaction `commit` has ended: whether the stream, whose last sealed batch leaves `open`
    /// open, is owed the transaction's last part. It is owed also when every row was skipped and nothing is pending; then
    /// it has no rows and is a batch of its own, closed before a row of the next transaction joins.
    pub fn owes_last_part(&mut self, open: Option<Open>, commit: u64) -> bool {
        let taken_over = self.open == Some(Open { commit });
        if taken_over {
            self.open = None;
        }
        open == Some(Open { commit }) && (R::LAST_PART_IS_OWED || !taken_over)
    }
}
