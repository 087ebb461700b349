"""Rows of a section under its contract (docs/spec/contract.md section 5)."""

from __future__ import annotations

import copy
import io
import re
import struct
from dataclasses import dataclass
from typing import Any

import fastavro

from .avro import Cursor, Malformed, Walk, published
from .finding import refuse

MAX_ROWS = 65_536
MAX_ROW_BYTES = 64 << 20
DECIMAL = re.compile(r"(NaN|-?Infinity|-?(0|[1-9][0-9]*)(\.[0-9]+)?)\Z")
UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
DAY_MICROS = 86_400_000_000
PARTS = {"read": (2,), "insert": (2,), "update": (2, 3), "delete": (1,), "truncate": (0,)}
STATES = ("value", "null", "unchanged", "absent")
State = dict[str, tuple[str, Any]]


@dataclass(frozen=True)
class Column:
    """A column of a section: its bare type as the schema file has it, and whether it may be null."""

    name: str
    type: Any
    nullable: bool


@dataclass(frozen=True)
class Section:
    """What the contract says of a section."""

    name: str
    schema: bytes
    compression: str
    group_names: tuple[str, ...]
    keys: tuple[Column, ...]
    groups: tuple[tuple[Column, ...], ...]
    rest: tuple[Column, ...]
    order: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row, and the bytes of its parts: head with key, each group, the rest."""

    head: dict[str, Any]
    key: dict[str, Any]
    before: State | None
    after: State | None
    pieces: tuple[bytes, ...]

    @property
    def content(self) -> bytes:
        """The whole row's bytes."""
        return b"".join(self.pieces)


class _Named:
    """Writes named types whole where they first stand, by name after that."""

    def __init__(self) -> None:
        self.defined: set[str] = set()

    def bare(self, kind: Any) -> Any:
        """A column's type; a fixed UUID is named Uuid."""
        if isinstance(kind, dict) and kind["type"] == "fixed":
            return self.once("Uuid", {**kind, "name": "Uuid"})
        return copy.deepcopy(kind)

    def once(self, name: str, definition: Any) -> Any:
        """The definition the first time, then its name."""
        if name in self.defined:
            return name
        self.defined.add(name)
        return definition

    def empty(self, name: str) -> Any:
        """A record without fields."""
        return self.once(name, {"type": "record", "name": name, "fields": []})

    def state(self, name: str, columns: tuple[Column, ...]) -> dict[str, Any]:
        """The record of a state of columns."""
        fields = [
            {
                "name": c.name,
                "type": [self.bare(c.type), "null", self.empty("Unchanged"), self.empty("Absent")],
            }
            for c in columns
        ]
        return {"type": "record", "name": name, "fields": fields}


def event_head() -> dict[str, Any]:
    """The head's schema as derived schemas have it: as published, without docs, with the time's logical type."""
    head = copy.deepcopy(published("event-head"))
    del head["doc"], head["namespace"]
    for field in head["fields"]:
        field.pop("doc", None)
        if field["name"] == "commit_time":
            field["type"] = {"type": "long", "logicalType": "timestamp-micros"}
    return head


def derived_schema(section: Section, parts: int) -> dict[str, Any]:
    """The Avro schema of the section's rows of one `parts` value."""
    named = _Named()
    fields = [{"name": "head", "type": event_head()}]
    if parts:
        key = [{"name": c.name, "type": named.bare(c.type)} for c in section.keys]
        fields.append({"name": "key", "type": {"type": "record", "name": "Key", "fields": key}})
    blocks = [(f"group_{j}_", f"Group{j}", g) for j, g in enumerate(section.groups, 1)]
    for prefix, name, columns in [*blocks, ("", "", section.rest)]:
        if parts & 1:
            fields.append({"name": f"{prefix}before", "type": named.state(f"{name}Before", columns)})
        if parts & 2:
            fields.append({"name": f"{prefix}after", "type": named.state(f"{name}After", columns)})
    return {"type": "record", "name": "Row", "namespace": "govbridge", "fields": fields}


