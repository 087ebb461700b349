"""contract.toml and the contract as a whole (docs/spec/contract.md sections 1, 2 and 4)."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from .avro import DEPARTMENT, ORIGIN, SECTION
from .contract_schema import Field, Problem, SchemaReader
from .rows import Section
from .wire import sha256

MAX_FILES = 59_200
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|([+-])(\d\d):(\d\d))\Z", re.ASCII
)
# A bare date-time as text, so that its digits below a microsecond are not lost in a library's type.
BARE_TIME = re.compile(r"(?m)^([ \t]*(?:start|end)[ \t]*=[ \t]*)(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d\S*)")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONTRACT = "contract.toml"
REQUIRED: dict[str, dict[str, type]] = {
    "": {
        "govbridge_contract": int,
        "department": str,
        "dataset": str,
        "revision": int,
        "title": str,
        "origin": str,
        "partitions": int,
        "suite": str,
        "source": dict,
        "keys": dict,
        "section": list,
        "column": list,
    },
    "source": {"table": str, "key": list},
    "keys": {"renew_hours": int, "renew_rows": int},
    "section": {"name": str, "title": str, "schema": str, "compression": str},
    "group": {"name": str, "columns": list},
    "column": {"name": str, "title": str, "class": str},
    "grant": {"section": str, "recipient": str, "purpose": str, "legal_basis": str, "start": object},
}
OPTIONAL: dict[str, dict[str, type]] = {
    "": {"grant": list},
    "section": {"group": list},
    "column": {"section": str, "shared": bool, "source_type": str},
    "grant": {"end": object},
}


@dataclass(frozen=True)
class Grant:
    """A department's right to open a section from `start` until before `end`, in microseconds."""

    section: str
    recipient: str
    start: int
    end: int | None

    def in_force(self, at: int) -> bool:
        """Whether the grant is in force at that instant."""
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True)
class Contract:
    """A valid contract."""

    content: dict[str, Any]
    digest: bytes
    sections: tuple[Section, ...]
    fields: dict[str, tuple[Field, ...]]
    grants: tuple[Grant, ...]

    def section(self, name: str) -> Section:
        """The section of that name; KeyError when there is none."""
        found = {section.name: section for section in self.sections}
        return found[name]

    def entitled(self, section: str, at: int) -> set[str]:
        """Who has a grant of the section in force at that instant, without the department itself."""
        return {g.recipient for g in self.grants if g.section == section and g.in_force(at)}

    def boundaries(self, section: str) -> list[int]:
        """The instants at which a grant of the section starts or ends."""
        grants = [g for g in self.grants if g.section == section]
        return sorted({g.start for g in grants} | {g.end for g in grants if g.end is not None})


def instant(value: Any) -> int | None:
    """Microseconds since 1970 of a time as section 2 allows it; None when its form or date is wrong."""
    if isinstance(value, datetime):
        return None if value.tzinfo is None else _micros(value)
    match = TIME.match(value)
    if match is None:
        return None
    day, clock, fraction, sign, hours, minutes = match.groups()
    try:
        naive = datetime.fromisoformat(f"{day}T{clock}")
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        if int(minutes or 0) > 59 or offset >= timedelta(hours=24):
            return None
        zone = timezone(-offset if sign == "-" else offset)
        return _micros(naive.replace(tzinfo=zone, microsecond=int((fraction or "0").ljust(6, "0"))))
    except ValueError:
        return None


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _is_text(value: str) -> bool:
    return (
        1 <= len(value) <= 500
        and not value.isspace()
        and not any(unicodedata.category(c) == "Cc" for c in value)
    )


def _is_short(value: str, rule: re.Pattern[str]) -> bool:
    return len(value) <= 64 and rule.match(value) is not None


