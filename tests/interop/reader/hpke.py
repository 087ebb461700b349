"""HPKE (RFC 9180), base mode, one shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import suite
from .wire import u16

KEM, KDF, AEAD = 0x0020, 0x0001, 0x0002
KEM_SUITE = b"KEM" + u16(KEM)
HPKE_SUITE = b"HPKE" + u16(KEM) + u16(KDF) + u16(AEAD)


def _extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return suite.extract(salt, b"HPKE-v1" + suite_id + label + ikm)


def _expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return suite.expand(prk, u16(length) + b"HPKE-v1" + suite_id + label + info, length)


def derive_private(ikm: bytes) -> bytes:
    """DeriveKeyPair (section 7.1.3): the private key."""
    prk = _extract(KEM_SUITE, b"", b"dkp_prk", ikm)
    return _expand(KEM_SUITE, prk, b"sk", b"", 32)


def public_of(private: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _shared(private: bytes, public: bytes, encapsulated: bytes, recipient: bytes) -> bytes | None:
    """The KEM's shared secret; None when Diffie and Hellman give zero."""
    try:
        dh = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return None
    prk = _extract(KEM_SUITE, b"", b"eae_prk", dh)
    return _expand(KEM_SUITE, prk, b"shared_secret", encapsulated + recipient, 32)


def _key_and_nonce(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = (
        b"\0" + _extract(HPKE_SUITE, b"", b"psk_id_hash", b"") + _extract(HPKE_SUITE, b"", b"info_hash", info)
    )
    secret = _extract(HPKE_SUITE, shared, b"secret", b"")
    return (
        _expand(HPKE_SUITE, secret, b"key", context, 32),
        _expand(HPKE_SUITE, secret, b"base_nonce", context, 12),
    )


def open_base(
    private: bytes, encapsulated: bytes, info: bytes, aad: bytes, ciphertext: bytes
) -> bytes | None:
    """OpenBase, or None when it does not open."""
    shared = _shared(private, encapsulated, encapsulated, public_of(private))
    if shared is None:
        return None
    key, nonce = _key_and_nonce(shared, info)
    return suite.aead_open(key, nonce, aad, ciphertext)


def seal_base(
    ephemeral: bytes, recipient: bytes, info: bytes, aad: bytes, plaintext: bytes
) -> tuple[bytes, bytes]:
    """SealBase with a given ephemeral key, for comparing worked examples byte by byte."""
    encapsulated = public_of(ephemeral)
    shared = _shared(ephemeral, recipient, encapsulated, recipient)
    if shared is None:
        raise ValueError("the recipient's key is of small order")
    key, nonce = _key_and_nonce(shared, info)
    return encapsulated, AESGCM(key).encrypt(nonce, plaintext, aad)
