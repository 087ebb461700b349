"""Where the vectors stand, and how tests list them so that an empty folder fails."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import contract, known

ROOT = Path(__file__).resolve().parents[4]
VECTORS = ROOT / "tests" / "vectors" / "govbridge"


def cases(folder: str) -> list[str]:
    """The names of a format's vectors."""
    return sorted(path.stem for path in (VECTORS / folder).glob("*.json"))


def split_cases(folder: str) -> tuple[list[str], list[str]]:
    """Good ones and failures."""
    names = cases(folder)
    return [n for n in names if n.startswith("good")], [n for n in names if not n.startswith("good")]


def expectation(folder: str, name: str) -> dict[str, Any]:
    """The JSON of a vector."""
    content: dict[str, Any] = json.loads((VECTORS / folder / f"{name}.json").read_bytes())
    return content


def frame(folder: str, name: str) -> bytes:
    """The bytes of a vector."""
    return (VECTORS / folder / f"{name}.bin").read_bytes()


def has_each_file_once(folder: str, suffix: str = ".bin") -> bool:
    """Whether each vector has both files and no file stands alone."""
    files = {path.stem for path in (VECTORS / folder).glob(f"*{suffix}")}
    return bool(files) and files == set(cases(folder))


@lru_cache
def reader() -> tuple[known.Known, dict[str, Any]]:
    """What keys.json says."""
    return known.load(VECTORS / "keys.json")


@lru_cache
def own_contract() -> contract.Contract:
    """The contract of the sealed batches."""
    folder = (VECTORS / reader()[1]["contract_file"]).parent
    valid, problems = contract.check({path.name: path.read_bytes() for path in folder.iterdir()})
    if valid is None:
        raise AssertionError(problems)
    return valid