class ContractReader:
    """Reads a contract's files and gathers all problems."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.problems: list[Problem] = []
        self.toml: dict[str, Any] = {}
        self.schemas: dict[str, SchemaReader] = {}
        self.grants: list[Grant] = []

    def problem(self, code: str, field: str, file: str = CONTRACT) -> None:
        """Notes a problem."""
        self.problems.append(Problem(code, file, field))

    def read(self) -> Contract | None:
        """The contract, or None when there are problems."""
        if CONTRACT not in self.files:
            self.problem("CON003", "")
        elif self._parse() and self._shape() and self._format():
            self._values()
            if sum(map(len, self.files.values())) > MAX_FILES:
                self.problem("CON014", "")
            self._names()
            self._schema_files()
        return None if self.problems else self._contract()

    def _parse(self) -> bool:
        try:
            text = self.files[CONTRACT].decode("utf-8")
            self.toml = tomllib.loads(BARE_TIME.sub(r'\1"\2"', text))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError):
            self.problem("CON001", "")
        return not self.problems

    def _shape(self) -> bool:
        """Keys and types of all tables."""
        self._table("", self.toml, "")
        for name in ("source", "keys"):
            if isinstance(self.toml.get(name), dict):
                self._table(name, self.toml[name], name)
        for name in ("section", "column", "grant"):
            self._tables(name, self.toml.get(name), name)
        return not self.problems

    def _tables(self, kind: str, tables: Any, place: str) -> None:
        for index, table in enumerate(tables if isinstance(tables, list) else [], 1):
            at = f"{place}[{index}]"
            if not isinstance(table, dict):
                self.problem("CON004", at)
                continue
            self._table(kind, table, at)
            if kind == "section":
                self._tables("group", table.get("group"), f"{at}.group")

    def _table(self, kind: str, table: dict[str, Any], place: str) -> None:
        required, optional = REQUIRED[kind], OPTIONAL.get(kind, {})
        prefix = f"{place}." if place else ""
        for key, value in table.items():
            wanted = required.get(key, optional.get(key))
            if wanted is None:
                self.problem("CON002", prefix + key)
            elif not _has_type(key, value, wanted):
                self.problem("CON004", prefix + key)
        for key in required:
            if key not in table:
                self.problem("CON003", prefix + key)

    def _format(self) -> bool:
        if self.toml["govbridge_contract"] != 1:
            self.problem("CON005", "govbridge_contract")
        return not self.problems

    def _rule(self, holds: bool, field: str, code: str = "CON005") -> None:
        if not holds:
            self.problem(code, field)

    def _values(self) -> None:
        """Rules of single values."""
        toml = self.toml
        for name in ("department", "dataset"):
            self._rule(_is_short(toml[name], DEPARTMENT), name)
        self._rule(1 <= toml["revision"] <= 10**9, "revision")
        self._rule(_is_text(toml["title"]), "title")
        origin, department = toml["origin"], toml["department"]
        well_formed = len(origin.encode()) <= 255 and ORIGIN.match(origin) is not None
        # A department that breaks its rule is one problem, not two.
        theirs = not _is_short(department, DEPARTMENT) or origin.split("/")[1:2] == [department]
        self._rule(well_formed and theirs, "origin")
        self._rule(toml["partitions"] == 1, "partitions")
        self._rule(toml["suite"] == "international", "suite")
        self._rule(1 <= len(toml["source"]["table"].encode()) <= 128, "source.table")
        for index, column in enumerate(toml["column"], 1):
            named = column.get("source_type")
            fits = named is None or 1 <= len(named.encode()) <= 128
            self._rule(fits, f"column[{index}].source_type")
        self._rule(1 <= len(toml["source"]["key"]) <= 16, "source.key", "CON012")
        self._rule(1 <= toml["keys"]["renew_hours"] <= 8760, "keys.renew_hours")
        self._rule(1 <= toml["keys"]["renew_rows"] <= 10**12, "keys.renew_rows")
        self._rule(1 <= len(toml["section"]) <= 32, "section", "CON014")
        self._rule(len(toml.get("grant", [])) <= 256, "grant", "CON014")
        for index, section in enumerate(toml["section"], 1):
            self._section_values(section, f"section[{index}]")
        for index, column in enumerate(toml["column"], 1):
            place = f"column[{index}]"
            self._rule(COLUMN.match(column["name"]) is not None, f"{place}.name")
            self._rule(_is_text(column["title"]), f"{place}.title")
            self._rule(column["class"] in ("core", "important", "general"), f"{place}.class")
        for index, grant in enumerate(toml.get("grant", []), 1):
            self._grant(grant, f"grant[{index}]")

    def _section_values(self, section: dict[str, Any], place: str) -> None:
        self._rule(_is_short(section["name"], SECTION), f"{place}.name")
        self._rule(_is_text(section["title"]), f"{place}.title")
        self._rule(section["schema"] == f"{section['name']}.avsc", f"{place}.schema")
        self._rule(section["compression"] in ("zstd", "none"), f"{place}.compression")
        groups = section.get("group", [])
        self._rule(len(groups) <= 16, f"{place}.group", "CON014")
        for index, group in enumerate(groups, 1):
            self._rule(_is_short(group["name"], SECTION), f"{place}.group[{index}].name")
            self._rule(bool(group["columns"]), f"{place}.group[{index}].columns")

    def _grant(self, grant: dict[str, Any], place: str) -> None:
        self._rule(_is_short(grant["recipient"], DEPARTMENT), f"{place}.recipient")
        for key in ("purpose", "legal_basis"):
            self._rule(_is_text(grant[key]), f"{place}.{key}")
        start = instant(grant["start"])
        end = instant(grant["end"]) if "end" in grant else None
        self._rule(start is not None, f"{place}.start")
        self._rule(end is not None or "end" not in grant, f"{place}.end")
        self._rule(grant["recipient"] != self.toml["department"], f"{place}.recipient", "CON013")
        if start is not None:
            self._rule(end is None or end > start, f"{place}.end", "CON013")
            self.grants.append(Grant(grant["section"], grant["recipient"], start, end))

    def _unique(self, names: list[str], places: list[str]) -> None:
        for index, (name, place) in enumerate(zip(names, places, strict=True)):
            if name in names[:index]:
                self.problem("CON006", place)

    def _names(self) -> None:
        """Rules between names: unique ones, references, and where each column stands."""
        toml = self.toml
        for kind in ("section", "column"):
            names = [table["name"] for table in toml[kind]]
            self._unique(names, [f"{kind}[{i}].name" for i in range(1, len(names) + 1)])
        key, columns = toml["source"]["key"], {c["name"]: c for c in toml["column"]}
        self._unique(key, [f"source.key[{i}]" for i in range(1, len(key) + 1)])
        sections = {s["name"] for s in toml["section"]}
        for index, name in enumerate(key, 1):
            self._rule(name in columns, f"source.key[{index}]", "CON007")
        for index, column in enumerate(toml["column"], 1):
            self._column(column, f"column[{index}]", sections)
        for index, section in enumerate(toml["section"], 1):
            self._section_columns(section, f"section[{index}]", columns)
        for index, grant in enumerate(toml.get("grant", []), 1):
            self._rule(grant["section"] in sections, f"grant[{index}].section", "CON007")

    def _column(self, column: dict[str, Any], place: str, sections: set[str]) -> None:
        shared = column.get("shared", True)
        if column["name"] in self.toml["source"]["key"]:
            self._rule(shared, f"{place}.shared", "CON012")
            self._rule("section" not in column, f"{place}.section", "CON012")
        elif shared:
            if "section" not in column:
                self.problem("CON003", f"{place}.section")
            else:
                self._rule(column["section"] in sections, f"{place}.section", "CON007")
        else:
            self._rule("section" not in column, f"{place}.section")

    def _section_columns(self, section: dict[str, Any], place: str, columns: dict[str, Any]) -> None:
        own = {name for name, column in columns.items() if column.get("section") == section["name"]}
        self._rule(bool(own), place, "CON011")
        groups = section.get("group", [])
        names = [group["name"] for group in groups]
        self._unique(names, [f"{place}.group[{i}].name" for i in range(1, len(names) + 1)])
        grouped, places = [], []
        for index, group in enumerate(groups, 1):
            for number, name in enumerate(group["columns"], 1):
                at = f"{place}.group[{index}].columns[{number}]"
                if name in self.toml["source"]["key"]:
                    self.problem("CON012", at)
                else:
                    self._rule(name in own, at, "CON007")
                grouped.append(name)
                places.append(at)
        self._unique(grouped, places)

    def _schema_files(self) -> None:
        """Each section's schema file, and no other file."""
        named = {s["schema"] for s in self.toml["section"]}
        for file in sorted(set(self.files) - named - {CONTRACT}):
            self.problem("CON008", "", file)
        for index, section in enumerate(self.toml["section"], 1):
            file = section["schema"]
            if file not in self.files:
                # A name that breaks its rule is one problem, not two.
                if file == f"{section['name']}.avsc":
                    self.problem("CON008", f"section[{index}].schema")
                continue
            reader = SchemaReader(file, self.files[file])
            reader.read()
            self.schemas[section["name"]] = reader
            self.problems.extend(reader.problems)
            if not reader.problems and not self.problems:
                self._fit(section["name"], reader)

    def _fit(self, section: str, reader: SchemaReader) -> None:
        """The fields are the key in its order, then exactly the section's columns."""
        key = self.toml["source"]["key"]
        names = [field.name for field in reader.fields]
        if names[: len(key)] != key:
            self.problem("CON011", "fields", reader.file)
            return
        for index, field in enumerate(reader.fields[: len(key)], 1):
            if field.column.nullable or field.column.type in ("float", "double"):
                self.problem("CON012", f"fields[{index}].type", reader.file)
        own = [c["name"] for c in self.toml["column"] if c.get("section") == section]
        for index, name in enumerate(names, 1):
            if index > len(key) and name not in own:
                self.problem("CON011", f"fields[{index}].name", reader.file)
        if set(own) - set(names):
            self.problem("CON011", "fields", reader.file)
        first = next(iter(self.schemas.values()))
        if [f.column.type for f in reader.fields[: len(key)]] != [
            f.column.type for f in first.fields[: len(key)]
        ]:
            self.problem("CON011", "fields", reader.file)

    def _contract(self) -> Contract:
        key_count = len(self.toml["source"]["key"])
        sections, fields = [], {}
        for table in self.toml["section"]:
            reader = self.schemas[table["name"]]
            columns = [field.column for field in reader.fields]
            groups = table.get("group", [])
            grouped = {name for group in groups for name in group["columns"]}
            own = columns[key_count:]
            sections.append(
                Section(
                    table["name"],
                    self.files[table["schema"]],
                    table["compression"],
                    tuple(group["name"] for group in groups),
                    tuple(columns[:key_count]),
                    tuple(tuple(c for c in own if c.name in g["columns"]) for g in groups),
                    tuple(c for c in own if c.name not in grouped),
                    tuple(c.name for c in own),
                )
            )
            fields[table["name"]] = tuple(reader.fields)
        digest = sha256(self.files[CONTRACT])
        return Contract(self.toml, digest, tuple(sections), fields, tuple(self.grants))


