//! Small files of state: one line with the kind and the SHA-256 of the rest, then JSON. A file that was damaged on the
//! disk is found out when it is read, not when its content is believed.

use bridge_suite::sha256;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of such a file: a thousand streams are about 300 KB.
pub(crate) const STORED_BYTES_MAX: u64 = 64 << 20;

/// Writes a file's content.
pub(crate) fn write<T: Serialize>(kind: &str, state: &T) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec_pretty(state)?;
    let mut content = format!("{kind} {}\n", sha256(&[&json])).into_bytes();
    content.extend_from_slice(&json);
    Ok(content)
}

/// Reads a file's content; the reason in words when it is damaged or of another kind.
pub(crate) fn read<T: DeserializeOwned>(kind: &str, content: &[u8]) -> Result<T, String> {
    let border = content.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (line, json) = content.split_at_checked(border + 1).ok_or("it has no first line")?;
    if line != format!("{kind} {}\n", sha256(&[json])).as_bytes() {
        return Err(format!("its first line is not that of {kind} with the digest of the rest"));
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_believed() {
        let content = write("kind-v1", &vec![1u64, u64::MAX]).unwrap();
        assert_eq!(read::<Vec<u64>>("kind-v1", &content).unwrap(), [1, u64::MAX]);
        assert!(read::<Vec<u64>>("kind-v2", &content).is_err());
        for bit in 0..content.len() * 8 {
            let mut bad = content.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read::<Vec<u64>>("kind-v1", &bad).is_err(), "bit {bit}");
        }
    }
}
