"""Trust files over their vectors."""

from __future__ import annotations

from typing import Any

import pytest

from .. import hpke, trust
from ..finding import Refused
from ..note import unbase64
from ..wire import sha256
from .vectors import cases, expectation

NAMES = cases("trust")


def judge(case: dict[str, Any]) -> trust.Trust:
    """Verifies what comes before, then the note."""
    pin, before = bytes.fromhex(case["pin"]), None
    for note in case["before"]:
        before = trust.verify(note.encode(), pin, before)
    remembered = None
    if "remembered" in case:
        remembered = case["remembered"]["version"], bytes.fromhex(case["remembered"]["digest"])
    return trust.verify(case["note"].encode(), pin, before, remembered)


def test_no_vector_is_missing() -> None:
    assert len(NAMES) >= 46
    assert {"good-1", "good-2"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_trust_file_is_judged_as_expected(name: str) -> None:
    case = expectation("trust", name)
    if name.startswith("good"):
        assert case["expected"] == "ok"
        assert judge(case).version == int(name[-1])
        return
    with pytest.raises(Refused) as refused:
        judge(case)
    assert refused.value.codes == [case["expected"]]


def test_the_digest_of_the_worked_example() -> None:
    case = expectation("trust", "good-1")
    assert judge(case).digest.hex() == "e1014c49806a72662435ada2900befb0c65647547121f5e0818543aa7b89ffcd"


def test_the_recipient_key_is_that_of_its_seed() -> None:
    file = judge(expectation("trust", "good-1"))
    tax = next(d for d in file.content["department"] if d["name"] == "tax")
    seed = sha256(b"govbridge/v1/vector/recipient/tax")
    assert unbase64(tax["recipient"][0]["key"].split("+", 2)[2])[2:] == hpke.public_of(seed)
