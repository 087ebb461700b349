//! Positions: places in a source's own log.

use crate::IncarnationNumber;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Longest native token, in bytes (an LSN, a GTID set).
pub const TOKEN_BYTES_MAX: usize = 4096;

/// A native token over [`TOKEN_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a native token of {bytes} bytes is over the limit of {TOKEN_BYTES_MAX}")]
pub struct PositionError {
    bytes: usize,
}

/// The engine's own name of a position (LSN, GTID): kept for people and for the engine, never compared. A copy shares the
/// bytes: every row of a transaction has the same one.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Token(Arc<[u8]>);

impl Token {
    /// A token of at most [`TOKEN_BYTES_MAX`] bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Token, PositionError> {
        let bytes = bytes.into();
        if bytes.len() > TOKEN_BYTES_MAX {
            Err(PositionError { bytes: bytes.len() })
        } else {
            Ok(Token(bytes.into()))
        }
    }

    /// The token's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

/// A place in one incarnation's log: the commit, then the row's number in its transaction in its stream.
///
/// A place after a whole transaction has the ordinal `u64::MAX` ([`At::end_of`]): every row of that commit is at or
/// before it, and no row of a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// Commit LSN, changelog id, binlog file and offset: what grows with every commit of the source.
    pub commit: u64,
    /// The row's number in its transaction in this stream, from 1.
    pub ordinal: u64,
}

impl At {
    /// Before everything.
    pub const START: At = At { commit: 0, ordinal: 0 };

    /// After the last row of `commit`.
    pub fn end_of(commit: u64) -> At {
        At { commit, ordinal: u64::MAX }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ordinal == u64::MAX {
            write!(f, "{}.end", self.commit)
        } else {
            write!(f, "{}.{}", self.commit, self.ordinal)
        }
    }
}

/// Where a row, or a fragment of one, stands in one incarnation of the source.
///
/// Marks compare by commit, then ordinal, then fragment; marks of two incarnations do not compare. A row is either whole
/// (fragment 0) or cut: its fragments are numbered from 1, and the last one is [`Mark::LAST_FRAGMENT`], so that a mark says
/// by itself whether its row goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Commit LSN, changelog id, binlog file and offset: what grows with every commit of the source.
    pub commit: u64,
    /// The row's number in its transaction in this stream, from 1; `u64::MAX` stands after the last row.
    pub ordinal: u64,
    /// 0 for a row that is not cut; for a fragment its number from 1, and [`Mark::LAST_FRAGMENT`] for the last one.
    pub fragment: u32,
}

impl Mark {
    /// Before everything.
    pub const START: Mark = Mark { commit: 0, ordinal: 0, fragment: 0 };

    /// The number of a cut row's last fragment.
    pub const LAST_FRAGMENT: u32 = u32::MAX;

    /// The fragment with this index, from 0, of the `of` fragments of a row.
    pub fn fragment(at: At, index: u32, of: u32) -> Mark {
        let number = index.saturating_add(1);
        let fragment = if number >= of { Mark::LAST_FRAGMENT } else { number };
        Mark { commit: at.commit, ordinal: at.ordinal, fragment }
    }

    /// Whether the mark is a fragment that is not its row's last one: the row goes on.
    pub fn is_unfinished(&self) -> bool {
        self.fragment != 0 && self.fragment != Mark::LAST_FRAGMENT
    }

    /// Whether `next` is the next fragment of the row that this mark leaves unfinished.
    pub fn goes_on_with(&self, next: &Mark) -> bool {
        let follows = next.fragment == self.fragment.wrapping_add(1) || next.fragment == Mark::LAST_FRAGMENT;
        self.is_unfinished() && self.at() == next.at() && follows
    }

    /// A whole row's mark.
    pub fn row(at: At) -> Mark {
        Mark { commit: at.commit, ordinal: at.ordinal, fragment: 0 }
    }

    /// After the last row of `commit`: the as-of position of a snapshot.
    pub fn end_of(commit: u64) -> Mark {
        Mark::row(At::end_of(commit))
    }

    /// Whether the mark is a transaction's end rather than a row.
    pub fn is_end(&self) -> bool {
        self.ordinal == u64::MAX
    }

    /// The mark without its fragment.
    pub fn at(&self) -> At {
        At { commit: self.commit, ordinal: self.ordinal }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at().fmt(f)?;
        match self.fragment {
            0 => Ok(()),
            Mark::LAST_FRAGMENT => write!(f, "/last"),
            number => write!(f, "/{number}"),
        }
    }
}

/// A position: the incarnation, the place in it, and the engine's own name of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the source.
    pub incarnation: IncarnationNumber,
    /// Where in that life.
    pub at: At,
    /// What the engine calls it.
    pub token: Token,
}

impl Position {
    /// How two positions of one incarnation stand to each other; `None` across incarnations, where only a signed
    /// GAP or RETRACT speaks.
    pub fn compare(&self, other: &Position) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| self.at.cmp(&other.at))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.incarnation, self.at)
    }
}

/// What a source says it is. A change of any field is another incarnation, and needs a signed GAP or RETRACT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// `sqlite`, `postgresql`, `mysql`, `mariadb`.
    pub engine: String,
    /// The server's or file's own identity (PostgreSQL's system identifier, MySQL's server uuid).
    pub system: String,
    /// The server's timeline, 0 where the engine has none.
    pub timeline: u64,
    /// The database.
    pub database: String,
    /// The slot, or what the engine has in its place.
    pub slot: String,
    /// The engine's token of the place from which the source can stream.
    pub consistent_point: Token,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_two_incarnations_do_not_compare() {
        let at = |incarnation, commit| Position {
            incarnation: IncarnationNumber(incarnation),
            at: At { commit, ordinal: 1 },
            token: Token::default(),
        };
        assert_eq!(at(1, 5).compare(&at(1, 6)), Some(Ordering::Less));
        assert_eq!(at(1, 5).compare(&at(2, 6)), None);
    }

    #[test]
    fn the_end_of_a_commit_is_after_its_rows_and_before_the_next_commits() {
        assert!(At { commit: 7, ordinal: 1_000_000 } < At::end_of(7));
        assert!(At::end_of(7) < At { commit: 8, ordinal: 0 });
    }

    #[test]
    fn a_token_is_bounded() {
        assert!(Token::new(vec![0; TOKEN_BYTES_MAX]).is_ok());
        assert!(Token::new(vec![0; TOKEN_BYTES_MAX + 1]).is_err());
    }
}
