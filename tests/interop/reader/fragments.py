"""Rows larger than a record, put together from their fragments (docs/spec/sealed-batch.md section 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import suite
from .finding import refuse
from .rows import Section
from .sealed_batch import Batch, OpenSection, decrypt, rows_of
from .wire import sha256


@dataclass
class Pieces:
    """What came of the row whose last fragment has not come."""

    _row: tuple[Any, ...] | None = None
    _next: int = 0
    _slices: dict[str, bytes] = field(default_factory=dict)

    def leave(self) -> None:
        """A batch that is no fragment came: what there is of a row never ends."""
        self._row, self._next, self._slices = None, 0, {}

    def open(self, batch: Batch, sections: Mapping[str, tuple[Section, bytes]]) -> list[OpenSection]:
        """Opens a fragment; with the row's last one the row, in each section that was opened in all of them.

        `sections` holds, by name, what can be opened now, with its secret.
        """
        part = batch.header["fragment"]
        slices = self._begin(batch.header)
        total, is_last = part["total_bytes"], part["index"] + 1 == part["of"]
        came: dict[str, bytes] = {}
        whole = []
        for name, (section, secret) in sections.items():
            if name not in slices and part["index"] > 0:
                continue
            before = slices.get(name, b"")
            left = total - sum(map(len, came.values())) - len(before)
            if left < 0:
                raise refuse("OPE013", "more bytes than were announced")
            block, keys, plaintext, piece = decrypt(batch, section, secret, left)
            came[name] = before + piece
            if is_last:
                whole.append((section, block, keys, plaintext))
            elif sha256(b"\x03", suite.salt_stream(keys.s, 1)[0], piece) != block.fields["row_root"]:
                raise refuse("OPE008", f"the slice of {name} is not the signed one")
        if not is_last:
            self._next, self._slices = part["index"] + 1, came
            return []
        self.leave()
        if len(came) == len(batch.blocks) and sum(map(len, came.values())) != total:
            raise refuse("OPE013", "fewer bytes than were announced")
        return [
            rows_of(section, block, keys, plaintext, came[section.name])
            for section, block, keys, plaintext in whole
        ]

    def _begin(self, header: dict[str, Any]) -> dict[str, bytes]:
        """The slices before this fragment, when it is the next one of the row, or begins one."""
        part, first = header["fragment"], header["first"]
        row = (
            header["kind"],
            header["incarnation"],
            first["commit"],
            first["ordinal"],
            header["contract"],
            part["of"],
            part["total_bytes"],
        )
        if part["index"] == 0:
            self._row, self._next, self._slices = row, 0, {}
        elif self._row is None or part["index"] != self._next:
            raise refuse("OPE013", f"fragment {part['index']} where {self._next} is next")
        elif row != self._row:
            raise refuse("OPE013", "a fragment of another row, or of another cut")
        return self._slices
