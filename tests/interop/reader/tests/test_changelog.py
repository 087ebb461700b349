"""Changelogs over their vectors: each SQL file makes a SQLite file that is then read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from .. import changelog
from ..finding import Refused
from .vectors import VECTORS, expectation, has_each_file_once, split_cases

GOOD, FAILURES = split_cases("changelog")


def read(folder: Path, name: str) -> list[changelog.Transaction]:
    """Makes the file and reads it."""
    path = folder / "source.db"
    made = sqlite3.connect(path, isolation_level=None)
    made.executescript((VECTORS / "changelog" / f"{name}.sql").read_text("utf-8"))
    made.close()
    tables = expectation("changelog", name)["tables"]
    asked = [changelog.Asked(t["name"], tuple(t["columns"]), tuple(t["key"])) for t in tables]
    source = changelog.Changelog(path, asked)
    try:
        return source.read()
    finally:
        source.close()


def value(item: changelog.Value) -> Any:
    """A value as the vectors write it."""
    kind, content = item
    if kind == "null":
        return None
    if kind == "integer":
        return {kind: str(content)}
    return {kind: content.hex() if isinstance(content, bytes) else content}


def shown(transaction: changelog.Transaction) -> dict[str, Any]:
    """A transaction as the vectors write it."""
    changes = []
    for change in transaction.changes:
        entry: dict[str, Any] = {"table": change.table, "operation": change.operation, "index": change.index}
        for name, state in (("before", change.before), ("after", change.after)):
            if state is not None:
                entry[name] = [value(item) for item in state]
        if change.with_next:
            entry["with_next"] = True
        changes.append(entry)
    boundary = transaction.boundary
    return {
        "changes": changes,
        "commit": boundary.upto,
        "committed_at": boundary.at,
        "number": boundary.number,
        "token": boundary.nonce.hex(),
    }


def test_no_vector_is_missing() -> None:
    assert has_each_file_once("changelog", ".sql")
    assert len(GOOD) >= 8
    assert len(FAILURES) >= 14


@pytest.mark.parametrize("name", GOOD)
def test_the_transactions_are_those_of_the_vector(name: str, tmp_path: Path) -> None:
    expected = expectation("changelog", name)["transactions"]
    transactions = [shown(transaction) for transaction in read(tmp_path, name)]
    assert expected
    for transaction, want in zip(transactions, expected, strict=True):
        # Time and token are the moment's own where the vector does not fix them.
        fixed = {k: v for k, v in transaction.items() if k in want or k == "changes"}
        assert fixed == want


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_ends_with_its_code(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, name)
    assert refused.value.codes == [expectation("changelog", name)["error"]]