def _has_type(key: str, value: Any, wanted: type) -> bool:
    if key in ("start", "end"):
        return isinstance(value, str | datetime)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted is list:
        if key in ("key", "columns"):
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        return isinstance(value, list)
    return isinstance(value, wanted)


def check(files: dict[str, bytes]) -> tuple[Contract | None, list[Problem]]:
    """The contract when it is valid, and all problems."""
    reader = ContractReader(files)
    contract = reader.read()
    return contract, reader.problems


WIDER = {
    "int": {"long"},
    "float": {"double"},
    "boolean": {"int", "long"},
    **{
        kind: {"string"}
        for kind in (
            "date",
            "time-micros",
            "timestamp-micros",
            "local-timestamp-micros",
            "uuid",
            "govbridge.decimal",
        )
    },
}


@dataclass(frozen=True)
class Changes:
    """Columns by section and name: those that a contract adds, and those that take more values under it."""

    additions: list[tuple[str, str]]
    widenings: list[tuple[str, str]]


def _widens(old: Column, new: Column) -> bool:
    """Whether the new column takes every value of the old one."""

    def kind(column: Column) -> Any:
        return column.type["logicalType"] if isinstance(column.type, dict) else column.type

    wider = old.type == new.type or kind(new) in WIDER.get(kind(old), set())
    return wider and (new.nullable or not old.nullable)


