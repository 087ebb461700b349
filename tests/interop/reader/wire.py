"""Notation of docs/spec/README.md section 1: numbers, prefixes, digests, key ids."""

from __future__ import annotations

import hashlib
import struct

ROLES = {"signing": 1, "recipient": 2, "log": 3, "witness": 4, "root": 5, "operator": 6}
ED25519 = 0x0001
X25519 = 0x0101


def u8(number: int) -> bytes:
    """One byte."""
    return struct.pack(">B", number)


def u16(number: int) -> bytes:
    """Two bytes, most significant first."""
    return struct.pack(">H", number)


def u32(number: int) -> bytes:
    """Four bytes, most significant first."""
    return struct.pack(">I", number)


def u64(number: int) -> bytes:
    """Eight bytes, most significant first."""
    return struct.pack(">Q", number)


def lp(content: bytes) -> bytes:
    """The content behind its length."""
    return u32(len(content)) + content


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts one after the other."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def key_id(role: int, algorithm: int, public: bytes) -> bytes:
    """The key id of a public key in a role."""
    return sha256(b"govbridge/v1/key-id\0", u8(role), u16(algorithm), public)


def genesis(origin: str, department: str, dataset: str, partition: int) -> bytes:
    """What a stream's first batch names as the digest before it."""
    names = [lp(name.encode()) for name in (origin, department, dataset)]
    return sha256(b"govbridge/v1/genesis\0", *names, u32(partition))
