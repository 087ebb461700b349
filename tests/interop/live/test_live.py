"""Verifies and opens dumps of what Rust wrote: GOVBRIDGE_DUMP names the folder of their folders (see reader/dump.py).

This file stands beside the reader's tests, so that only who names it runs it. Without the variable it fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reader import dump


DUMPS = ("path", "fragments")


@pytest.fixture(scope="module", params=DUMPS)
def read(request: pytest.FixtureRequest) -> dump.Dump:
    """A whole dump, read once; any record that does not hold ends it."""
    return dump.read(Path(os.environ["GOVBRIDGE_DUMP"]) / request.param)


def test_every_record_of_the_dump_holds(read: dump.Dump) -> None:
    print(read.summary())
    assert read.chains
    for chain in read.chains.values():
        assert chain.counts.fences >= 1
        assert chain.counts.batches >= 1
        assert sorted(chain.accepted) == list(range(chain.counts.batches))


def test_sections_were_opened_to_rows(read: dump.Dump) -> None:
    assert read.contracts
    assert read.records
    assert read.secrets
    assert read.opened >= 1
    assert read.rows >= 1
