"""Fences (docs/spec/fence.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .finding import Finding, raise_if
from .frame import FENCE, stream_findings, verified_fields
from .known import Known


@dataclass(frozen=True)
class Fence:
    """A verified fence."""

    fields: dict[str, Any]
    digest: bytes


def verify(content: bytes, known: Known) -> Fence:
    """The fence, or Refused."""
    frame, fields = verified_fields(content, FENCE, known)
    found = stream_findings(fields, known)
    if fields["epoch"] == 0:
        found.append(Finding("VER032", "epoch 0"))
    raise_if(found)
    return Fence(fields, frame.digest)
