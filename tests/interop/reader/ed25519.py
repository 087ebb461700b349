"""Strict Ed25519 (docs/spec/README.md section 3) and the checks of public keys."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]


def decode_point(encoded: bytes) -> Point | None:
    """The point of a canonical encoding, or None (RFC 8032 section 5.1.3)."""
    if len(encoded) != 32:
        return None
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


def _double(point: Point) -> Point:
    x, y = point
    product = D * x * x * y * y % P
    return (
        2 * x * y * pow(1 + product, P - 2, P) % P,
        (y * y + x * x) * pow(1 - product, P - 2, P) % P,
    )


def is_proper_point(encoded: bytes) -> bool:
    """Whether this is the canonical encoding of a point that is not of small order."""
    point = decode_point(encoded)
    if point is None:
        return False
    for _ in range(3):
        point = _double(point)
    return point != (0, 1)


def is_proper_x25519(encoded: bytes) -> bool:
    """Whether this is a canonical X25519 public key that is not of small order."""
    if len(encoded) != 32 or int.from_bytes(encoded, "little") >= P:
        return False
    try:
        X25519PrivateKey.from_private_bytes(b"\x42" * 32).exchange(X25519PublicKey.from_public_bytes(encoded))
    except ValueError:
        return False
    return True


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Strict verification: canonical A and R not of small order, S below L, R by its encoding."""
    if len(signature) != 64 or not is_proper_point(public) or not is_proper_point(signature[:32]):
        return False
    if int.from_bytes(signature[32:], "little") >= L:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
