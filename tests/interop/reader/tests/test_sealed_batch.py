"""Sealed batches over their vectors: verified, opened, compared value by value."""

from __future__ import annotations

from typing import Any

import pytest

from .. import key_record, sealed_batch, shown
from ..finding import Finding, Refused
from ..wire import sha256
from .vectors import (
    expectation,
    frame,
    has_each_file_once,
    own_contract,
    reader,
    split_cases,
)

KNOWN, KEYS = reader()
GOOD, FAILURES = split_cases("sealed-batch")


def secrets() -> dict[str, bytes]:
    """The secret of each section, unwrapped with audit's key."""
    opened = {}
    for section in KEYS["sections"]:
        record = key_record.verify(frame("key-record", section["key_record_file"].split("/")[1][:-4]), KNOWN)
        assert record.digest.hex() == section["key_record_digest"]
        opened[section["name"]] = key_record.unwrap(record.fields["wraps"], record, KNOWN.recipient("audit"))
    return opened


SECRETS = secrets()


def read(content: bytes, expected: dict[str, Any]) -> list[sealed_batch.OpenSection]:
    """Verifies, then opens every section, with the keys that the vector offers."""
    known = KNOWN.offered(expected["offered_signers"]) if "offered_signers" in expected else KNOWN
    batch = sealed_batch.verify(content, known)
    opened: list[sealed_batch.OpenSection] = []
    findings: list[Finding] = []
    for block in batch.blocks:
        secret = bytes.fromhex(expected["secret"]) if "secret" in expected else SECRETS[block.name]
        try:
            opened.append(sealed_batch.open_section(batch, own_contract().section(block.name), secret))
        except Refused as refused:
            findings.extend(refused.findings)
    findings += sealed_batch.agreement_findings(opened) if not findings and opened else []
    if findings:
        raise Refused(findings)
    return opened


def test_no_vector_is_missing() -> None:
    assert has_each_file_once("sealed-batch")
    assert len(GOOD) >= 10
    assert len(FAILURES) >= 149


@pytest.mark.parametrize("name", GOOD)
def test_a_good_batch_opens_to_the_expected_values(name: str) -> None:
    expected = expectation("sealed-batch", name)
    batch = sealed_batch.verify(frame("sealed-batch", name), KNOWN)
    assert batch.digest.hex() == expected["digest"]
    assert batch.header_bytes.hex() == expected["header_bytes"]
    opened = read(frame("sealed-batch", name), expected)
    assert opened == [] or sealed_batch.header_findings(batch, opened[0]) == []
    assert len(opened) == len(expected["sections"])
    for section, block, want in zip(opened, batch.blocks, expected["sections"], strict=True):
        assert block.content.hex() == want["block_bytes"]
        assert block.fields["row_root"].hex() == want["row_root"]
        assert sha256(section.plaintext).hex() == want["plaintext_sha256"]
        without = {"block_bytes", "row_root", "plaintext_sha256"}
        assert shown.section(section) == {k: v for k, v in want.items() if k not in without}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_batch_fits_its_contract_and_key_records(name: str) -> None:
    batch = sealed_batch.verify(frame("sealed-batch", name), KNOWN)
    assert batch.header["contract"] == own_contract().digest
    assert sealed_batch.contract_findings(batch, own_contract().sections) == []
    for block in batch.blocks:
        record = key_record.verify(frame("key-record", f"good-{block.name}"), KNOWN)
        assert key_record.belonging_findings(record, batch, block) == []
        other = key_record.verify(
            frame("key-record", "good-amount" if block.name == "payer" else "good-payer"), KNOWN
        )
        assert [f.code for f in key_record.belonging_findings(other, batch, block)] == ["VER054"]


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_refused_with_its_codes(name: str) -> None:
    expected = expectation("sealed-batch", name)
    with pytest.raises(Refused) as refused:
        read(frame("sealed-batch", name), expected)
    assert refused.value.codes == sorted(expected["expect"])


@pytest.mark.parametrize("name", [n for n in FAILURES if expectation("sealed-batch", n)["stage"] == "open"])
def test_what_does_not_open_is_verified_before(name: str) -> None:
    assert sealed_batch.verify(frame("sealed-batch", name), KNOWN).blocks


@pytest.mark.parametrize("name", ["good", "good-truncate", "good-gap"])
def test_every_flipped_bit_is_refused(name: str) -> None:
    content = frame("sealed-batch", name)
    for place in range(0, len(content), 5):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(Refused):
            sealed_batch.verify(bytes(changed), KNOWN)


@pytest.mark.parametrize(
    ("length", "padded"),
    [(1, 1), (2, 2), (8, 8), (9, 10), (100, 104), (1000, 1024), (1025, 1088), (8_000_001, 8_126_464)],
)
def test_padding_goes_to_the_next_step(length: int, padded: int) -> None:
    assert sealed_batch.padme(length) == padded
