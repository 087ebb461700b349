//! Cosignatures of witnesses, `cosignature/v1` (C2SP tlog-cosignature, type 0x04).
//!
//! | bytes | payload of the signature line             |
//! |-------|-------------------------------------------|
//! | 8     | time in seconds since 1970, big-endian    |
//! | 64    | Ed25519 signature over the message        |
//!
//! ```text
//! message = "cosignature/v1\n" "time " <decimal> "\n" <text of the checkpoint>
//! ```

use bridge_suite::SIGNATURE_BYTES;

/// Latest time of a cosignature, in seconds since 1970 (tlog-cosignature, "Format").
pub const COSIGNATURE_TIME_MAX: u64 = i64::MAX.cast_unsigned();

const PAYLOAD_BYTES: usize = 8 + SIGNATURE_BYTES;

/// Bytes that are not a cosignature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The payload has a wrong length.
    #[error("a cosignature has {PAYLOAD_BYTES} bytes, not {0}: refuse it")]
    Length(usize),
    /// The time is 0 or above 2^63 - 1.
    #[error(
        "{0} is not the time of a cosignature: use seconds since 1970, from 1 to 2^63 - 1; check the clock"
    )]
    Time(u64),
}

/// A time and the signature over it and a checkpoint.
///
/// Invariant: the time is from 1 to [`COSIGNATURE_TIME_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cosignature {
    pub(crate) time: u64,
    pub(crate) signature: [u8; SIGNATURE_BYTES],
}

impl Cosignature {
    /// Cosigns the text at a time.
    pub(crate) fn make(
        time: u64,
        text: &str,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
    ) -> Result<Self, CosignatureError> {
        check_time(time)?;
        Ok(Self { time, signature: sign(&cosignature_message(time, text)) })
    }

    pub(crate) fn parse(payload: &[u8]) -> Result<Self, CosignatureError> {
        let length = CosignatureError::Length(payload.len());
        let (time, signature) = payload.split_first_chunk::<8>().ok_or(length)?;
        let time = u64::from_be_bytes(*time);
        let signature = signature.try_into().map_err(|_| length)?;
        check_time(time)?;
        Ok(Self { time, signature })
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut payload = self.time.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.signature);
        payload
    }

    pub(crate) fn message(&self, text: &str) -> Vec<u8> {
        cosignature_message(self.time, text)
    }
}

/// What a witness signs: the time and the whole text of the checkpoint, its extension lines included (tlog-cosignature,
/// "Ed25519 signed message").
pub fn cosignature_message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

fn check_time(time: u64) -> Result<(), CosignatureError> {
    if time == 0 || time > COSIGNATURE_TIME_MAX { Err(CosignatureError::Time(time)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_that_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let wanted = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
                      CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(cosignature_message(1_679_315_147, text), wanted.as_bytes());
    }

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        let made = Cosignature::make(5, "a\n", |_| [9; 64]).unwrap();
        let payload = made.payload();
        assert_eq!(payload.len(), 72);
        assert_eq!(Cosignature::parse(&payload), Ok(made));
        for length in [0, 7, 8, 71, 73] {
            assert_eq!(Cosignature::parse(&vec![1; length]), Err(CosignatureError::Length(length)));
        }
    }

    #[test]
    fn a_time_of_zero_or_beyond_63_bits_is_refused() {
        for time in [0, COSIGNATURE_TIME_MAX + 1, u64::MAX] {
            assert_eq!(Cosignature::make(time, "a\n", |_| [9; 64]), Err(CosignatureError::Time(time)));
            let mut payload = time.to_be_bytes().to_vec();
            payload.extend_from_slice(&[9; 64]);
            assert_eq!(Cosignature::parse(&payload), Err(CosignatureError::Time(time)));
        }
        assert!(Cosignature::make(COSIGNATURE_TIME_MAX, "a\n", |_| [9; 64]).is_ok());
    }
}
