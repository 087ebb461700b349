//! Intervals: from the server's binary form to its own ISO 8601 text.

use bridge_pgwire::Reader;
use std::io::Write;

/// Appends an interval's text form as the server writes it under `IntervalStyle = iso_8601`.
pub(crate) fn write(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let (micros, days, months) = (reader.i64()?, reader.i32()?, reader.i32()?);
    if !reader.is_empty() {
        return None;
    }
    // From 17 on; before, nobody has intervals of 178 million years.
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return out.write_all(b"infinity").ok(),
        (i64::MIN, i32::MIN, i32::MIN) => return out.write_all(b"-infinity").ok(),
        (0, 0, 0) => return out.write_all(b"PT0S").ok(),
        _ => out.push(b'P'),
    }
    let mut part = |number: i64, unit: char| match number {
        0 => Ok(()),
        _ => write!(out, "{number}{unit}"),
    };
    part(i64::from(months / 12), 'Y').ok()?;
    part(i64::from(months % 12), 'M').ok()?;
    part(i64::from(days), 'D').ok()?;
    if micros == 0 {
        return Some(());
    }
    out.push(b'T');
    let mut part = |number: i64, unit: char| match number {
        0 => Ok(()),
        _ => write!(out, "{number}{unit}"),
    };
    part(micros / 3_600_000_000, 'H').ok()?;
    part(micros / 60_000_000 % 60, 'M').ok()?;
    let rest = micros % 60_000_000;
    if rest != 0 {
        let (sign, rest) = (if rest < 0 { "-" } else { "" }, rest.unsigned_abs());
        write!(out, "{sign}{}", rest / 1_000_000).ok()?;
        if rest % 1_000_000 != 0 {
            let digits = format!(".{:06}", rest % 1_000_000);
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
        out.push(b'S');
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(micros: i64, days: i32, months: i32) -> String {
        let bytes = [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat();
        let mut out = Vec::new();
        write(&bytes, &mut out).unwrap();
        assert!(write(&bytes[1..], &mut Vec::new()).is_none());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_interval_has_the_servers_own_text() {
        assert_eq!(text(0, 0, 0), "PT0S");
        assert_eq!(text(14_706_789_000, -3, 14), "P1Y2M-3DT4H5M6.789S");
        assert_eq!(text(-1, 0, -14), "P-1Y-2MT-0.000001S");
        assert_eq!(text(-5_400_000_000, 0, 0), "PT-1H-30M");
        assert_eq!(text(0, 5, 0), "P5D");
        assert_eq!(text(i64::MIN, 0, 0), "PT-2562047788H-54.775808S");
        assert_eq!(text(i64::MAX, i32::MAX, i32::MAX), "infinity");
    }
}
