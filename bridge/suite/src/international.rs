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
    let (mut prk, hkdf) = Hkdf::<Sha256>::extract(None, secret.expose());
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
