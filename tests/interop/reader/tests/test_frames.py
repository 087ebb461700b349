"""Fences, beacons, key records, rewraps, contract and incarnation records over their vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .. import (
    beacon,
    contract_record,
    fence,
    frame,
    hpke,
    incarnation_record,
    key_record,
)
from ..finding import Refused
from .vectors import expectation, has_each_file_once, own_contract, reader, split_cases
from .vectors import frame as vector

KNOWN, KEYS = reader()


def read_key_record(content: bytes, expected: dict[str, Any]) -> Any:
    """Verifies; then looks at grants, or unwraps, as the vector's stage says."""
    record = key_record.verify(content, KNOWN)
    if expected["stage"] in ("grants", "verify") and record.fields["contract"] == own_contract().digest:
        findings = key_record.grant_findings(record, own_contract(), KNOWN)
        if findings:
            raise Refused(findings)
    for name in [expected["recipient"]] if "recipient" in expected else ["tax", "audit"]:
        secret = key_record.unwrap(record.fields["wraps"], record, KNOWN.recipient(name))
        section = next(s for s in KEYS["sections"] if s["name"] == record.fields["section"])
        assert secret.hex() == section["secret"]
    return record


def read_rewrap(content: bytes, expected: dict[str, Any]) -> Any:
    """Verifies with the record that the vectors rewrap; then unwraps."""
    record = key_record.verify(vector("key-record", KEYS["rewraps_are_of"].split("/")[1][:-4]), KNOWN)
    rewrap = key_record.verify_rewrap(content, KNOWN, record)
    assert rewrap.fields["contract"] == own_contract().digest
    findings = key_record.rewrap_findings(rewrap, own_contract(), KNOWN)
    if findings:
        raise Refused(findings)
    recipient = KNOWN.recipient(expected.get("recipient", "audit"))
    secret = key_record.unwrap(rewrap.fields["wraps"], record, recipient)
    assert secret.hex() == next(s for s in KEYS["sections"] if s["name"] == "amount")["secret"]
    return rewrap


READERS: dict[str, Callable[[bytes, dict[str, Any]], Any]] = {
    "fence": lambda content, _: fence.verify(content, KNOWN),
    "beacon": lambda content, _: beacon.verify(content, KNOWN),
    "key-record": read_key_record,
    "rewrap": read_rewrap,
    "contract-record": lambda content, _: contract_record.verify(content, KNOWN),
    "incarnation-record": lambda content, _: incarnation_record.verify(content, KNOWN),
}
# At least so many: a folder that lost its files fails.
COUNTS = {
    "fence": (1, 19),
    "beacon": (3, 25),
    "key-record": (2, 28),
    "rewrap": (1, 18),
    "contract-record": (1, 13),
    "incarnation-record": (1, 12),
}
GOOD = [(folder, name) for folder in READERS for name in split_cases(folder)[0]]
FAILURES = [(folder, name) for folder in READERS for name in split_cases(folder)[1]]


@pytest.mark.parametrize("folder", READERS)
def test_no_vector_is_missing(folder: str) -> None:
    good, failures = split_cases(folder)
    assert has_each_file_once(folder)
    assert len(good) >= COUNTS[folder][0]
    assert len(failures) >= COUNTS[folder][1]


@pytest.mark.parametrize(("folder", "name"), GOOD)
def test_a_good_frame_is_accepted(folder: str, name: str) -> None:
    expected = expectation(folder, name)
    read = READERS[folder](vector(folder, name), expected)
    assert expected["expect"] == []
    if "digest" in expected:
        assert read.digest.hex() == expected["digest"]
    if "contract_digest" in expected:
        assert read.contract.digest.hex() == expected["contract_digest"]


@pytest.mark.parametrize(("folder", "name"), FAILURES)
def test_a_failure_is_refused_with_its_codes(folder: str, name: str) -> None:
    expected = expectation(folder, name)
    with pytest.raises(Refused) as refused:
        READERS[folder](vector(folder, name), expected)
    assert refused.value.codes == sorted(expected["expect"])


@pytest.mark.parametrize(("folder", "name"), [case for case in FAILURES if case[0] != "rewrap"])
def test_a_failure_of_a_later_stage_passes_verification(folder: str, name: str) -> None:
    expected = expectation(folder, name)
    if folder == "key-record" and expected["stage"] != "verify":
        assert key_record.verify(vector(folder, name), KNOWN).digest
    else:
        assert expected["stage"] == "verify"


@pytest.mark.parametrize(("folder", "name"), GOOD)
def test_every_flipped_bit_is_refused(folder: str, name: str) -> None:
    content = vector(folder, name)
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(Refused):
            READERS[folder](bytes(changed), expectation(folder, name))


@pytest.mark.parametrize(("folder", "name"), GOOD)
def test_every_cut_is_refused(folder: str, name: str) -> None:
    content = vector(folder, name)
    for length in range(0, len(content), 11):
        with pytest.raises(Refused):
            READERS[folder](content[:length], expectation(folder, name))


def test_the_ephemeral_keys_of_the_spec_make_the_same_wraps() -> None:
    record = key_record.verify(vector("key-record", "good-payer"), KNOWN)
    for wrap, seed in zip(record.fields["wraps"], (0x11, 0x10), strict=True):
        recipient = KNOWN.recipient(wrap["recipient"])
        sealed = hpke.seal_base(
            hpke.derive_private(bytes([seed]) * 32),
            recipient.public,
            key_record.wrap_info(record, recipient),
            record.fields["commitment"],
            bytes([0xA1]) * 32,
        )
        assert sealed == (wrap["encapsulated"], wrap["ciphertext"])


def test_the_contract_entitles_whom_the_keys_file_says() -> None:
    for section in KEYS["sections"]:
        start = key_record.verify(
            vector("key-record", section["key_record_file"].split("/")[1][:-4]), KNOWN
        ).fields["valid_from"]
        assert sorted(own_contract().entitled(section["name"], start)) == section["entitled"]
        later = [at for at in own_contract().boundaries(section["name"]) if at > start]
        assert next(iter(later), None) == section["next_grant_change"]


def test_the_forms_are_told_apart_by_their_magic() -> None:
    for folder in READERS:
        good = split_cases(folder)[0][0]
        assert frame.form_of(vector(folder, good)).name == folder
