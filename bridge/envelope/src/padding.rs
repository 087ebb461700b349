//! How a section's plaintext hides its length.
//!
//! ```text
//! n          u32be
//! content    n bytes, raw or one zstd frame
//! padding    zeros, up to max(1024, padme(4 + n))
//! ```
//!
//! Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019, section 4) costs at most 12 %.

/// The least length of a section's plaintext, in bytes.
pub const PLAINTEXT_BYTES_MIN: usize = 1024;

/// The length that a text of `bytes` bytes is padded to: with `e = floor(log2 bytes)` and `s = floor(log2 e) + 1`, the
/// next multiple of `2^(e - s)`.
pub(crate) fn padme(bytes: usize) -> usize {
    let Some(e) = bytes.checked_ilog2() else { return bytes };
    let Some(s) = e.checked_ilog2().map(|log| log + 1) else { return bytes };
    let mask = (1_usize << e.saturating_sub(s)) - 1;
    bytes.saturating_add(mask) & !mask
}

/// The length of the plaintext of `content_bytes` bytes of content.
pub(crate) fn padded(content_bytes: usize) -> usize {
    padme(content_bytes.saturating_add(4)).max(PLAINTEXT_BYTES_MIN)
}

/// What is wrong with a plaintext's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaddingFault {
    /// The length does not fit.
    Length,
    /// A byte of the padding is not zero.
    NotZero,
}

/// The content of a padded plaintext.
pub(crate) fn content(plaintext: &[u8]) -> Result<&[u8], PaddingFault> {
    let (length, rest) = plaintext.split_first_chunk::<4>().ok_or(PaddingFault::Length)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| PaddingFault::Length)?;
    if length > rest.len() || plaintext.len() != padded(length) {
        return Err(PaddingFault::Length);
    }
    let (content, padding) = rest.split_at_checked(length).ok_or(PaddingFault::Length)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(PaddingFault::NotZero);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_follows_the_papers_formula() {
        // e = 10, s = 4: multiples of 64; e = 16, s = 5: multiples of 2048.
        for (bytes, padded) in [(9, 10), (1023, 1024), (1025, 1088), (65_537, 67_584), (1 << 20, 1 << 20)] {
            assert_eq!(padme(bytes), padded, "{bytes}");
        }
        for bytes in 1..100_000 {
            let padded = padme(bytes);
            assert!(padded >= bytes && padded * 100 <= bytes * 112, "{bytes} -> {padded}");
            assert_eq!(padme(padded), padded);
        }
    }

    #[test]
    fn content_comes_back_and_no_other_length_is_taken() {
        for bytes in [0, 1, 1020, 1021, 5000] {
            let mut plaintext = u32::try_from(bytes).unwrap().to_be_bytes().to_vec();
            plaintext.resize(4 + bytes, 7);
            plaintext.resize(padded(bytes), 0);
            assert_eq!(content(&plaintext).unwrap(), vec![7; bytes]);
            plaintext.push(0);
            assert_eq!(content(&plaintext), Err(PaddingFault::Length));
        }
        let mut plaintext = vec![0; 1024];
        plaintext[900] = 1;
        assert_eq!(content(&plaintext), Err(PaddingFault::NotZero));
        assert_eq!(content(&[0xff; 1024]), Err(PaddingFault::Length));
        assert_eq!(content(&[0; 3]), Err(PaddingFault::Length));
    }
}
