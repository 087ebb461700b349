"""Incarnation records (docs/spec/incarnation-record.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .finding import Finding, raise_if
from .frame import INCARNATION, verified_fields
from .known import Known


@dataclass(frozen=True)
class IncarnationRecord:
    """A verified incarnation record."""

    fields: dict[str, Any]
    digest: bytes


def verify(content: bytes, known: Known) -> IncarnationRecord:
    """The record, or Refused."""
    frame, fields = verified_fields(content, INCARNATION, known)
    if fields["origin"] != known.stream.origin:
        raise_if([Finding("VER021", f"the log {fields['origin']}")])
    return IncarnationRecord(fields, frame.digest)
