"""C2SP signed notes, their verifier keys, and checkpoints (c2sp.org/signed-note, tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from . import ed25519
from .wire import sha256

MAX_LINES = 64
PLAIN_ED25519 = 0x01
COSIGNATURE = 0x04
DASH = "\u2014"


class NotANote(Exception):
    """The bytes are not a signed note, or not a verifier key."""


@dataclass(frozen=True)
class Line:
    """A signature line: the key's name, its id, and the signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A note: its text with the last line feed, and its signature lines."""

    text: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class VerifierKey:
    """A vkey: name, type and public key."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that signature lines name it by."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public)[:4]


@dataclass(frozen=True)
class Checkpoint:
    """A log's signed tree head."""

    origin: str
    size: int
    root: bytes
    note: Note


def unbase64(text: str) -> bytes:
    """Standard base64 with padding and nothing else."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotANote("not base64") from None
    if base64.b64encode(content).decode() != text:
        raise NotANote("base64 in another form than its own")
    return content


def parse(content: bytes) -> Note:
    """The note, or NotANote."""
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotANote("not UTF-8") from None
    if any(c < " " and c != "\n" for c in whole):
        raise NotANote("a control character")
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NotANote("no text, empty line and signatures")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_LINES:
        raise NotANote(f"{len(lines)} signatures")
    return Note(text + "\n", tuple(map(_line, lines)))


def _line(line: str) -> Line:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != DASH or not _is_key_name(name):
        raise NotANote(f"the signature line {line!r}")
    signature = unbase64(encoded)
    if len(signature) < 5:
        raise NotANote("a signature without bytes")
    return Line(name, signature[:4], signature[4:])


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def verifier_key(text: str) -> VerifierKey:
    """A vkey of an Ed25519 key, or NotANote."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not _is_key_name(parts[0]) or not re.fullmatch(r"[0-9a-f]{8}", parts[1]):
        raise NotANote(f"the vkey {text!r}")
    content = unbase64(parts[2])
    if len(content) != 33 or content[0] not in (PLAIN_ED25519, COSIGNATURE):
        raise NotANote(f"the vkey {text!r}")
    key = VerifierKey(parts[0], content[0], content[1:])
    if key.key_id.hex() != parts[1] or not ed25519.is_proper_point(key.public):
        raise NotANote(f"the vkey {text!r}")
    return key


def checkpoint(text: str) -> Checkpoint:
    """The checkpoint, its signatures not verified, or NotANote."""
    note = parse(text.encode())
    lines = note.text.split("\n")
    if len(lines) < 4 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise NotANote("not a checkpoint")
    root = unbase64(lines[2])
    if len(root) != 32:
        raise NotANote("not a checkpoint's root")
    return Checkpoint(lines[0], int(lines[1]), root, note)


def is_signed_by(note: Note, key: VerifierKey) -> bool:
    """Whether a plain Ed25519 key signed the note."""
    return any(
        line.name == key.name
        and line.key_id == key.key_id
        and ed25519.verify(key.public, note.text.encode(), line.signature)
        for line in note.lines
    )
