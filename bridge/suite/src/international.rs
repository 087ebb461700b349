//! The international suite: SHA-256 (FIPS 180-4), HKDF (RFC 5869), AES-256-GCM (NIST SP 800-38D), AES-256 in counter
//! mode (NIST SP 800-38A).
//!
//! The crates choose SHA and AES instructions at run time where the processor has them.

use std::fmt;

use aes::Aes256;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use ctr::cipher::array::Array;
use ctr::cipher::{InnerIvInit, StreamCipherCore, StreamCipherSeekCore};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

use crate::{Digest, EncryptError, OpenError, PLAINTEXT_BYTES_MAX, Secret, TAG_BYTES};

/// The nonce of every section: its key encrypts one message only.
pub(crate) const NONCE_ZERO: [u8; 12] = [0; 12];

/// A hash that is fed piece by piece; cheap enough to make for every row.
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new() -> Self {
        Hasher(Sha256::new())
    }

    /// Adds bytes.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    #[inline]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher(..)")
    }
}

/// HKDF-Extract with an empty salt, then HKDF-Expand with the infos one after another.
pub(crate) fn derive(secret: &Secret, info: &[&[u8]]) -> Secret {
    derive_from(secret.expose(), info)
}

fn derive_from(secret: &[u8], info: &[&[u8]]) -> Secret {
    let (mut prk, hkdf) = Hkdf::<Sha256>::extract(None, secret);
    prk.as_mut_slice().zeroize();
    expand_from(&hkdf, info)
}

/// HKDF-Expand alone.
pub(crate) fn expand(prk: &Secret, info: &[u8]) -> Secret {
    match Hkdf::<Sha256>::from_prk(prk.expose()) {
        Ok(hkdf) => expand_from(&hkdf, &[info]),
        Err(_) => unreachable!("HKDF-SHA256 takes keys from 32 bytes on, and a secret has 32"),
    }
}

fn expand_from(hkdf: &Hkdf<Sha256>, info: &[&[u8]]) -> Secret {
    let mut bytes = [0; 32];
    let expanded = hkdf.expand_multi_info(info, &mut bytes);
    let secret = Secret::new(bytes);
    bytes.zeroize();
    match expanded {
        Ok(()) => secret,
        Err(_) => unreachable!("HKDF-SHA256 gives up to 8160 bytes, and 32 are asked for"),
    }
}

/// AES-256-GCM in place, the tag appended.
pub(crate) fn encrypt(
    key: &Secret,
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), EncryptError> {
    let bytes = buffer.len() as u64;
    if bytes > PLAINTEXT_BYTES_MAX {
        return Err(EncryptError::TooLong { bytes });
    }
    let cipher = Aes256Gcm::new(key.expose().into());
    let tag = cipher
        .encrypt_inout_detached(<&Nonce<_>>::from(nonce), associated, InOutBuf::from(buffer.as_mut_slice()))
        .map_err(|_| EncryptError::TooLong { bytes })?;
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// The reverse of [`encrypt`]; on failure the buffer is wiped and empty.
pub(crate) fn decrypt(
    key: &Secret,
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let opened = decrypt_in_place(key, nonce, associated, buffer);
    match opened {
        Ok(plaintext_bytes) => buffer.truncate(plaintext_bytes),
        Err(_) => buffer.zeroize(),
    }
    opened.map(|_| ())
}

fn decrypt_in_place(
    key: &Secret,
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut [u8],
) -> Result<usize, OpenError> {
    let bytes = buffer.len();
    let (text, tag) = buffer.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError::TooShort { bytes })?;
    let plaintext_bytes = text.len();
    let cipher = Aes256Gcm::new(key.expose().into());
    cipher
        .decrypt_inout_detached(
            <&Nonce<_>>::from(nonce),
            associated,
            InOutBuf::from(text),
            <&Tag>::from(&*tag),
        )
        .map_err(|_| OpenError::NotAuthentic)?;
    Ok(plaintext_bytes)
}

/// The salts of a section: an AES-256 key stream, cut into chunks of 32 bytes.
///
/// The counter block is a big-endian number of 128 bits that begins at 0, so chunk k is the encryption of the blocks
/// 2k and 2k + 1. Any salt can be made again from its number, without those before it.
pub struct Salts(ctr::CtrCore<Aes256, ctr::flavors::Ctr128BE>);

impl Salts {
    pub(crate) fn new(secret: &Secret) -> Self {
        let cipher = Aes256::new(secret.expose().into());
        Salts(ctr::CtrCore::inner_iv_init(cipher, &Array::default()))
    }

