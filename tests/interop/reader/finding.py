"""What a reader found wrong, by the codes of docs/errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its code and what happened."""

    code: str
    what: str


class Refused(Exception):
    """The bytes are refused for all of these findings."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(f"{f.code}: {f.what}" for f in self.findings))

    @property
    def codes(self) -> list[str]:
        """The codes, each once, in order."""
        return sorted({f.code for f in self.findings})


def refuse(code: str, what: str) -> Refused:
    """A refusal for one thing."""
    return Refused([Finding(code, what)])


def raise_if(findings: Iterable[Finding]) -> None:
    """Refuses when there is a finding."""
    found = list(findings)
    if found:
        raise Refused(found)
