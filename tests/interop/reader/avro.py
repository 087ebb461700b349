"""Strict Avro of docs/spec/README.md section 2.

A walk over the published schema refuses what the page refuses and says where; fastavro then decodes the same bytes,
and both must have read the same. The limits and names stand here, by field.
"""

from __future__ import annotations

import io
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastavro

from .finding import Finding, Refused

SPEC = Path(__file__).resolve().parents[3] / "docs" / "spec"
MAX_TEXT = 4096

DEPARTMENT = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")
SECTION = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
ORIGIN = re.compile(r"(?=.{1,255}\Z)[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*\Z")

# The longest value of a field in bytes, or of a list in items: by record and field, or by field alone.
LIMITS: dict[str, int] = {
    "department": MAX_TEXT,
    "dataset": MAX_TEXT,
    "section": MAX_TEXT,
    "SectionBlock.name": MAX_TEXT,
    "SectionBlock.groups[]": MAX_TEXT,
    "SectionBlock.groups": 16,
    "recipient": MAX_TEXT,
    "origin": MAX_TEXT,
    "token": MAX_TEXT,
    "consistent_point": MAX_TEXT,
    "reason": MAX_TEXT,
    "engine": MAX_TEXT,
    "system": MAX_TEXT,
    "database": MAX_TEXT,
    "slot": MAX_TEXT,
    "Header.sections": 32,
    "Header.extensions": 16,
    "Extension.content": 4096,
    "lost": 8192,
    "vanished": 8192,
    "voids": 8192,
    "wraps": 600,
    "ContractRecord.contract": 61440,
    "ContractRecord.schemas": 32,
    "SchemaFile.content": 61440,
    "Appended.entry": 65535,
    "Appended.path": 63,
    "Appended.checkpoint": 65536,
    "RecordEntry.record": 65535,
    "streams": 9400,
}
NAMES: dict[str, re.Pattern[str]] = {
    "department": DEPARTMENT,
    "dataset": DEPARTMENT,
    "recipient": DEPARTMENT,
    "section": SECTION,
    "SectionBlock.name": SECTION,
    "SectionBlock.groups[]": SECTION,
    "origin": ORIGIN,
}
SMALL = {"partition", "incarnation", "number", "fragment", "id", "Fragment.index", "Fragment.of"}
SIGNED = {"Place.offset", "BatchEntry.previous_index"}


class Malformed(Exception):
    """A value breaks the encoding: the code and the byte where it begins."""

    def __init__(self, code: str, at: int, what: str) -> None:
        super().__init__(f"{code} at byte {at}: {what}")
        self.code, self.at, self.what = code, at, what


class Cursor:
    """Bytes with a place, and Avro's primitives read strictly."""

    def __init__(self, content: bytes, at: int = 0) -> None:
        self.content, self.at = content, at

    def take(self, count: int, begin: int) -> bytes:
        """The next bytes; what began at `begin` is cut when they are not there."""
        if count > len(self.content) - self.at:
            raise Malformed("VER002", begin, "the bytes end inside a value")
        taken = self.content[self.at : self.at + count]
        self.at += count
        return taken

    def number(self, bits: int = 64) -> int:
        """A zig-zag number in its shortest form."""
        begin, value = self.at, 0
        for place in range(10):
            byte = self.take(1, begin)[0]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if byte == 0 and place:
                    raise Malformed("VER005", begin, "a number with more bytes than it needs")
                if value >= 1 << bits:
                    raise Malformed("VER005", begin, f"a number of more than {bits} bits")
                return (value >> 1) ^ -(value & 1)
        raise Malformed("VER005", begin, "a number of more than 10 bytes")

    def block(self, limit: int | None) -> bytes:
        """A length and its bytes."""
        begin = self.at
        length = self.number()
        if length < 0:
            raise Malformed("VER005", begin, "a negative length")
        if limit is not None and length > limit:
            raise Malformed("VER003", begin, f"{length} bytes where {limit} are the limit")
        return self.take(length, begin)