    /// Fills `out` with the stream from the beginning of chunk `first_chunk` on: `out` holds
    /// `out.len() / 32` whole chunks. It does not allocate.
    pub fn fill(&mut self, first_chunk: u64, out: &mut [u8]) {
        // 2 * (2^64 - 1) blocks and the blocks of any slice stay far below 2^128.
        self.0.set_block_pos(u128::from(first_chunk) * 2);
        let (blocks, rest) = Array::slice_as_chunks_mut(out);
        self.0.write_keystream_blocks(blocks);
        if !rest.is_empty() {
            let mut block = Array::default();
            self.0.write_keystream_block(&mut block);
            for (to, from) in rest.iter_mut().zip(block.iter()) {
                *to = *from;
            }
            block.as_mut_slice().zeroize();
        }
    }
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salts(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, wycheproof};

    #[test]
    fn wycheproof_aes_256_gcm_vectors_hold() {
        let file = wycheproof(include_str!("../../../tests/vectors/wycheproof/aes_gcm_test.json"));
        let (mut valid, mut invalid) = (0, 0);
        // Other sizes cannot be asked for: key, nonce and tag have one length here, by their types.
        let groups =
            file.test_groups.iter().filter(|g| (g.key_size, g.iv_size, g.tag_size) == (256, 96, 128));
        for vector in groups.flat_map(|group| &group.tests) {
            let (key, nonce) = (Secret::new(vector.key.array()), vector.iv.array());
            let mut sealed = vector.msg.0.clone();
            encrypt(&key, &nonce, &vector.aad.0, &mut sealed).unwrap();
            let mut given = [vector.ct.0.as_slice(), &vector.tag.0].concat();
            let opened = decrypt(&key, &nonce, &vector.aad.0, &mut given);
            match vector.result.as_str() {
                "valid" => {
                    assert_eq!(opened, Ok(()), "vector {}", vector.tc_id);
                    assert_eq!(given, vector.msg.0, "vector {}", vector.tc_id);
                    assert_eq!(
                        sealed,
                        [vector.ct.0.as_slice(), &vector.tag.0].concat(),
                        "vector {}",
                        vector.tc_id
                    );
                    valid += 1;
                }
                "invalid" => {
                    assert_eq!(opened, Err(OpenError::NotAuthentic), "vector {}", vector.tc_id);
                    assert!(given.is_empty(), "vector {}", vector.tc_id);
                    invalid += 1;
                }
                other => panic!("vector {}: result {other}", vector.tc_id),
            }
        }
        assert_eq!((valid, invalid), (39, 27));
    }

    #[test]
    fn hkdf_holds_rfc_5869_test_cases_1_and_3() {
        // Case 1 has a salt, which this crate never uses: its expand step.
        let prk = Secret::new(bytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
        let okm = bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        assert!(expand(&prk, &bytes::<10>("f0f1f2f3f4f5f6f7f8f9")).matches(&okm));
        // Case 3 has no salt and no info: both steps.
        let prk = Secret::new(bytes("19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04"));
        let okm = bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
        assert!(expand(&prk, b"").matches(&okm));
        assert!(derive_from(&[0x0b; 22], &[]).matches(&okm));
        assert!(derive_from(&[0x0b; 22], &[b"", b""]).matches(&okm));
    }

    #[test]
    fn salts_are_the_key_stream_from_counter_zero() {
        // E(0), E(1), E(2) of the all-zero key stand in McGrew and Viega's GCM test cases 13 and 14.
        let mut salts = Salts::new(&Secret::new([0; 32]));
        let mut out = [0; 48];
        salts.fill(0, &mut out);
        assert_eq!(out[..16], bytes::<16>("dc95c078a2408989ad48a21492842087"));
        assert_eq!(out[16..32], bytes::<16>("530f8afbc74536b9a963b4f1c4cb738b"));
        assert_eq!(out[32..], bytes::<16>("cea7403d4d606b6e074ec5d3baf39d18"));
    }

    #[test]
    fn a_salt_is_the_same_whichever_came_before() {
        let secret = Secret::new([7; 32]);
        let mut whole = vec![0xaa; 32 * 200];
        Salts::new(&secret).fill(0, &mut whole);
        let mut salts = Salts::new(&secret);
        for (chunk, length) in
            [(150, 32), (0, 32), (3, 32 * 17), (199, 32), (5, 7), (10, 100), (2, 0), (1, 33)]
        {
            let mut out = vec![0x55; length];
            salts.fill(chunk, &mut out);
            let from = 32 * usize::try_from(chunk).unwrap();
            assert_eq!(out, whole[from..from + length], "chunk {chunk}, {length} bytes");
        }
        // No chunk number overflows.
        let (mut last, mut again) = ([0; 64], [1; 64]);
        salts.fill(u64::MAX, &mut last);
        salts.fill(u64::MAX, &mut again);
        assert_eq!(last, again);
        assert_ne!(last[..32], whole[..32]);
    }
}
