"""The chain over its vectors: every step of every run, and the state after it."""

from __future__ import annotations

from typing import Any

import pytest

from ..chain import CODES, DROPPED, Facts, Machine, State
from .vectors import expectation, split_cases

GOOD, FAILURES = split_cases("chain")


def reference(shown: dict[str, Any] | None) -> tuple[int, bytes] | None:
    """A sequence and a digest."""
    return shown and (shown["sequence"], bytes.fromhex(shown["digest"]))


def part(shown: dict[str, Any] | None) -> tuple[int, int, bool] | None:
    """A snapshot's chunk."""
    return shown and (shown["generation"], shown["chunk"], shown["last"])


def mark(shown: list[int]) -> tuple[int, int, int]:
    """A position."""
    commit, ordinal, fragment = shown
    return commit, ordinal, fragment


def state_of(shown: dict[str, Any]) -> State:
    """The state of section 1."""
    return State(
        shown["epoch"],
        reference(shown["head"]),
        shown["incarnation"],
        mark(shown["last"]),
        shown["open"],
        part(shown["snapshot"]),
    )


def facts_of(shown: dict[str, Any]) -> Facts:
    """A batch as a vector shows it."""
    lost = [reference(one) for one in shown["lost"]]
    return Facts(
        epoch=shown["epoch"],
        sequence=shown["sequence"],
        digest=bytes.fromhex(shown["digest"]),
        previous=bytes.fromhex(shown["previous"]),
        kind=shown["kind"],
        incarnation=shown["incarnation"],
        first=mark(shown["first"]),
        last=mark(shown["last"]),
        rows=shown["rows"],
        continues=shown["continues"],
        leaves_open=shown["leaves_open"],
        begun=shown["transactions_begun"],
        ended=shown["transactions_ended"],
        snapshot=part(shown["snapshot"]),
        lost=tuple(one for one in lost if one is not None),
        lost_previous=bytes.fromhex(shown["lost_previous"]),
        voids=tuple(shown["voids"]),
    )


def take(machine: Machine, step: dict[str, Any]) -> str:
    """Hands the step's frame over."""
    if "fence" in step:
        return machine.fence(step["fence"]["epoch"])
    if "beacon" in step:
        return machine.beacon(step["beacon"]["epoch"], reference(step["beacon"]["head"]))
    return machine.batch(facts_of(step["batch"]))


@pytest.mark.parametrize("name", GOOD + FAILURES)
def test_every_step_of_a_run_is_what_the_vector_says(name: str) -> None:
    run = expectation("chain", name)
    machine = Machine(bytes.fromhex(run["genesis"]), state_of(run["begin"]))
    assert run["steps"]
    codes = []
    for number, step in enumerate(run["steps"]):
        before = machine.state
        said = take(machine, step)
        codes.append(CODES.get(said))
        assert (said, CODES.get(said)) == (step["step"], step["code"]), f"step {number}"
        assert machine.state == state_of(step["state"]), f"step {number}"
        assert said in ("accepted", "fenced") or machine.state == before, f"step {number}"
    assert [code for code in codes[-1:] if code] == run["expect"]
    halts = set(CODES) - DROPPED
    assert all(step["step"] not in halts for step in run["steps"][:-1])
    assert bool(run["expect"]) != name.startswith("good")


def test_every_code_has_a_run() -> None:
    assert {code for name in FAILURES for code in expectation("chain", name)["expect"]} == set(CODES.values())
    assert len(GOOD) >= 20
    assert len(FAILURES) >= 45