def follow(before: Contract, after: Contract) -> tuple[Changes, list[Problem]]:
    """The added columns and the widened ones, and why `after` may not follow `before` (CON015)."""
    problems: list[Problem] = []
    additions: list[tuple[str, str]] = []
    widenings: list[tuple[str, str]] = []
    changes = Changes(additions, widenings)

    def differ(field: str, file: str = CONTRACT) -> None:
        problems.append(Problem("CON015", file, field))

    old, new = before.content, after.content
    schemas = [[section.schema for section in contract.sections] for contract in (before, after)]
    changed = before.digest != after.digest or schemas[0] != schemas[1]
    if changed and new["revision"] <= old["revision"]:
        differ("revision")
    for field in ("department", "dataset", "origin", "partitions", "suite"):
        if old[field] != new[field]:
            differ(field)
    for field in ("table", "key"):
        if old["source"][field] != new["source"][field]:
            differ(f"source.{field}")
    if [s.name for s in before.sections] != [s.name for s in after.sections]:
        differ("section")
        return changes, problems
    for section in before.sections:
        later, file = after.section(section.name), f"{section.name}.avsc"
        kept = {field.name: field for field in before.fields[section.name]}
        added = [field for field in after.fields[section.name] if field.name not in kept]
        same = [field.column for field in after.fields[section.name] if field.name in kept]
        was = [field.column for field in kept.values()]
        keys = [column.name for column in section.keys]
        moved = [column.name for column in same] != [column.name for column in was]
        other = [(o, n) for o, n in zip(was, same, strict=False) if o != n]
        moved |= any(o.name in keys or not _widens(o, n) for o, n in other)
        if moved or any(not field.column.nullable or not field.has_default for field in added):
            differ("fields", file)
        additions += [(section.name, field.name) for field in added]
        widenings += [(section.name, o.name) for o, _ in other]
        groups = _groups(later)
        if any(groups.get(name) != group for name, group in _groups(section).items() if name in groups):
            differ("section.group")
    return changes, problems


def _groups(section: Section) -> dict[str, str | None]:
    """The group of each of the section's columns."""
    groups: dict[str, str | None] = {column.name: None for column in section.rest}
    for name, columns in zip(section.group_names, section.groups, strict=True):
        groups.update((column.name, name) for column in columns)
    return groups
