"""The changelog in a SQLite file (docs/spec/changelog.md)."""

from __future__ import annotations

import os
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .finding import refuse

OPERATIONS = {1: "insert", 2: "update", 3: "delete"}
TRIGGERS = ("insert", "update", "delete")
Value = tuple[str, Any]


@dataclass(frozen=True)
class Asked:
    """A table that is asked for."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Which columns of which table a changelog row holds."""

    table: str
    columns: tuple[str, ...]
    key: tuple[bool, ...]


@dataclass(frozen=True)
class Boundary:
    """The end of a transaction."""

    number: int
    upto: int
    at: int
    nonce: bytes


@dataclass(frozen=True)
class Change:
    """One change; `with_next` marks the delete of a changed key."""

    table: int
    operation: str
    index: int
    before: tuple[Value, ...] | None
    after: tuple[Value, ...] | None
    with_next: bool = False


@dataclass(frozen=True)
class Transaction:
    """The changes between two boundaries."""

    boundary: Boundary
    changes: tuple[Change, ...]


class Changelog:
    """Reads a file's changelog. It holds the file's claim, and no lock: nobody else is there in a test."""

    def __init__(self, path: Path, asked: list[Asked]) -> None:
        self.asked = asked
        self.claim = os.urandom(16)
        self.file = sqlite3.connect(path, isolation_level=None)
        self.file.text_factory = bytes

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.file.execute(query, values).fetchall()

    def read(self) -> list[Transaction]:
        """All transactions after what was acknowledged, or Refused before the first."""
        acknowledged = self._preflight()
        newest = self._rows("SELECT coalesce(max(id), 0) FROM govbridge_changelog")[0][0]
        boundaries = self._boundaries(newest, acknowledged)
        if newest > (boundaries[-1].upto if boundaries else 0):
            self._set_boundary()
            boundaries = self._boundaries(newest, acknowledged)
        layouts = self._layouts()
        transactions, place = [], acknowledged
        for boundary in boundaries:
            if boundary.upto > place:
                changes = self._changes(place, boundary.upto, layouts)
                transactions.append(Transaction(boundary, changes))
                place = boundary.upto
        return transactions

    def _preflight(self) -> int:
        """The acknowledged id of a file that is prepared and as capture was installed for."""
        if self._rows("PRAGMA journal_mode")[0][0] != b"wal":
            raise refuse("CAP005", "the file is not in WAL mode")
        if not self._rows("SELECT 1 FROM sqlite_schema WHERE name = 'govbridge_source'"):
            raise refuse("CAP004", "no changelog was installed")
        source = self._rows("SELECT format, acknowledged FROM govbridge_source")
        if len(source) != 1 or source[0][0] != 1:
            raise refuse("CAP004", "another format, or not one source")
        self.file.execute("UPDATE govbridge_source SET claim = ?", (self.claim,))
        for table in self.asked:
            self._preflight_table(table.name)
        acknowledged: int = source[0][1]
        return acknowledged

    def _preflight_table(self, name: str) -> None:
        current = self._rows("SELECT layout FROM govbridge_layout WHERE name = ? AND current = 1", name)
        if len(current) != 1:
            raise refuse("CAP004", f"the table {name} was never given to create")
        layout = current[0][0]
        columns = {row[0] for row in self._rows("SELECT name FROM pragma_table_info(?)", name)}
        wanted = {row[0] for row in self._rows("SELECT name FROM govbridge_column WHERE layout = ?", layout)}
        triggers = {
            row[0].decode()
            for row in self._rows(
                "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", name
            )
        }
        if not wanted <= columns or not {f"govbridge_{layout}_{t}" for t in TRIGGERS} <= triggers:
            raise refuse("CAP006", f"the table {name} is no longer what capture was installed for")

    def _boundaries(self, newest: int, acknowledged: int) -> list[Boundary]:
        boundaries: list[Boundary] = []
        for number, upto, at, nonce in self._rows(
            "SELECT id, upto, at, nonce FROM govbridge_commit ORDER BY id"
        ):
            filled = isinstance(upto, int) and isinstance(at, int) and isinstance(nonce, bytes)
            if not filled or len(nonce) != 8:
                raise refuse("CAP009", f"boundary {number} is not filled")
            if boundaries and upto < boundaries[-1].upto:
                raise refuse("CAP008", f"boundary {number} falls")
            boundaries.append(Boundary(number, upto, at, nonce))
        last = boundaries[-1].upto if boundaries else 0
        if last > newest or last < acknowledged or newest < acknowledged:
            raise refuse(
                "CAP008", f"a boundary at {last}, the newest row {newest}, {acknowledged} acknowledged"
            )
        return boundaries

    def _set_boundary(self) -> None:
        """Closes what is committed, in a write transaction of its own, under the own claim."""
        self.file.execute("BEGIN IMMEDIATE")
        if self._rows("SELECT claim FROM govbridge_source")[0][0] != self.claim:
            self.file.execute("ROLLBACK")
            raise refuse("CAP003", "another connector holds the file")
        self.file.execute("INSERT INTO govbridge_commit DEFAULT VALUES")
        self.file.execute("COMMIT")

    def _layouts(self) -> dict[int, Layout]:
        layouts = {}
        for number, name in self._rows("SELECT layout, name FROM govbridge_layout"):
            columns = self._rows(
                "SELECT name, is_key FROM govbridge_column WHERE layout = ? ORDER BY place", number
            )
            layouts[number] = Layout(
                name.decode(), tuple(c[0].decode() for c in columns), tuple(c[1] == 1 for c in columns)
            )
        return layouts

    def _changes(self, after: int, upto: int, layouts: dict[int, Layout]) -> tuple[Change, ...]:
        places = [
            row[0].decode()
            for row in self._rows("SELECT name FROM pragma_table_info('govbridge_changelog')")
            if row[0].startswith(b"v")
        ]
        values = "".join(f", typeof({place}), {place}" for place in places)
        rows = self._rows(
            f"SELECT id, layout, operation{values} FROM govbridge_changelog"
            " WHERE id > ? AND id <= ? ORDER BY id",
            after,
            upto,
        )
        changes: list[Change] = []
        for expected, (number, layout, operation, *rest) in enumerate(rows, after + 1):
            if number != expected:
                raise refuse("CAP007", f"row {expected} is missing")
            pairs = list(zip(rest[::2], rest[1::2], strict=True))
            self._row(changes, number, layouts.get(layout), operation, pairs)
        if len(rows) != upto - after:
            raise refuse("CAP007", f"rows up to {upto} are missing")
        return tuple(changes)

    def _row(
        self, changes: list[Change], number: int, layout: Layout | None, operation: Any, pairs: list[Any]
    ) -> None:
        if layout is None:
            raise refuse("CAP009", f"row {number} has an unknown layout")
        table = next((i for i, asked in enumerate(self.asked) if asked.name == layout.table), None)
        if table is None:
            return
        if isinstance(operation, int) and operation < 0:
            raise refuse("CAP010", f"row {number} was changed before its trigger ran")
        if operation not in OPERATIONS or len(pairs) < len(layout.columns):
            raise refuse("CAP009", f"row {number} has an unknown operation")
        width = len(layout.columns)
        states = [_state(number, layout, pairs[:width])]
        if OPERATIONS[operation] == "update":
            states.append(_state(number, layout, pairs[width : 2 * width]))
        projected = [self._asked_columns(number, table, layout, state) for state in states]
        index = len(changes)
        if operation == 1:
            changes.append(Change(table, "insert", index, None, projected[0]))
        elif operation == 3:
            changes.append(Change(table, "delete", index, projected[0], None))
        elif _key(layout, states[0]) != _key(layout, states[1]):
            changes.append(Change(table, "delete", index, projected[0], None, with_next=True))
            changes.append(Change(table, "insert", index + 1, None, projected[1]))
        else:
            changes.append(Change(table, "update", index, projected[0], projected[1]))

    def _asked_columns(
        self, number: int, table: int, layout: Layout, state: list[Value]
    ) -> tuple[Value, ...]:
        """Only these are delivered, so only their text has to be UTF-8."""
        values = dict(zip(layout.columns, state, strict=True))
        asked = (values.get(name, ("absent", None)) for name in self.asked[table].columns)
        return tuple(_value(number, *value) for value in asked)


def _state(number: int, layout: Layout, pairs: list[Any]) -> list[Value]:
    """The values of a state as they are stored; a real as its bits, so that every bit is compared."""
    state = [(kind.decode(), struct.pack(">d", value) if kind == b"real" else value) for kind, value in pairs]
    if len(state) != len(layout.columns):
        raise refuse("CAP009", f"row {number} has fewer values than its layout")
    if any(is_key and value[0] == "null" for is_key, value in zip(layout.key, state, strict=True)):
        raise refuse("CAP009", f"row {number} has NULL in a key column")
    return state


def _key(layout: Layout, state: list[Value]) -> list[Value]:
    return [value for is_key, value in zip(layout.key, state, strict=True) if is_key]


def _value(number: int, kind: str, value: Any) -> Value:
    """A value by its storage class."""
    if kind == "text":
        try:
            return kind, value.decode("utf-8")
        except UnicodeDecodeError:
            raise refuse("CAP009", f"row {number} has text that is not UTF-8") from None
    return kind, value
