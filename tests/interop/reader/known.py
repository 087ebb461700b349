"""What a reader has beforehand: the file keys.json (docs/spec/README.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import ed25519
from .wire import ED25519, ROLES, key_id


@dataclass(frozen=True)
class Stream:
    """The stream that a reader expects, its log and its suite."""

    department: str
    dataset: str
    partition: int
    origin: str
    suite: int


@dataclass(frozen=True)
class Signer:
    """A public key that signs, and whose it is."""

    department: str
    role: str
    algorithm: int
    public: bytes


@dataclass(frozen=True)
class Recipient:
    """A key that secrets are wrapped for; the private half where the reader has it."""

    department: str
    public: bytes
    private: bytes | None

    @property
    def key_id(self) -> bytes:
        """The key's id in its role."""
        return key_id(ROLES["recipient"], 0x0101, self.public)


@dataclass(frozen=True)
class Known:
    """Everything that is known before a frame is read."""

    stream: Stream
    required_algorithms: tuple[int, ...]
    signers: dict[bytes, Signer]
    recipients: tuple[Recipient, ...]

    def offered(self, signers: Iterable[dict[str, Any]]) -> Known:
        """The same with only these signers."""
        return replace(self, signers=_signers(signers, self.stream.department))

    def recipient(self, department: str) -> Recipient:
        """The department's newest key with a private half."""
        return [r for r in self.recipients if r.department == department and r.private][-1]


def _signers(entries: Iterable[dict[str, Any]], department: str) -> dict[bytes, Signer]:
    """The expected department's keys, without those that are no proper keys."""
    signers = {}
    for entry in entries:
        public = bytes.fromhex(entry["public"])
        if entry["department"] != department:
            continue
        if entry["algorithm"] != ED25519 or not ed25519.is_proper_point(public):
            continue
        made = key_id(ROLES[entry["role"]], entry["algorithm"], public)
        if made.hex() != entry["key_id"]:
            raise ValueError(f"the key id of {entry['department']}'s {entry['role']} key is {made.hex()}")
        signers[made] = Signer(department, entry["role"], entry["algorithm"], public)
    return signers


def _recipients(entries: Iterable[dict[str, Any]]) -> tuple[Recipient, ...]:
    recipients = []
    for entry in entries:
        private = entry.get("private")
        recipient = Recipient(
            entry["department"],
            bytes.fromhex(entry["public"]),
            bytes.fromhex(private) if private else None,
        )
        if recipient.key_id.hex() != entry["key_id"]:
            raise ValueError(f"the key id of {recipient.department}'s key is {recipient.key_id.hex()}")
        recipients.append(recipient)
    return tuple(recipients)


def load(path: Path) -> tuple[Known, dict[str, Any]]:
    """The known things, and the whole file for what only some formats need."""
    content = json.loads(path.read_bytes())
    return _of(content["expected"], content), content


def _of(expected: dict[str, Any], content: dict[str, Any]) -> Known:
    stream = Stream(
        expected["department"],
        expected["dataset"],
        expected["partition"],
        expected["origin"],
        expected["suite"],
    )
    return Known(
        stream,
        tuple(expected["required_algorithms"]),
        _signers(content["signers"], stream.department),
        _recipients(content["recipients"]),
    )


def streams(known: Known, content: dict[str, Any]) -> list[Known]:
    """The expected stream, and those of the list `more_streams` where the file has one."""
    return [known, *(_of(expected, content) for expected in content.get("more_streams", []))]
