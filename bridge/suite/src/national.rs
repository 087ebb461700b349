//! The national algorithms: SM3 (GB/T 32905), HMAC-SM3 (RFC 2104 over SM3), SM4-GCM (GB/T 32907 in the mode of
//! NIST SP 800-38D, as RFC 8998 uses it).
//!
//! [`crate::Suite`] does not offer them yet: the suite waits for SM2. They stand here with their vectors, so that the
//! suite begins on checked ground.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, AesGcm, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use sm3::{Digest as _, Sm3};
use sm4::Sm4;
use zeroize::Zeroize;

use crate::{Digest, EncryptError, OpenError, PLAINTEXT_BYTES_MAX, TAG_BYTES};

// GCM is defined for any block cipher of 128 bits, and RFC 8998 defines it for SM4. The AES crate's warning against
// other ciphers is about ciphers whose fitness nobody has stated.
type Sm4Gcm = AesGcm<Sm4, U12>;

/// SM3 of the parts one after another, without separators.
pub fn sm3(parts: &[&[u8]]) -> Digest {
    let mut hash = Sm3::new();
    for part in parts {
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

/// HMAC-SM3 of the parts one after another, 32 bytes.
pub fn hmac_sm3(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = match Hmac::<Sm3>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// SM4-GCM in place with a 16-byte key and a 12-byte nonce, the 16-byte tag appended.
///
/// # Errors
/// [`EncryptError::TooLong`] above [`PLAINTEXT_BYTES_MAX`].
pub fn sm4_gcm_encrypt(
    key: &[u8; 16],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), EncryptError> {
    let bytes = buffer.len() as u64;
    if bytes > PLAINTEXT_BYTES_MAX {
        return Err(EncryptError::TooLong { bytes });
    }
    let tag = Sm4Gcm::new(key.into())
        .encrypt_inout_detached(<&Nonce<_>>::from(nonce), associated, InOutBuf::from(buffer.as_mut_slice()))
        .map_err(|_| EncryptError::TooLong { bytes })?;
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// The reverse of [`sm4_gcm_encrypt`].
///
/// # Errors
/// [`OpenError::TooShort`] and [`OpenError::NotAuthentic`]; the buffer is then wiped and empty.
pub fn sm4_gcm_decrypt(
    key: &[u8; 16],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let opened = sm4_gcm_decrypt_in_place(key, nonce, associated, buffer);
    match opened {
        Ok(plaintext_bytes) => buffer.truncate(plaintext_bytes),
        Err(_) => buffer.zeroize(),
    }
    opened.map(|_| ())
}

fn sm4_gcm_decrypt_in_place(
    key: &[u8; 16],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut [u8],
) -> Result<usize, OpenError> {
    let bytes = buffer.len();
    let (text, tag) = buffer.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError::TooShort { bytes })?;
    let plaintext_bytes = text.len();
    Sm4Gcm::new(key.into())
        .decrypt_inout_detached(
            <&Nonce<_>>::from(nonce),
            associated,
            InOutBuf::from(text),
            <&Tag>::from(&*tag),
        )
        .map_err(|_| OpenError::NotAuthentic)?;
    Ok(plaintext_bytes)
}
