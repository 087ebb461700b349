//! The row of the baselines: 227 bytes, of which a note of 128 characters is more than half.
//!
//! ```text
//! id bigint         g
//! person_id text    g, padded with 3 to 18 characters
//! name text         three Chinese characters
//! region int        g % 340
//! amount numeric    (g % 1000000) / 7, two decimals
//! status text       active
//! updated_at        the moment of the transaction
//! note text         d(g) d(g+1) d(g+2) d(g+3), d being 32 hexadecimal characters
//! ```
//!
//! The baselines take MD5 for `d`; any digest will do, because what counts is that three quarters of a note stand in
//! the row before it and one quarter is new.

use bridge_event::{Cell, Value};

/// Rows of one source transaction: 1,000 transactions make the million.
pub const ROWS_PER_TRANSACTION: u64 = 1000;

/// The columns as the source yields them.
pub const COLUMNS: [&str; 8] =
    ["id", "person_id", "name", "region", "amount", "status", "updated_at", "note"];

/// 2026-01-01T00:00:00Z in microseconds.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// One row of the source's table, in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    id: i64,
    person_id: String,
    name: String,
    region: i64,
    amount: String,
    status: &'static str,
    updated_at: i64,
    note: String,
}

impl Row {
    /// Row `number`, from 1.
    pub fn of(number: u64) -> Row {
        let id = i64::try_from(number).unwrap_or(i64::MAX);
        let name = [24_352, 19_968 + id % 2000, 20_000 + id % 3000];
        let character = |code: &i64| u32::try_from(*code).ok().and_then(char::from_u32).unwrap_or('?');
        // Hundredths, rounded half up: x * 100 / 7.
        let hundredths = (id % 1_000_000 * 200 + 7) / 14;
        Row {
            id,
            person_id: format!("{id:3>18}"),
            name: name.iter().map(character).collect(),
            region: id % 340,
            amount: format!("{}.{:02}", hundredths / 100, hundredths % 100),
            status: "active",
            updated_at: committed_at(commit_of(number)),
            note: (0..4).map(|i| digest_text(number + i)).collect(),
        }
    }

    /// The row's number.
    pub fn number(&self) -> u64 {
        self.id.unsigned_abs()
    }

    /// The cells in the order of [`COLUMNS`].
    pub fn cells(&self) -> [Cell<'_>; 8] {
        [
            Value::Integer(self.id),
            Value::Text(&self.person_id),
            Value::Text(&self.name),
            Value::Integer(self.region),
            Value::Decimal(&self.amount),
            Value::Text(self.status),
            Value::Instant(self.updated_at),
            Value::Text(&self.note),
        ]
        .map(Cell::Value)
    }
}

/// The commit that row `number` is of, from 1.
pub(crate) fn commit_of(number: u64) -> u64 {
    number.saturating_sub(1) / ROWS_PER_TRANSACTION + 1
}

/// When a commit was made, in microseconds since 1970: one each 10 ms.
pub(crate) fn committed_at(commit: u64) -> i64 {
    NEW_YEAR + i64::try_from(commit).unwrap_or_default() * 10_000
}

/// 32 hexadecimal characters that a compressor cannot guess.
fn digest_text(number: u64) -> String {
    format!("{:016x}{:016x}", mixed(number), mixed(!number))
}

/// A bijection of 64 bits without visible order (the finaliser of SplitMix64, Steele and others, OOPSLA 2014).
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_shape_of_the_baselines() {
        let row = Row::of(10);
        assert_eq!((row.person_id.as_str(), row.name.as_str()), ("333333333333333310", "张上个"));
        assert_eq!((row.amount.as_str(), row.note.len(), row.region), ("1.43", 128, 10));
        assert_eq!(Row::of(999_999).amount, "142857.00");
        let next = Row::of(11);
        assert_eq!(row.note.get(32..), next.note.get(..96), "a note holds most of the note before");
    }

    #[test]
    fn a_thousand_rows_share_a_commit() {
        assert_eq!([1, 1000, 1001].map(commit_of), [1, 1, 2]);
    }
}
