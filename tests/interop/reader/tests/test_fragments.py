"""Rows in fragments over their vectors."""

from __future__ import annotations

import pytest

from .. import sealed_batch
from ..finding import Refused
from ..fragments import Pieces
from .test_sealed_batch import SECRETS
from .vectors import expectation, frame, has_each_file_once, own_contract, reader, split_cases

KNOWN, _ = reader()
GOOD, FAILURES = split_cases("fragments")


def frames(name: str) -> list[bytes]:
    """The frames that stand in a vector, one after the other."""
    content, found = frame("fragments", name), []
    while content:
        length = int.from_bytes(content[:4], "big")
        found.append(content[4 : 4 + length])
        content = content[4 + length :]
    return found


def read(
    name: str, only: tuple[str, ...] = ("payer", "amount")
) -> tuple[list[sealed_batch.Batch], list[sealed_batch.OpenSection]]:
    """The batches, each verified, and what the last fragment gave."""
    can_open = {section: (own_contract().section(section), SECRETS[section]) for section in only}
    pieces, batches, opened = Pieces(), [], []
    for content in frames(name):
        batch = sealed_batch.verify(content, KNOWN)
        batches.append(batch)
        if batch.header["fragment"] is None:
            pieces.leave()
        else:
            assert opened == [], "nothing is given out before the last fragment"
            opened = pieces.open(batch, can_open)
    return batches, opened


def test_no_vector_is_missing() -> None:
    assert has_each_file_once("fragments")
    assert len(GOOD) >= 4
    assert len(FAILURES) >= 17


@pytest.mark.parametrize("name", GOOD)
def test_a_good_row_is_put_together(name: str) -> None:
    batches, opened = read(name)
    expected = expectation("fragments", name)
    assert [section.name for section in opened] == ["payer", "amount"]
    assert sealed_batch.agreement_findings(opened) == []
    assert sealed_batch.header_findings(batches[-1], opened[0]) == []
    if "sections" not in expected:
        return
    assert [batch.digest.hex() for batch in batches] == expected["digests"]
    assert {batch.header["fragment"]["total_bytes"] for batch in batches} == {expected["total_bytes"]}
    for section, want in zip(opened, expected["sections"], strict=True):
        assert section.content.hex() == want["row"] == "".join(want["slices"])
        assert [row.leaf.hex() for row in section.rows] == [want["leaf"]]
        roots = [
            block.fields["row_root"].hex()
            for batch in batches
            for block in batch.blocks
            if block.name == section.name
        ]
        assert roots == want["row_roots"]


@pytest.mark.parametrize("name", GOOD)
def test_a_section_is_put_together_without_the_others(name: str) -> None:
    _, opened = read(name, ("amount",))
    assert [section.name for section in opened] == ["amount"]


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_refused_with_its_codes(name: str) -> None:
    with pytest.raises(Refused) as refused:
        read(name)
    assert refused.value.codes == sorted(expectation("fragments", name)["expect"])
