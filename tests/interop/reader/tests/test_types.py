"""Every type of a section: what fastavro writes under the derived schema is read, other forms are refused."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import fastavro
import pytest

from .. import contract, rows
from ..finding import Refused

UUID = {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}
# A type, a value at its edge, and bytes that a reader must refuse.
TYPES: list[tuple[Any, Any, str]] = [
    ("boolean", True, "02"),
    ("int", -(2**31), "8080808010"),
    ("long", 2**63 - 1, "ffffffffffffffffff02"),
    ("float", math.nan, struct.pack("<I", 0x7FC00001).hex()),
    ("double", -0.0, struct.pack("<Q", 0xFFF8000000000000).hex()),
    ("string", "陈\0", "02ff"),
    ("bytes", b"\x00\xff", "01"),
    ({"type": "int", "logicalType": "date"}, -719_529, "8080808010"),
    ({"type": "long", "logicalType": "time-micros"}, 86_400_000_000, "8280aef5a20280"),
    ({"type": "long", "logicalType": "timestamp-micros"}, -(2**63), "ffffffffffffffffff02"),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, 2**62, "8000"),
    (UUID, bytes(range(16)), "00"),
    ({"type": "string", "logicalType": "uuid"}, "0123abcd-0000-4000-8000-00000000000f", "0241"),
    ({"type": "string", "logicalType": "govbridge.decimal"}, "-12.30", "042d2e"),
]


def section() -> rows.Section:
    """A section with a column of each type, nullable, and a second UUID by name."""
    columns = [rows.Column(f"c{i}", kind, True) for i, (kind, _, _) in enumerate(TYPES)]
    columns.append(rows.Column("again", UUID, False))
    key = rows.Column("id", UUID, False)
    order = tuple(column.name for column in columns)
    return rows.Section(
        "all", b"", "none", ("g",), (key,), (tuple(columns[3:6]),), (*columns[:3], *columns[6:]), order
    )


def content(values: dict[str, Any]) -> bytes:
    """An insert of these values, written by fastavro."""
    read = section()
    head = {"operation": "insert", "commit": 1, "ordinal": 1, "commit_time": 0, "transaction": 1, "index": 0}
    row = {
        "head": {**head, "parts": 2},
        "key": {"id": bytes(16)},
        "group_1_after": {c.name: values[c.name] for c in read.groups[0]},
        "after": {c.name: values[c.name] for c in read.rest},
    }
    stream = io.BytesIO()
    schema = fastavro.parse_schema(rows.without_logical_types(rows.derived_schema(read, 2)))
    fastavro.schemaless_writer(stream, schema, row)
    return stream.getvalue()


def values() -> dict[str, Any]:
    """The edge of each type."""
    return {f"c{i}": value for i, (_, value, _) in enumerate(TYPES)} | {"again": bytes(16)}


def test_each_type_is_read() -> None:
    (row,) = rows.read_rows(section(), content(values()), 1)
    assert row.after is not None
    assert repr({name: value for name, (_, value) in row.after.items()}) == repr(values())
    assert len(row.pieces) == 3


def test_null_unchanged_and_absent_are_read() -> None:
    states: dict[str, Any] = {
        "null": None,
        "unchanged": ("govbridge.Unchanged", {}),
        "absent": ("govbridge.Absent", {}),
    }
    for name, written in states.items():
        row = rows.read_rows(section(), content({**dict.fromkeys(values(), written), "again": bytes(16)}), 1)[
            0
        ]
        assert row.after is not None
        assert {kind for column, (kind, _) in row.after.items() if column != "again"} == {name}


@pytest.mark.parametrize("index", range(len(TYPES)))
def test_a_value_in_another_form_is_refused(index: int) -> None:
    kind, value, broken = TYPES[index]
    column = rows.Column("c", kind, True)
    lone = rows.Section("one", b"", "none", (), (), (), (column,), ("c",))
    head = bytes.fromhex("02020200020004")
    stream = io.BytesIO()
    plain = fastavro.parse_schema(rows.without_logical_types(kind))
    fastavro.schemaless_writer(stream, plain, value)
    assert rows.read_rows(lone, head + b"\x00" + stream.getvalue(), 1)
    with pytest.raises(Refused) as refused:
        rows.read_rows(lone, head + b"\x00" + bytes.fromhex(broken), 1)
    assert refused.value.codes == ["OPE007"]


@pytest.mark.parametrize("text", ["", "-", "+1", "01", "1.", ".5", "1e3", "-NaN", "١", "1\n", "Inf"])
def test_a_decimal_has_one_form(text: str) -> None:
    assert not rows.DECIMAL.match(text)


def test_a_contract_may_use_each_type() -> None:
    fields = [{"name": "id", "type": "long"}]
    fields += [{"name": f"c{i}", "type": ["null", kind]} for i, (kind, _, _) in enumerate(TYPES)]  # type: ignore[dict-item]
    fields += [{"name": "again", "type": "Id"}]
    toml = "\n".join(
        [
            'govbridge_contract = 1\ndepartment = "tax"\ndataset = "all"\nrevision = 1\ntitle = "t"',
            'origin = "gov.example/tax/main"\npartitions = 1\nsuite = "international"',
            '[source]\ntable = "t"\nkey = ["id"]\n[keys]\nrenew_hours = 1\nrenew_rows = 1',
            '[[section]]\nname = "all"\ntitle = "t"\nschema = "all.avsc"\ncompression = "none"',
            '[[column]]\nname = "id"\ntitle = "t"\nclass = "core"',
            *(
                f'[[column]]\nname = "{field["name"]}"\ntitle = "t"\nclass = "core"\nsection = "all"'
                for field in fields[1:]
            ),
        ]
    )
    schema = json.dumps({"type": "record", "name": "All", "fields": fields}).encode()
    found, problems = contract.check({"contract.toml": toml.encode(), "all.avsc": schema})
    assert problems == []
    assert found is not None
    assert rows.RowReader(found.sections[0]).parsed
