//! Pieces of lines that several formats share: decimals, Base64 and hashes, each in its one spelling.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_suite::Digest;

/// A decimal without sign and without leading zeros, as all formats here want it.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    // Comparing with what would be written refuses "+1", "01" and every other second spelling.
    (u64::to_string(&number) == text).then_some(number)
}

/// Standard Base64 with padding (RFC 4648 section 4); stray bits and missing padding are refused.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Writes standard Base64 with padding.
pub(crate) fn base64_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A hash of 32 bytes in Base64.
pub(crate) fn hash(text: &str) -> Option<Digest> {
    // 32 bytes are 44 characters; the length is checked first, so that nothing long is decoded.
    if text.len() != 44 {
        return None;
    }
    base64(text)?.as_slice().try_into().ok().map(Digest)
}

/// Writes a hash in Base64.
pub(crate) fn hash_text(hash: &Digest) -> String {
    base64_text(hash.as_bytes())
}

/// The beginning of a foreign text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "18446744073709551616", "١"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(hash(text), Some(crate::EMPTY_ROOT));
        assert_eq!(hash_text(&crate::EMPTY_ROOT), text);
        for bad in [
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", // a stray bit
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",  // no padding
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", // another alphabet
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
            "AAAA",
            "",
        ] {
            assert_eq!(hash(bad), None, "{bad:?}");
        }
    }
}
