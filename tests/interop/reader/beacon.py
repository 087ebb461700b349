"""Beacons (docs/spec/beacon.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import log_entry
from .finding import Finding, Refused, raise_if
from .frame import BEACON, stream_findings, verified_fields
from .known import Known
from .note import Checkpoint
from .wire import sha256

NOWHERE = {"commit": 0, "ordinal": 0, "fragment": 0}


@dataclass(frozen=True)
class Beacon:
    """A verified beacon."""

    fields: dict[str, Any]
    digest: bytes


def verify(content: bytes, known: Known) -> Beacon:
    """The beacon, or Refused. What `appended` proves is not looked at: see `proof_problem`."""
    frame, fields = verified_fields(content, BEACON, known)
    found = stream_findings(fields, known)
    found += [Finding("VER032", what) for what in contradictions(fields)]
    raise_if(found)
    return Beacon(fields, frame.digest)


def contradictions(fields: dict[str, Any]) -> list[str]:
    """What of VER032 holds."""
    head, place = fields["head"], fields["place"]
    rules = {
        "epoch 0": fields["epoch"] == 0,
        "a place of a higher epoch": place["epoch"] > fields["epoch"],
        "a negative offset": place["offset"] < 0,
        "a place's head that is not the stream's": _is_beyond(place["head"], head),
        "a place without a head and with rows": place["head"] is None
        and (place["last"] != NOWHERE or place["open"] is not None or place["snapshot"] is not None),
        "due before now": fields["next_due"] < fields["clock"],
    }
    found = [what for what, holds in rules.items() if holds]
    if fields["appended"] is not None:
        found += _entry_contradictions(fields)
    return found


def _is_beyond(reference: dict[str, Any] | None, head: dict[str, Any] | None) -> bool:
    """Whether a batch is beyond head, or is another one of head's sequence."""
    if reference is None:
        return False
    if head is None or reference["sequence"] > head["sequence"]:
        return True
    return bool(reference["sequence"] == head["sequence"] and reference["digest"] != head["digest"])


def _entry_contradictions(fields: dict[str, Any]) -> list[str]:
    if fields["head"] is None:
        return ["appended without a head"]
    try:
        entry = log_entry.decode(fields["appended"]["entry"])
    except Refused as refused:
        return [f"an entry that is refused: {refused}"]
    if entry.number != 2:
        return ["an entry that is no batch's"]
    stream = ("department", "dataset", "partition")
    if any(entry.fields[name] != fields[name] for name in stream):
        return ["an entry of another stream"]
    return ["an entry that is not the stream's"] if _is_beyond(entry.fields, fields["head"]) else []


def proof_problem(appended: dict[str, Any], checkpoint: Checkpoint) -> str | None:
    """Why the entry is not in the log of that checkpoint (RFC 6962 section 2.1.1), or None."""
    leaf = log_entry.leaf_hash(appended["entry"])
    root = root_of_path(leaf, appended["index"], checkpoint.size, appended["path"])
    return None if root == checkpoint.root else "the inclusion path does not lead to the root"


def root_of_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that a path leads to; None when its length is not that of index and size."""
    if index >= size:
        return None
    node, last, hashed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            hashed = sha256(b"\x01", sibling, hashed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            hashed = sha256(b"\x01", hashed, sibling)
        node, last = node >> 1, last >> 1
    return hashed if last == 0 else None
