//! Damages valid input: bits, missing pieces, doubled pieces, foreign bytes.

use proptest::prelude::*;
use proptest::sample::Index;

/// A copy of the bytes with one to three damages.
pub(crate) fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let damage = (0..5u8, any::<Index>(), any::<Index>(), any::<u8>());
    prop::collection::vec(damage, 1..=3).prop_map(move |damages| {
        let mut bytes = bytes.clone();
        for (kind, at, to, byte) in damages {
            if bytes.is_empty() {
                break;
            }
            let (at, to) = (at.index(bytes.len()), to.index(bytes.len()));
            let (at, to) = (at.min(to), at.max(to));
            match kind {
                0 => bytes[at] ^= 1 << (byte % 8),
                1 => bytes[at] = byte,
                2 => drop(bytes.drain(at..to)),
                3 => {
                    let piece = bytes[at..to].to_vec();
                    bytes.splice(to..to, piece);
                }
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// Content of a vector file that tools not of this project made.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/c2sp").join(name);
    std::fs::read(path).unwrap()
}
