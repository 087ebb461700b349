//! Avro binary, read and written strictly.
//!
//! Avro leaves a writer some freedom; a signed format leaves none, so that one value has one encoding. The reader
//! takes only: a varint of at most 10 bytes and no longer than it must be; a boolean of 0 or 1; an array as one block of a positive
//! count and the closing zero; text in UTF-8. Every length is compared with a limit and with the bytes at hand
//! before anything is kept, and [`Reader::finish`] refuses what is left over.

use bridge_event::{At, IncarnationNumber, NameError, UnixMicros};
use bridge_suite::Digest;
use std::str::FromStr;

use crate::ParseError;

/// Longest free text (a reason, an engine's name of itself), in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// A varint of 64 bits has at most 10 bytes of 7 bits.
const VARINT_BYTES_MAX: usize = 10;

/// Reads one Avro record's fields in order.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// How far the reader came, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The end: nothing may be left.
    pub(crate) fn finish(&self) -> Result<(), ParseError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            bytes => Err(ParseError::Trailing { bytes }),
        }
    }

    pub(crate) fn malformed(&self, field: &'static str, why: &'static str) -> ParseError {
        ParseError::Malformed { field, at: self.at, why }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], ParseError> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(ParseError::Truncated { field, at: self.at })?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ParseError> {
        let at = self.at;
        self.take(field, N)?.try_into().map_err(|_| ParseError::Truncated { field, at })
    }

    pub(crate) fn u32be(&mut self, field: &'static str) -> Result<u32, ParseError> {
        self.fixed(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u16be(&mut self, field: &'static str) -> Result<u16, ParseError> {
        self.fixed(field).map(u16::from_be_bytes)
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, ParseError> {
        self.fixed(field).map(|[byte]| byte)
    }

    pub(crate) fn long(&mut self, field: &'static str) -> Result<i64, ParseError> {
        let mut value: u64 = 0;
        for i in 0..VARINT_BYTES_MAX {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if i == VARINT_BYTES_MAX - 1 && byte > 1 {
                return Err(self.malformed(field, "the number has more than 64 bits"));
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                if byte == 0 && i > 0 {
                    return Err(self.malformed(field, "the number is longer than it must be"));
                }
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(self.malformed(field, "the number has more than 64 bits"))
    }

    /// A `long` whose 64 bits are an unsigned number.
    pub(crate) fn unsigned(&mut self, field: &'static str) -> Result<u64, ParseError> {
        self.long(field).map(i64::cast_unsigned)
    }

    /// A `long` or `int` that holds 32 unsigned bits.
    pub(crate) fn small(&mut self, field: &'static str) -> Result<u32, ParseError> {
        let value = self.long(field)?;
        u32::try_from(value).map_err(|_| self.malformed(field, "the number does not fit 32 bits"))
    }

    /// An `int` that holds 16 unsigned bits.
    pub(crate) fn short(&mut self, field: &'static str) -> Result<u16, ParseError> {
        let value = self.long(field)?;
        u16::try_from(value).map_err(|_| self.malformed(field, "the number does not fit 16 bits"))
    }

    pub(crate) fn micros(&mut self, field: &'static str) -> Result<UnixMicros, ParseError> {
        self.long(field).map(UnixMicros)
    }

    pub(crate) fn incarnation(&mut self, field: &'static str) -> Result<IncarnationNumber, ParseError> {
        self.small(field).map(IncarnationNumber)
    }

    /// The number of an enum's symbol or of a union's branch, below `count`.
    pub(crate) fn choice(&mut self, field: &'static str, count: u8) -> Result<u8, ParseError> {
        let value = self.long(field)?;
        let found = u8::try_from(value).ok().filter(|n| *n < count);
        found.ok_or_else(|| self.malformed(field, "there is no such symbol or branch"))
    }

    pub(crate) fn boolean(&mut self, field: &'static str) -> Result<bool, ParseError> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed(field, "a boolean is 0 or 1")),
        }
    }

    pub(crate) fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], ParseError> {
        let count = self.long(field)?;
        let count = usize::try_from(count).map_err(|_| self.malformed(field, "the length is negative"))?;
        if count > limit {
            return Err(ParseError::limit(field, count, limit));
        }
        self.take(field, count)
    }

    pub(crate) fn text(&mut self, field: &'static str, limit: usize) -> Result<&'a str, ParseError> {
        let bytes = self.bytes(field, limit)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed(field, "the text is not UTF-8"))
    }

    pub(crate) fn name<T: FromStr<Err = NameError>>(&mut self, field: &'static str) -> Result<T, ParseError> {
        let text = self.text(field, TEXT_BYTES_MAX)?;
        text.parse().map_err(|source| ParseError::Name { field, source })
    }

    pub(crate) fn digest(&mut self, field: &'static str) -> Result<Digest, ParseError> {
        self.fixed(field).map(Digest)
    }

    pub(crate) fn at_place(&mut self, field: &'static str) -> Result<At, ParseError> {
        Ok(At { commit: self.unsigned(field)?, ordinal: self.unsigned(field)? })
    }

    /// A union of null and one other branch.
    pub(crate) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        match self.choice(field, 2)? {
            0 => Ok(None),
            _ => read(self).map(Some),
        }
    }

    /// An array of at most `limit` items. Nothing is reserved for the announced count: an item is kept when it was
    /// read, and each one takes at least a byte.
    pub(crate) fn array<T>(
        &mut self,
        field: &'static str,
        limit: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut items = Vec::new();
        let count = self.long(field)?;
        if count == 0 {
            return Ok(items);
        }
        let count = usize::try_from(count)
            .map_err(|_| self.malformed(field, "an array is one block of a positive count"))?;
        if count > limit {
            return Err(ParseError::limit(field, count, limit));
        }
        for _ in 0..count {
            items.push(read(self)?);
        }
        if self.long(field)? != 0 {
            return Err(self.malformed(field, "an array is one block and a closing zero"));
        }
        Ok(items)
    }
}

/// Writes one Avro record's fields in order.
#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Writer::default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                self.out.push(low & 0x7f);
                return;
            }
            self.out.push(low | 0x80);
        }
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        self.long(value.cast_signed());
    }

    pub(crate) fn small(&mut self, value: u32) {
        self.long(i64::from(value));
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    pub(crate) fn length(&mut self, length: usize) {
        // A length in memory is below 2^63 on every machine.
        self.long(i64::try_from(length).unwrap_or(i64::MAX));
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.raw(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn digest(&mut self, value: &Digest) {
        self.raw(value.as_bytes());
    }

    pub(crate) fn at_place(&mut self, at: At) {
        self.unsigned(at.commit);
        self.unsigned(at.ordinal);
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.long(0),
            Some(value) => {
                self.long(1);
                write(self, value);
            }
        }
    }

    pub(crate) fn array<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        if !items.is_empty() {
            self.length(items.len());
            for item in items {
                write(self, item);
            }
        }
        self.long(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::new();
        write(&mut w);
        w.into_bytes()
    }

    proptest! {
        #[test]
        fn a_number_comes_back(value: i64) {
            let bytes = written(|w| w.long(value));
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.long("n").unwrap(), value);
            prop_assert!(r.finish().is_ok());
        }

        #[test]
        fn a_number_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut r = Reader::new(&bytes);
            if let Ok(value) = r.long("n") {
                let again = written(|w| w.long(value));
                prop_assert_eq!(&bytes[..r.at()], &again[..]);
            }
        }
    }

    #[test]
    fn a_number_is_no_longer_than_it_must_be() {
        assert!(Reader::new(&[0x80, 0x00]).long("n").is_err());
        assert!(Reader::new(&[0xff; 10]).long("n").is_err());
        let most = written(|w| w.unsigned(u64::MAX));
        assert_eq!(most, [1]);
        assert_eq!(Reader::new(&most).unsigned("n").unwrap(), u64::MAX);
        let least = written(|w| w.long(i64::MIN));
        assert_eq!((least.len(), Reader::new(&least).long("n").unwrap()), (10, i64::MIN));
    }

    #[test]
    fn a_length_is_bounded_before_it_is_believed() {
        let huge = written(|w| w.length(usize::MAX >> 1));
        assert!(matches!(Reader::new(&huge).bytes("b", 10), Err(ParseError::Limit { .. })));
        assert!(Reader::new(&huge).array("a", 10, |r| r.byte("i")).is_err());
        let negative = written(|w| w.long(-1));
        assert!(Reader::new(&negative).bytes("b", 10).is_err());
        assert!(Reader::new(&negative).array("a", 10, |r| r.byte("i")).is_err());
    }

    #[test]
    fn an_array_is_one_block() {
        let two_blocks = [2, 7, 2, 8, 0];
        assert!(Reader::new(&two_blocks).array("a", 10, |r| r.byte("i")).is_err());
        assert_eq!(Reader::new(&[4, 7, 8, 0]).array("a", 10, |r| r.byte("i")).unwrap(), [7, 8]);
    }

    #[test]
    fn a_boolean_and_a_branch_have_no_other_values() {
        assert!(Reader::new(&[2]).boolean("b").is_err());
        assert!(Reader::new(&[4]).choice("c", 2).is_err());
        assert!(Reader::new(&[1]).choice("c", 2).is_err());
        assert!(Reader::new(&[2, 0xff]).text("t", 9).is_err());
    }
}
