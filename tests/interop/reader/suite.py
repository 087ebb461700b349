"""Suite 1 (international): HKDF, AEAD and the salt stream."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

INTERNATIONAL = 1
TAG_BYTES = 16


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869)."""
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(ikm)
    return mac.finalize()


def expand(prk: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869)."""
    output, block, counter = b"", b"", 1
    while len(output) < length:
        mac = hmac.HMAC(prk, hashes.SHA256())
        mac.update(block + info + bytes([counter]))
        block = mac.finalize()
        output += block
        counter += 1
    return output[:length]


def hkdf(secret: bytes, info: bytes) -> bytes:
    """HKDF(K, info) of docs/spec/README.md section 1."""
    return expand(extract(b"", secret), info)


def aead_open(key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes | None:
    """The plaintext, or None when the ciphertext is not authentic."""
    if len(ciphertext) < TAG_BYTES:
        return None
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        return None


def salt_stream(key: bytes, chunks: int) -> list[bytes]:
    """The first chunks of 32 bytes of the salt stream: AES-256-CTR over zeros."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(32 * chunks))
    return [stream[32 * k : 32 * k + 32] for k in range(chunks)]