def without_logical_types(schema: Any) -> Any:
    """The same schema with plain types: values may lie outside what a library's types hold."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        if "logicalType" in schema and schema["type"] != "fixed":
            return schema["type"]
        return {k: without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    return schema


class RowReader:
    """Reads the rows of one section: strictly by the walk, again by fastavro, and compares."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.parsed = {
            parts: fastavro.parse_schema(without_logical_types(derived_schema(section, parts)))
            for parts in range(4)
        }

    def read_all(self, content: bytes, count: int) -> list[Row]:
        """Exactly `count` rows and nothing behind them, or OPE007."""
        if count > MAX_ROWS:
            raise refuse("OPE007", f"{count} rows")
        cursor, rows = Cursor(content), []
        for index in range(count):
            try:
                rows.append(self._row(cursor))
            except Malformed as malformed:
                raise refuse("OPE007", f"row {index}, byte {malformed.at}: {malformed.what}") from None
        if cursor.at != len(content):
            raise refuse("OPE007", f"{len(content) - cursor.at} bytes after the last row")
        return rows

    def _row(self, cursor: Cursor) -> Row:
        section, begin, cuts = self.section, cursor.at, [cursor.at]
        head = self._head(cursor)
        parts = head["parts"]
        key = {c.name: _value(cursor, c.type) for c in section.keys} if parts else {}
        cuts.append(cursor.at)
        before: State = {}
        after: State = {}
        for columns in [*section.groups, section.rest]:
            if parts & 1:
                before.update((c.name, _state(cursor, c)) for c in columns)
            if parts & 2:
                after.update((c.name, _state(cursor, c)) for c in columns)
            cuts.append(cursor.at)
        if cursor.at - begin > MAX_ROW_BYTES:
            raise Malformed("OPE007", begin, "a row over 64 MiB")
        pieces = tuple(cursor.content[a:b] for a, b in zip(cuts, cuts[1:], strict=False))
        row = Row(
            head,
            key,
            self._ordered(before) if parts & 1 else None,
            self._ordered(after) if parts & 2 else None,
            pieces,
        )
        self._compare(row)
        return row

    def _ordered(self, state: State) -> State:
        return {name: state[name] for name in self.section.order}

    @staticmethod
    def _head(cursor: Cursor) -> dict[str, Any]:
        head: dict[str, Any] = {}
        walk = Walk(cursor, bounded=False)
        for field in published("event-head")["fields"]:
            begin = cursor.at
            value = walk.read(field["type"])
            if field["name"] in ("commit", "ordinal", "transaction", "index"):
                value %= 1 << 64
            head[field["name"]] = value
        if head["parts"] not in PARTS[head["operation"]]:
            raise Malformed("OPE007", begin, f"parts {head['parts']} of {head['operation']}")
        return head

    def _compare(self, row: Row) -> None:
        """fastavro under the derived schema reads the same row and writes the same bytes."""
        parts = row.head["parts"]
        stream = io.BytesIO(row.content)
        theirs: Any = fastavro.schemaless_reader(stream, self.parsed[parts], None, return_record_name=True)
        if stream.read():
            raise RuntimeError("fastavro reads a shorter row than the walk")
        head = {k: v - (v >> 63 << 64) if k in SIGNED_HEAD else v for k, v in row.head.items()}
        ours: dict[str, Any] = {"head": head}
        if parts:
            ours["key"] = row.key
        blocks = [(f"group_{j}_", g) for j, g in enumerate(self.section.groups, 1)]
        for prefix, columns in [*blocks, ("", self.section.rest)]:
            for name, state in (("before", row.before), ("after", row.after)):
                if state is not None:
                    ours[prefix + name] = {c.name: _as_fastavro(*state[c.name]) for c in columns}
        if repr(ours) != repr(_without_fixed_names(theirs)):
            raise RuntimeError("fastavro reads another row than the walk")
        again = io.BytesIO()
        fastavro.schemaless_writer(again, self.parsed[parts], theirs)
        if again.getvalue() != row.content:
            raise RuntimeError("fastavro writes another row than it read")


SIGNED_HEAD = ("commit", "ordinal", "transaction", "index")


def _without_fixed_names(value: Any) -> Any:
    """fastavro names a fixed in a union where it is referred to, and not where it is defined."""
    if isinstance(value, dict):
        return {name: _without_fixed_names(item) for name, item in value.items()}
    if isinstance(value, tuple) and isinstance(value[1], bytes):
        return value[1]
    return value


def _as_fastavro(state: str, value: Any) -> Any:
    """The state as fastavro shows a union's branch."""
    if state in ("value", "null"):
        return value
    return (f"govbridge.{state.capitalize()}", {})


def _state(cursor: Cursor, column: Column) -> tuple[str, Any]:
    begin = cursor.at
    branch = cursor.number()
    if not 0 <= branch < 4:
        raise Malformed("OPE007", begin, f"branch {branch} of column {column.name}")
    if branch == 1 and not column.nullable:
        raise Malformed("OPE007", begin, f"null in column {column.name}")
    return STATES[branch], _value(cursor, column.type) if branch == 0 else None


def _value(cursor: Cursor, kind: Any) -> Any:
    begin = cursor.at
    value = Walk(cursor, bounded=False).read(kind)
    plain = kind["type"] if isinstance(kind, dict) else kind
    logical = kind.get("logicalType") if isinstance(kind, dict) else None
    if plain in ("float", "double"):
        value = _float(value, begin)
    if logical == "govbridge.decimal" and not DECIMAL.match(value):
        raise Malformed("OPE007", begin, "not a decimal in its one form")
    if logical == "uuid" and plain == "string" and not UUID_TEXT.match(value):
        raise Malformed("OPE007", begin, "not a UUID in its one form")
    if logical == "time-micros" and not 0 <= value <= DAY_MICROS:
        raise Malformed("OPE007", begin, "a time outside the day")
    return value


def _float(content: bytes, begin: int) -> float:
    single = len(content) == 4
    value: float = struct.unpack("<f" if single else "<d", content)[0]
    one_nan = struct.pack("<I", 0x7FC00000) if single else struct.pack("<Q", 0x7FF8000000000000)
    if value != value and content != one_nan:
        raise Malformed("OPE007", begin, "another NaN than the one")
    return value


def read_rows(section: Section, content: bytes, count: int) -> list[Row]:
    """The rows of a section's content, or Refused with OPE007."""
    return RowReader(section).read_all(content, count)
