//! Avro's binary forms, written and strictly read: each value has one encoding.

/// Where and why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The byte where the value begins.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) what: &'static str,
}

/// Appends a `long` (zigzag, base 128, least significant first).
#[inline]
pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// Appends a `u64` as the `long` of the same 64 bits.
#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    put_long(out, value.cast_signed());
}

/// Appends `bytes` or a `string`: the length, then the bytes.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // A slice is never longer than `isize::MAX`.
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes from outside, read from front to back.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// The place of the next byte.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Malformed { at: self.at, what: "the bytes end inside a value" })?;
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| Malformed { at, what: "the bytes end inside a value" })
    }

    /// A `long` in its shortest form, at most 10 bytes. Most have one: a branch, a short length, a small number.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, Malformed> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.longer(),
        }
    }

    /// [`Cursor::long`] of any length.
    fn longer(&mut self) -> Result<i64, Malformed> {
        let start = self.at;
        let mut zigzag: u64 = 0;
        let mut shift: u32 = 0;
        loop {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(Malformed { at: start, what: "the bytes end inside a number" });
            };
            self.at += 1;
            let group = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(Malformed { at: start, what: "a number has more than 64 bits" });
            }
            zigzag |= group << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(Malformed { at: start, what: "a number is not in its shortest form" });
                }
                return Ok((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()));
            }
            shift += 7;
        }
    }

    /// A `long` that carries the 64 bits of a `u64`.
    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.long().map(i64::cast_unsigned)
    }

    /// An `int`.
    #[inline]
    pub(crate) fn int(&mut self) -> Result<i32, Malformed> {
        let at = self.at;
        i32::try_from(self.long()?).map_err(|_| Malformed { at, what: "an int has more than 32 bits" })
    }

    /// `bytes`: a length that the content can hold, then the bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let at = self.at;
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| Malformed { at, what: "a length is negative" })?;
        self.take(length).map_err(|_| Malformed { at, what: "a length leads past the end" })
    }

    /// A `string`.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let at = self.at;
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed { at, what: "text is not UTF-8" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_of(bytes: &[u8]) -> Result<i64, &'static str> {
        let mut cursor = Cursor::new(bytes);
        let read = cursor.long().map_err(|e| e.what);
        read.and_then(|n| if cursor.left() == 0 { Ok(n) } else { Err("left over") })
    }

    #[test]
    fn longs_are_read_as_they_were_written() {
        for value in [0, -1, 1, 63, 64, -64, -65, i64::from(i32::MAX), i64::MIN, i64::MAX, i64::MAX - 1] {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!(long_of(&out), Ok(value));
        }
        let mut out = Vec::new();
        put_u64(&mut out, u64::MAX);
        assert_eq!(out, [1]);
    }

    #[test]
    fn a_number_has_one_encoding() {
        assert_eq!(long_of(&[0x80, 0x00]), Err("a number is not in its shortest form"));
        assert_eq!(long_of(&[0xff; 9]), Err("the bytes end inside a number"));
        assert_eq!(long_of(&[0xff; 11]), Err("a number has more than 64 bits"));
        assert_eq!(
            long_of(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
            Err("a number has more than 64 bits")
        );
    }

    #[test]
    fn a_length_is_bounded_by_the_content() {
        let mut out = Vec::new();
        put_long(&mut out, i64::MAX);
        assert!(Cursor::new(&out).bytes().is_err());
        assert_eq!(Cursor::new(&[1]).bytes().unwrap_err().what, "a length is negative");
        assert_eq!(Cursor::new(&[2, 0xff]).text().unwrap_err().what, "text is not UTF-8");
    }
}
