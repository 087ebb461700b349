"""A dump made of vectors is read from end to end, and refused when something is missing or moved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .. import dump
from ..__main__ import main
from ..beacon import Beacon, root_of_path
from ..chain import Chain, Machine
from ..fence import Fence
from ..finding import Refused
from ..frame import BATCH, BEACON, split
from ..sealed_batch import Batch, tree_root, verify
from ..wire import sha256
from . import forge
from .vectors import VECTORS, frame, reader

STREAM = "govbridge.tax.payments"
CONTRACTS = [("contract-record", "good"), ("incarnation-record", "good")]
KEYS = [("key-record", "good-payer"), ("key-record", "good-amount"), ("rewrap", "good")]
FIRST = verify(frame("sealed-batch", "good-first-of-stream"), reader()[0])
BATCHES = [("fence", "good"), ("sealed-batch", "good-first-of-stream")]


def write(
    folder: Path,
    batches: list[tuple[str, str]] = BATCHES,
    keys: list[tuple[str, str]] = KEYS,
    contracts: list[tuple[str, str]] = CONTRACTS,
) -> Path:
    """Writes a dump of these vectors."""
    topics = {STREAM: batches, dump.KEYS_TOPIC: keys, dump.CONTRACTS_TOPIC: contracts}
    for topic, records in topics.items():
        (folder / topic).mkdir()
        for offset, (of, name) in enumerate(records, 8):
            (folder / topic / f"{offset}.bin").write_bytes(frame(of, name))
    content = json.loads((VECTORS / "keys.json").read_bytes())
    kept = {key: content[key] for key in ("expected", "signers", "recipients")}
    (folder / "keys.json").write_text(json.dumps(kept), "utf-8")
    return folder


def test_a_dump_is_read_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = [*BATCHES, ("sealed-batch", "good-first-of-stream"), ("fence", "good")]
    summary = dump.read(write(tmp_path, again)).summary()
    assert summary == {
        "contracts": 1,
        "incarnations": 1,
        "key_records": 2,
        "secrets": 2,
        "streams": {STREAM: {"fences": 1, "batches": 1, "beacons": 0, "late": 1, "again": 1, "ahead": 0}},
        "sections_opened": 2,
        "sections_closed": 0,
        "rows": 1,
        "proofs": 0,
    }
    assert main(["--dump", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == summary


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"batches": BATCHES[1:]}, "CHA001"),
        ({"batches": [BATCHES[0], ("sealed-batch", "good"), ("beacon", "good")]}, "CHA004"),
        ({"batches": [*BATCHES, ("sealed-batch", "good")]}, "CHA003"),
        ({"batches": [*BATCHES, ("sealed-batch", "flipped-bit-in-ciphertext")]}, "VER041"),
        ({"batches": [*BATCHES, ("beacon", "good")]}, "CHA004"),
        ({"keys": KEYS[1:]}, "VER064"),
        ({"keys": [KEYS[2]]}, "VER064"),
        ({"keys": [*KEYS, ("key-record", "wrapped-for-an-outsider")]}, "VER050"),
        ({"contracts": CONTRACTS[1:]}, "VER060"),
    ],
)
def test_a_dump_that_does_not_hold_is_refused(
    tmp_path: Path, changed: dict[str, Any], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, **changed)
    with pytest.raises(Refused) as refused:
        dump.read(tmp_path)
    assert refused.value.codes == [code]
    assert main(["--dump", str(tmp_path)]) == 1
    assert code in capsys.readouterr().out


def longer(folder: Path, **changed: Any) -> None:
    """Adds a second batch, and a beacon that proves the first one."""
    header = FIRST.header
    position = header["last"]
    without_rows = verify(frame("sealed-batch", "good-without-rows"), reader()[0]).header
    second = {
        **without_rows,
        "previous": FIRST.digest,
        "first": position,
        "last": position,
        "resolved": {"commit": position["commit"], "ordinal": 2**64 - 1},
    }
    content = forge.signed(BATCH, second)
    digest = split(content, BATCH).digest
    names = ("origin", "department", "dataset", "partition", "epoch", "incarnation")
    said = {
        **{name: second[name] for name in names},
        "head": {"sequence": 1, "digest": digest, "last": position},
        "place": {
            "offset": 10,
            "epoch": 3,
            "head": {"sequence": 0, "digest": FIRST.digest},
            "incarnation": 1,
            "last": {name: header["last"][name] for name in ("commit", "ordinal", "fragment")},
            "open": None,
            "snapshot": None,
        },
        "resolved": second["resolved"],
        "appended": {**forge.appended(forge.entry_of(header, FIRST.digest)), **changed},
        "clock": 1,
        "next_due": 2,
    }
    (folder / STREAM / "10.bin").write_bytes(content)
    (folder / STREAM / "11.bin").write_bytes(forge.signed(BEACON, said))
    keys = json.loads((folder / "keys.json").read_text("utf-8"))
    keys["logs"] = [{"origin": header["origin"], "vkey": forge.log_vkey()}]
    (folder / "keys.json").write_text(json.dumps(keys), "utf-8")


def test_a_beacons_proof_is_verified(tmp_path: Path) -> None:
    longer(write(tmp_path))
    summary = dump.read(tmp_path).summary()
    assert summary["streams"][STREAM] == {"fences": 1, "batches": 2, "beacons": 1, "late": 0, "again": 0, "ahead": 0}
    assert summary["proofs"] == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"index": 0}, "VER071"),
        ({"path": []}, "VER071"),
        ({"entry": forge.entry_of({**FIRST.header, "epoch": 2}, FIRST.digest)}, "VER072"),
        ({"checkpoint": "gov.example/tax/main\n"}, "VER070"),
        ({"checkpoint": forge.appended(b"x")["checkpoint"].replace("\n3\n", "\n4\n")}, "VER070"),
    ],
)
def test_a_proof_that_does_not_hold_is_refused(tmp_path: Path, changed: dict[str, Any], code: str) -> None:
    longer(write(tmp_path), **changed)
    with pytest.raises(Refused) as refused:
        dump.read(tmp_path)
    assert refused.value.codes == [code]


def test_the_command_prints_what_is_in_the_frames(capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["--keys", str(VECTORS / "keys.json")]
    assert main([str(VECTORS / "sealed-batch" / "good.bin"), *keys]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [len(section["rows"]) for section in printed["sections"]] == [3, 3]
    assert printed["sections"][0]["rows"][0]["after"][0] == ["full_name", "value", "李四"]
    for folder in ("fence", "beacon", "contract-record", "incarnation-record", "rewrap"):
        assert main([str(VECTORS / folder / "good.bin"), *keys]) == 0
        assert json.loads(capsys.readouterr().out)["form"] == folder
    assert main([str(VECTORS / "log-entry" / "good-batch.bin"), "--entry", *keys]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == 2
    assert main([str(VECTORS / "sealed-batch" / "zstd-cut.bin"), *keys]) == 1
    assert json.loads(capsys.readouterr().out)["refused"][0]["code"] == "OPE005"


def batch(sequence: int, previous: bytes, **changed: Any) -> Batch:
    """A batch like the first one, one commit later for each sequence."""
    at = {**FIRST.header["first"], "commit": FIRST.header["first"]["commit"] + sequence}
    end = {**FIRST.header["last"], "commit": at["commit"]}
    header = {**FIRST.header, "sequence": sequence, "previous": previous, "first": at, "last": end, **changed}
    return replace(FIRST, header=header, digest=sha256(repr(sorted(header.items())).encode()))


def begun() -> tuple[Chain, Batch]:
    """A chain after a fence and its first batch."""
    chain, first = Chain(Machine(FIRST.header["previous"])), batch(0, FIRST.header["previous"])
    chain.fence(0, fence(3))
    assert chain.batch(1, first)
    return chain, first


def fence(epoch: int) -> Fence:
    """A fence of that epoch."""
    return Fence({"epoch": epoch}, bytes(32))


def test_a_chain_follows_sequences_digests_and_epochs() -> None:
    chain, first = begun()
    second = batch(1, first.digest, epoch=3)
    assert chain.batch(5, second)
    chain.fence(6, fence(4))
    assert not chain.batch(7, batch(2, second.digest, epoch=3))
    assert chain.batch(8, batch(2, second.digest, epoch=4))
    assert not chain.batch(9, batch(2, second.digest, epoch=4))
    assert (chain.counts.batches, chain.counts.late, chain.counts.again) == (3, 1, 1)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"sequence": 0}, "CHA002"),
        ({"previous": bytes(32)}, "CHA003"),
        ({"epoch": 4}, "CHA001"),
        ({"first": {"commit": 1, "ordinal": 1, "fragment": 0, "token": b""}}, "CHA005"),
        ({"continues": True}, "CHA007"),
        ({"incarnation": 2}, "CHA008"),
    ],
)
def test_a_batch_that_does_not_follow_is_refused(changed: dict[str, Any], code: str) -> None:
    chain, first = begun()
    with pytest.raises(Refused) as refused:
        chain.batch(2, batch(**{"sequence": 1, "previous": first.digest, **changed}))
    assert refused.value.codes == [code]


def test_a_batch_ahead_waits_for_what_a_beacon_says() -> None:
    chain, first = begun()
    assert not chain.batch(2, batch(2, first.digest))
    assert chain.counts.ahead == 1


def test_an_open_transaction_must_be_continued() -> None:
    chain, first = begun()
    opened = batch(1, first.digest, leaves_open=True, transactions_ended=0)
    assert chain.batch(2, opened)
    for changed in ({}, {"continues": True}):
        with pytest.raises(Refused) as refused:
            chain.batch(3 + len(changed), batch(2, opened.digest, **changed))
        assert refused.value.codes == ["CHA007"]


def beacon(chain: Chain, offset: int, **changed: Any) -> Beacon:
    """A beacon that says where the chain stands, at the place before a record."""
    assert chain.state.head is not None
    sequence, digest = chain.state.head
    last = dict(zip(("commit", "ordinal", "fragment"), chain.state.last, strict=True))
    place = {
        "offset": offset,
        "epoch": 3,
        "head": {"sequence": sequence, "digest": digest},
        "incarnation": FIRST.header["incarnation"],
        "last": last,
        "open": None,
        "snapshot": None,
    }
    head = {"sequence": sequence, "digest": digest, "last": last}
    return Beacon({"epoch": 3, "head": head, "place": {**place, **changed}}, bytes(32))


def test_a_beacon_says_where_the_stream_stands() -> None:
    chain, first = begun()
    assert chain.beacon(2, beacon(chain, 2))
    assert chain.batch(3, batch(1, first.digest))
    assert chain.beacon(4, beacon(chain, 4))
    assert chain.beacon(5, beacon(chain, 1, head=None))


@pytest.mark.parametrize(
    "changed",
    [
        {"epoch": 2},
        {"head": None},
        {"incarnation": 9},
        {"open": 42},
        {"last": {"commit": 0, "ordinal": 0, "fragment": 0}},
        {"offset": 1},
        {"offset": 9},
    ],
)
def test_a_place_where_the_stream_does_not_stand_is_refused(changed: dict[str, Any]) -> None:
    chain, _ = begun()
    with pytest.raises(Refused) as refused:
        chain.beacon(2, beacon(chain, **{"offset": 2, **changed}))
    assert refused.value.codes == ["VER032"]


def test_inclusion_paths_lead_to_the_root() -> None:
    leaves = [sha256(b"\x00", bytes([i])) for i in range(23)]
    for size in range(1, len(leaves) + 1):
        for index in range(size):
            path = inclusion_path(leaves[:size], index)
            assert root_of_path(leaves[index], index, size, path) == tree_root(leaves[:size])
            assert root_of_path(leaves[index], index, size, [*path, bytes(32)]) is None
            assert root_of_path(leaves[index], size, size, path) is None


def inclusion_path(leaves: list[bytes], index: int) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    cut = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < cut:
        return [*inclusion_path(leaves[:cut], index), tree_root(leaves[cut:])]
    return [*inclusion_path(leaves[cut:], index - cut), tree_root(leaves[:cut])]
