"""Contracts, their succession and their rows over the vectors."""

from __future__ import annotations

import base64
import json
from typing import Any

import fastavro
import pytest

from .. import contract, rows
from ..finding import Refused
from ..wire import sha256
from .vectors import cases, expectation

NAMES = cases("contract")
ROWS = [n for n in NAMES if n.startswith("rows-")]
GOOD_ROWS = [n for n in NAMES if n.startswith("good-rows-")]
FOLLOWS = [n for n in NAMES if "before" in expectation("contract", n)]
SINGLE = [n for n in NAMES if n not in ROWS + GOOD_ROWS + FOLLOWS]


def files(entries: dict[str, Any]) -> dict[str, bytes]:
    """The files of a case."""
    return {
        name: base64.b64decode(content["base64"]) if isinstance(content, dict) else content.encode()
        for name, content in entries.items()
    }


def valid(entries: dict[str, Any]) -> contract.Contract:
    """The contract of files that are one."""
    found, problems = contract.check(files(entries))
    assert problems == []
    assert found is not None
    return found


def test_no_vector_is_missing() -> None:
    assert len(NAMES) == len(ROWS) + len(GOOD_ROWS) + len(FOLLOWS) + len(SINGLE)
    assert len(ROWS) >= 19
    assert len(GOOD_ROWS) >= 2
    assert len(FOLLOWS) >= 12
    assert len(SINGLE) >= 69


@pytest.mark.parametrize("name", SINGLE)
def test_a_contract_has_the_one_problem(name: str) -> None:
    case = expectation("contract", name)
    found, problems = contract.check(files(case["files"]))
    if "problem" not in case:
        assert (problems, found is None) == ([], False)
        return
    wanted = case["problem"]
    assert [(p.code, p.file, p.field) for p in problems] == [
        (wanted["code"], wanted["file"], wanted["field"])
    ]


@pytest.mark.parametrize("name", FOLLOWS)
def test_a_contract_follows_or_does_not(name: str) -> None:
    case = expectation("contract", name)
    changes, problems = contract.follow(valid(case["before"]), valid(case["files"]))
    if "problem" not in case:
        assert problems == []
        assert [list(one) for one in changes.additions] == case.get("additions", [])
        assert [list(one) for one in changes.widenings] == case.get("widenings", [])
        return
    wanted = case["problem"]
    assert [(p.code, p.file, p.field) for p in problems] == [
        (wanted["code"], wanted["file"], wanted["field"])
    ]


def state(value: dict[str, tuple[str, Any]] | None) -> Any:
    """A state as these vectors write it."""
    if value is None:
        return None
    return {name: {"value": item} if kind == "value" else kind for name, (kind, item) in value.items()}


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_good_rows_are_read(name: str) -> None:
    case = expectation("contract", name)
    read = valid(case["files"])
    section = read.section(case["section"])
    assert read.digest.hex() == case["contract_digest"]
    assert sha256(section.schema).hex() == case["schema_digest"]
    content = bytes.fromhex("".join(row["hex"] for row in case["rows"]))
    decoded = rows.read_rows(section, content, len(case["rows"]))
    assert decoded
    for row, want in zip(decoded, case["rows"], strict=True):
        head = {key: row.head[key] for key in row.head if key != "parts"}
        shown = {**head, "key": row.key, "before": state(row.before), "after": state(row.after)}
        assert shown == {k: v for k, v in want.items() if k not in ("hex", "part_bytes")}
        assert row.content.hex() == want["hex"]
        assert [len(piece) for piece in row.pieces] == want["part_bytes"]


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_the_derived_schemas_are_those_of_the_vectors(name: str) -> None:
    case = expectation("contract", name)
    section = valid(case["files"]).section(case["section"])
    derived = {str(parts): rows.derived_schema(section, parts) for parts in range(4)}
    assert json.loads(json.dumps(derived)) == case["derived_schemas"]
    for schema in derived.values():
        assert fastavro.parse_schema(schema)


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_break_the_encoding_are_refused(name: str) -> None:
    case = expectation("contract", name)
    section = valid(case["files"]).section(case["section"])
    with pytest.raises(Refused) as refused:
        rows.read_rows(section, bytes.fromhex(case["hex"]), case["row_count"])
    assert refused.value.codes == ["OPE007"]
    where = case["refused"]
    what = refused.value.findings[0].what
    if "row" in where:
        assert what.startswith(f"row {where['row']}, byte {where['at']}: ")
    else:
        assert what == f"{where['leftover']} bytes after the last row"
