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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, wycheproof};

    #[test]
    fn sm3_holds_the_standards_examples() {
        // GB/T 32905-2016, A.1 and A.2.
        let abc = Digest(bytes("66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"));
        assert_eq!(sm3(&[b"abc"]), abc);
        assert_eq!(sm3(&[b"a", b"bc"]), abc);
        let abcd = Digest(bytes("debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"));
        assert_eq!(sm3(&[&b"abcd".repeat(16)]), abcd);
    }

    #[test]
    fn wycheproof_sm4_gcm_vectors_hold() {
        let file = wycheproof(include_str!("../../../tests/vectors/wycheproof/sm4_gcm_test.json"));
        let (mut valid, mut invalid) = (0, 0);
        let groups =
            file.test_groups.iter().filter(|g| (g.key_size, g.iv_size, g.tag_size) == (128, 96, 128));
        for vector in groups.flat_map(|group| &group.tests) {
            let (key, nonce) = (vector.key.array(), vector.iv.array());
            let mut sealed = vector.msg.0.clone();
            sm4_gcm_encrypt(&key, &nonce, &vector.aad.0, &mut sealed).unwrap();
            let mut given = [vector.ct.0.as_slice(), &vector.tag.0].concat();
            let opened = sm4_gcm_decrypt(&key, &nonce, &vector.aad.0, &mut given);
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
        assert_eq!((valid, invalid), (38, 27));
    }

    #[test]
    fn an_sm4_ciphertext_shorter_than_a_tag_is_refused() {
        let mut buffer = vec![0; 15];
        let opened = sm4_gcm_decrypt(&[0; 16], &[0; 12], b"", &mut buffer);
        assert_eq!(opened, Err(OpenError::TooShort { bytes: 15 }));
    }

    #[test]
    fn wycheproof_hmac_sm3_vectors_hold() {
        let file = wycheproof(include_str!("../../../tests/vectors/wycheproof/hmac_sm3_test.json"));
        let (mut valid, mut invalid) = (0, 0);
        for group in &file.test_groups {
            for vector in &group.tests {
                // Half of the vectors are of tags cut to 16 bytes: the beginning of the whole tag.
                let mac = hmac_sm3(&vector.key.0, &[&vector.msg.0]);
                let same = mac[..group.tag_size / 8] == vector.tag.0;
                match vector.result.as_str() {
                    "valid" => valid += 1,
                    "invalid" => invalid += 1,
                    other => panic!("vector {}: result {other}", vector.tc_id),
                }
                assert_eq!(same, vector.result == "valid", "vector {}", vector.tc_id);
            }
        }
        assert_eq!((valid, invalid), (66, 108));
    }
}
