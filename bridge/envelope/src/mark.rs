//! Where a row stands, and which batch is meant.

use bridge_event::{At, IncarnationNumber, Position, Sequence, TOKEN_BYTES_MAX, Token};
use bridge_suite::Digest;
use std::fmt;

use crate::ParseError;
use crate::wire::{Reader, Writer};

/// The place of a row, or of a fragment of one, in one incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The place of the row's commit.
    pub commit: u64,
    /// The row's number in its transaction in this stream, from 1.
    pub ordinal: u64,
    /// The fragment's index, 0 for a whole row.
    pub fragment: u32,
}

impl Mark {
    /// The place without the fragment.
    pub fn at(&self) -> At {
        At { commit: self.commit, ordinal: self.ordinal }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.unsigned(self.commit);
        w.unsigned(self.ordinal);
        w.small(self.fragment);
    }

    pub(crate) fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Mark, ParseError> {
        Ok(Mark { commit: r.unsigned(field)?, ordinal: r.unsigned(field)?, fragment: r.small(field)? })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at().fmt(f)?;
        if self.fragment > 0 { write!(f, "/{}", self.fragment) } else { Ok(()) }
    }
}

/// A mark with the engine's own name of it, as headers and beacons carry it. The incarnation stands beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowPosition {
    /// What is compared.
    pub mark: Mark,
    /// The engine's name of it (LSN, GTID); never compared.
    pub token: Token,
}

impl RowPosition {
    /// The position in its incarnation, without the fragment.
    pub fn position(&self, incarnation: IncarnationNumber) -> Position {
        Position { incarnation, at: self.mark.at(), token: self.token.clone() }
    }

    /// Where a row of this position stands.
    pub fn new(position: &Position, fragment: u32) -> RowPosition {
        let At { commit, ordinal } = position.at;
        RowPosition { mark: Mark { commit, ordinal, fragment }, token: position.token.clone() }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        self.mark.write(w);
        w.bytes(self.token.as_bytes());
    }

    pub(crate) fn read(r: &mut Reader<'_>, field: &'static str) -> Result<RowPosition, ParseError> {
        let mark = Mark::read(r, field)?;
        let token = r.bytes(field, TOKEN_BYTES_MAX)?;
        let token = Token::new(token).map_err(|_| ParseError::limit(field, token.len(), TOKEN_BYTES_MAX))?;
        Ok(RowPosition { mark, token })
    }
}

/// A batch of a stream, by its sequence and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchRef {
    /// Its number in the stream.
    pub sequence: Sequence,
    /// Its digest.
    pub digest: Digest,
}

impl BatchRef {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.unsigned(self.sequence.0);
        w.digest(&self.digest);
    }

    pub(crate) fn read(r: &mut Reader<'_>, field: &'static str) -> Result<BatchRef, ParseError> {
        Ok(BatchRef { sequence: Sequence(r.unsigned(field)?), digest: r.digest(field)? })
    }
}
