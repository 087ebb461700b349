"""Every folder of vectors has a test that reads it."""

from __future__ import annotations

from .vectors import VECTORS, cases

READ = {
    "beacon",
    "chain",
    "changelog",
    "contract",
    "contract-record",
    "fence",
    "fragments",
    "incarnation-record",
    "key-record",
    "log-entry",
    "rewrap",
    "sealed-batch",
    "trust",
}


def test_there_is_no_folder_that_nobody_reads() -> None:
    assert {path.name for path in VECTORS.iterdir() if path.is_dir()} == READ


def test_no_folder_is_empty() -> None:
    assert all(cases(folder) for folder in READ)
