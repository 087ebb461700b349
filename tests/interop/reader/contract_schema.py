"""Schema files of a contract (docs/spec/contract.md section 3)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .rows import Column

AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
AVRO_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
PLAIN = ("boolean", "int", "long", "float", "double", "string", "bytes")
LOGICAL = {
    ("int", "date"),
    ("long", "time-micros"),
    ("long", "timestamp-micros"),
    ("long", "local-timestamp-micros"),
    ("string", "uuid"),
    ("string", "govbridge.decimal"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a contract."""

    code: str
    file: str
    field: str


@dataclass(frozen=True)
class Field:
    """A field of a schema file."""

    column: Column
    has_default: bool

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one with a key twice gets a key that no form allows."""
    read = dict(pairs)
    if len(read) < len(pairs):
        return {"": "twice", **read}
    return read


class SchemaReader:
    """Reads one schema file and gathers its problems."""

    def __init__(self, file: str, content: bytes) -> None:
        self.file, self.content = file, content
        self.problems: list[Problem] = []
        self.fields: list[Field] = []
        self.uuids: dict[str, Any] = {}

    def _problem(self, code: str, field: str) -> None:
        self.problems.append(Problem(code, self.file, field))

    def read(self) -> None:
        """Fills fields and problems."""
        try:
            schema = json.loads(self.content.decode("utf-8"), object_pairs_hook=_once)
        except ValueError:
            self._problem("CON009", "")
            return
        if not isinstance(schema, dict) or schema.get("type") != "record":
            self._problem("CON010", "type")
            return
        if set(schema) - {"type", "name", "namespace", "doc", "fields"}:
            self._problem("CON010", "")
            return
        name, namespace = schema.get("name"), schema.get("namespace", "a")
        if not _is(name, AVRO_NAME) or not _is(namespace, AVRO_NAMESPACE):
            self._problem("CON009", "")
            return
        if not isinstance(schema.get("fields"), list) or not isinstance(schema.get("doc", ""), str):
            self._problem("CON010", "fields")
            return
        for index, field in enumerate(schema["fields"], 1):
            self._field(field, f"fields[{index}]")
        names = [field.name for field in self.fields]
        for index, field_name in enumerate(names, 1):
            if field_name in names[: index - 1]:
                self._problem("CON006", f"fields[{index}].name")

    def _field(self, field: Any, place: str) -> None:
        if not isinstance(field, dict) or set(field) - {"name", "type", "doc", "default"}:
            self._problem("CON010", place)
            return
        if not _is(field.get("name"), AVRO_NAME):
            self._problem("CON009", "")
            return
        kind, nullable = field.get("type"), False
        if isinstance(kind, list):
            if len(kind) != 2 or kind[0] != "null":
                self._problem("CON010", f"{place}.type")
                return
            kind, nullable = kind[1], True
        bare = self._type(kind)
        if bare is None:
            self._problem("CON010", f"{place}.type")
            return
        if "default" in field and (field["default"] is not None or not nullable):
            self._problem("CON010", f"{place}.default")
        if not isinstance(field.get("doc", ""), str):
            self._problem("CON010", f"{place}.doc")
        self.fields.append(Field(Column(field["name"], bare, nullable), "default" in field))

    def _type(self, kind: Any) -> Any:
        """The bare type, a reference to a UUID resolved; None when sections may not use it."""
        if isinstance(kind, str):
            return kind if kind in PLAIN else self.uuids.get(kind)
        if not isinstance(kind, dict):
            return None
        logical, plain = kind.get("logicalType"), kind.get("type")
        if plain == "fixed":
            allowed = set(kind) == {"type", "name", "size", "logicalType"}
            if not allowed or logical != "uuid" or kind["size"] != 16 or kind["name"] in self.uuids:
                return None
            bare = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}
            self.uuids[kind["name"]] = bare
            return bare
        if set(kind) == {"type", "logicalType"} and (plain, logical) in LOGICAL:
            return kind
        return None


def _is(name: Any, rule: re.Pattern[str]) -> bool:
    return isinstance(name, str) and rule.match(name) is not None
