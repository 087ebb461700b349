"""Strict Ed25519 over CCTV's vectors, which say of each what is odd about it."""

from __future__ import annotations

import json

from ..ed25519 import verify
from .vectors import ROOT

REFUSED = {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"}


def test_exactly_the_strict_ones_verify() -> None:
    cases = json.loads((ROOT / "tests" / "vectors" / "cctv" / "ed25519vectors.json").read_bytes())
    assert len(cases) >= 900
    wrong = [
        case["number"]
        for case in cases
        if verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        == bool(REFUSED & set(case["flags"] or []))
    ]
    assert wrong == []
    assert any(not REFUSED & set(case["flags"] or []) for case in cases)