class Walk:
    """Reads values of a schema strictly; limits and names are not looked at where it is not bounded.

    `named` are the schema's named types: a union's branch that is not taken may define one that is used later.
    """

    def __init__(self, cursor: Cursor, named: dict[str, Any] | None = None, bounded: bool = True) -> None:
        self.cursor, self.bounded = cursor, bounded
        self.named = named or {}

    def read(self, schema: Any, place: str = "") -> Any:
        """The value of the schema at the cursor; `place` is Record.field."""
        if isinstance(schema, list):
            return self._union(schema, place)
        if isinstance(schema, str):
            if schema in self.named:
                return self.read(self.named[schema], place)
            return self._primitive(schema, place)
        kind = schema["type"]
        if kind == "record":
            return self._record(schema)
        if kind == "fixed":
            return self.cursor.take(schema["size"], self.cursor.at)
        if kind == "enum":
            symbols: list[str] = schema["symbols"]
            return symbols[self._index(len(symbols))]
        if kind == "array":
            return self._array(schema["items"], place)
        return self.read(kind, place)

    def _record(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema["name"]
        return {f["name"]: self.read(f["type"], f"{name}.{f['name']}") for f in schema["fields"]}

    def _union(self, branches: list[Any], place: str) -> Any:
        branch = branches[self._index(len(branches))]
        if branch == "null":
            return None
        record = branch if isinstance(branch, dict) else self.named.get(branch, {})
        value = self.read(branch, place)
        return (record["name"], value) if record.get("type") == "record" else value

    def _index(self, count: int) -> int:
        begin = self.cursor.at
        index = self.cursor.number()
        if not 0 <= index < count:
            raise Malformed("VER005", begin, f"index {index} of {count}")
        return index

    def _array(self, items: Any, place: str) -> list[Any]:
        begin = self.cursor.at
        count = self.cursor.number()
        if count < 0:
            raise Malformed("VER005", begin, "an array with a size")
        limit = _by_field(LIMITS, place)
        if limit is not None and count > limit:
            raise Malformed("VER003", begin, f"{count} items where {limit} are the limit")
        if count == 0:
            return []
        values = [self.read(items, f"{place}[]") for _ in range(count)]
        begin = self.cursor.at
        if self.cursor.number() != 0:
            raise Malformed("VER005", begin, "an array in more than one block")
        return values

    def _primitive(self, kind: str, place: str) -> Any:
        begin = self.cursor.at
        if kind == "null":
            return None
        if kind in ("int", "long"):
            return self.cursor.number(32 if kind == "int" else 64)
        if kind == "boolean":
            byte = self.cursor.take(1, begin)[0]
            if byte > 1:
                raise Malformed("VER005", begin, "a boolean other than 0 and 1")
            return byte == 1
        if kind in ("float", "double"):
            return self.cursor.take(4 if kind == "float" else 8, begin)
        content = self.cursor.block(_by_field(LIMITS, place) if self.bounded else None)
        return content if kind == "bytes" else self._text(content, begin, place)

    def _text(self, content: bytes, begin: int, place: str) -> str:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("VER005", begin, f"{place} is not UTF-8") from None
        rule = _by_field(NAMES, place) if self.bounded else None
        if rule is not None and not rule.match(text):
            raise Malformed("VER006", begin, f"{place} {text!r} breaks its rule")
        return text


def named_types(schema: Any) -> dict[str, Any]:
    """All types that the schema names, by name."""
    if isinstance(schema, list):
        return {name: kind for branch in schema for name, kind in named_types(branch).items()}
    if not isinstance(schema, dict):
        return {}
    found = {schema["name"]: schema} if schema["type"] in ("record", "enum", "fixed") else {}
    for inner in [schema.get("items"), *(field["type"] for field in schema.get("fields", []))]:
        found.update(named_types(inner))
    return found


def _by_field(table: dict[str, Any], place: str) -> Any:
    """The entry of Record.field, else that of the field."""
    return table.get(place, table.get(place.rpartition(".")[2]))


@lru_cache
def published(name: str) -> dict[str, Any]:
    """The schema file of docs/spec."""
    schema: dict[str, Any] = json.loads((SPEC / f"{name}.avsc").read_bytes())
    return schema


@lru_cache
def _parsed(name: str) -> Any:
    return fastavro.parse_schema(json.loads((SPEC / f"{name}.avsc").read_bytes()))


def same(ours: Any, theirs: Any) -> bool:
    """Whether the walk and fastavro read one value; they differ in how they name records of a union."""
    if isinstance(ours, tuple):
        return (
            isinstance(theirs, tuple) and theirs[0].rpartition(".")[2] == ours[0] and same(ours[1], theirs[1])
        )
    if isinstance(ours, dict):
        return (
            isinstance(theirs, dict)
            and list(ours) == list(theirs)
            and all(same(ours[k], theirs[k]) for k in ours)
        )
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(type(ours) is type(theirs) and ours == theirs)


def decode(name: str, body: bytes) -> dict[str, Any]:
    """The fields of a body under the published schema, or Refused."""
    schema = published(name)
    walk = Walk(Cursor(body), named_types(schema))
    try:
        value = walk.read(schema)
        if walk.cursor.at != len(body):
            raise Malformed("VER004", walk.cursor.at, "bytes after the last field")
        fields: dict[str, Any] = _numbers(schema, value, "", walk.named)
    except Malformed as malformed:
        raise Refused([Finding(malformed.code, f"{name}: {malformed.what}")]) from None
    theirs = fastavro.schemaless_reader(io.BytesIO(body), _parsed(name), None, return_record_name=True)
    if not same(value, theirs):
        raise RuntimeError(f"fastavro reads another {name} than the walk")
    again = io.BytesIO()
    fastavro.schemaless_writer(again, _parsed(name), theirs)
    if again.getvalue() != body:
        raise RuntimeError(f"fastavro writes another {name} than it read")
    return fields


def _numbers(schema: Any, value: Any, place: str, named: dict[str, Any], doc: str = "") -> Any:
    """The same value with its numbers as docs/spec means them, and union records without their names."""
    if isinstance(schema, str):
        schema = named.get(schema, schema)
    if isinstance(schema, list):
        if value is None:
            return None
        if isinstance(value, tuple):
            fields = _numbers(named[value[0]], value[1], place, named)
            records = [branch for branch in schema if isinstance(branch, dict)]
            return {"record": value[0], **fields} if len(records) > 1 else fields
        (schema,) = (branch for branch in schema if branch != "null")
        return _numbers(schema, value, place, named)
    if isinstance(schema, dict) and schema["type"] == "record":
        return {
            f["name"]: _numbers(
                f["type"], value[f["name"]], f"{schema['name']}.{f['name']}", named, f.get("doc", "")
            )
            for f in schema["fields"]
        }
    if isinstance(schema, dict) and schema["type"] == "array":
        return [_numbers(schema["items"], item, f"{place}[]", named) for item in value]
    if schema == "long":
        return _number(place, value, doc)
    if place.endswith(".suite") and not 0 <= value <= 0xFFFF:
        raise Malformed("VER005", 0, f"{place} is {value}")
    return value


def _number(place: str, value: int, doc: str) -> int:
    if doc.startswith("microseconds"):
        return value
    if place in SIGNED:
        if place.endswith("previous_index") and value < -1:
            raise Malformed("VER005", 0, f"{place} is {value}")
        return value
    if place in SMALL or place.rpartition(".")[2] in SMALL:
        if not 0 <= value < 1 << 32:
            raise Malformed("VER005", 0, f"{place} is {value}")
        return value
    return value % (1 << 64)


def require_suite(fields: dict[str, Any]) -> list[Finding]:
    """A finding when the suite is not one that this reader implements."""
    if fields["suite"] != 1:
        return [Finding("VER009", f"suite {fields['suite']}")]
    return []
