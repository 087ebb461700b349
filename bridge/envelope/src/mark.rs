//! Where a row stands, and which batch is meant.

use bridge_event::{At, IncarnationNumber, Mark, Position, Sequence, TOKEN_BYTES_MAX, Token};
use bridge_suite::Digest;

use crate::ParseError;
use crate::wire::{Reader, Writer};

pub(crate) fn write_mark(mark: &Mark, w: &mut Writer) {
    w.unsigned(mark.commit);
    w.unsigned(mark.ordinal);
    w.small(mark.fragment);
}

pub(crate) fn read_mark(r: &mut Reader<'_>, field: &'static str) -> Result<Mark, ParseError> {
    Ok(Mark { commit: r.unsigned(field)?, ordinal: r.unsigned(field)?, fragment: r.small(field)? })
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
        write_mark(&self.mark, w);
        w.bytes(self.token.as_bytes());
    }

    pub(crate) fn read(r: &mut Reader<'_>, field: &'static str) -> Result<RowPosition, ParseError> {
        let mark = read_mark(r, field)?;
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
