"""A folder of records as they stood in Kafka: `<topic>/<offset>.bin`, and keys.json beside the topics.

Everything is verified and opened: the contracts with their schemas, the key records under the contracts' grants,
each stream's chain, each batch's sections, each beacon's proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import (
    beacon,
    contract,
    contract_record,
    fence,
    frame,
    incarnation_record,
    key_record,
    log_entry,
    sealed_batch,
)
from . import note as notes
from .chain import Chain, Machine
from .finding import Finding, Refused, raise_if, refuse
from .fragments import Pieces
from .known import Known, load, streams
from .wire import genesis

Read = TypeVar("Read")
KEYS_TOPIC = "govbridge.keys"
CONTRACTS_TOPIC = "govbridge.contracts"


@dataclass
class Dump:
    """What was read of a dump."""

    streams: list[Known]
    logs: dict[str, notes.VerifierKey]
    contracts: dict[bytes, contract.Contract] = field(default_factory=dict)
    incarnations: dict[bytes, incarnation_record.IncarnationRecord] = field(default_factory=dict)
    records: dict[bytes, tuple[key_record.KeyRecord, Known]] = field(default_factory=dict)
    secrets: dict[bytes, bytes] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    opened: int = 0
    closed: int = 0
    rows: int = 0
    proofs: int = 0

    def summary(self) -> dict[str, Any]:
        """The counts, for people and for tests."""
        return {
            "contracts": len(self.contracts),
            "incarnations": len(self.incarnations),
            "key_records": len(self.records),
            "secrets": len(self.secrets),
            "streams": {topic: asdict(chain.counts) for topic, chain in self.chains.items()},
            "sections_opened": self.opened,
            "sections_closed": self.closed,
            "rows": self.rows,
            "proofs": self.proofs,
        }


def records(folder: Path) -> Iterator[tuple[int, bytes]]:
    """The records of a topic in the order of their offsets."""
    for path in sorted(folder.glob("*.bin"), key=lambda p: int(p.stem)):
        yield int(path.stem), path.read_bytes()


def read(folder: Path) -> Dump:
    """Reads the whole dump, or Refused at the first record that does not hold."""
    known, content = load(folder / "keys.json")
    logs = {log["origin"]: notes.verifier_key(log["vkey"]) for log in content.get("logs", [])}
    dump = Dump(streams(known, content), logs)
    _each(folder / CONTRACTS_TOPIC, lambda _, record: _contract(dump, record))
    _each(folder / KEYS_TOPIC, lambda _, record: _keys(dump, record))
    for stream in dump.streams:
        topic = f"govbridge.{stream.stream.department}.{stream.stream.dataset}"
        if not (folder / topic).is_dir():
            raise FileNotFoundError(folder / topic)
        dump.chains[topic] = chain = Chain(Machine(_genesis(stream)))
        _each(folder / topic, _stream_reader(dump, stream, chain))
    return dump


def _genesis(known: Known) -> bytes:
    stream = known.stream
    return genesis(stream.origin, stream.department, stream.dataset, stream.partition)


def _each(folder: Path, handle: Callable[[int, bytes], None]) -> None:
    for offset, record in records(folder):
        try:
            handle(offset, record)
        except Refused as refused:
            where = f"{folder.name} offset {offset}"
            raise Refused(Finding(f.code, f"{where}: {f.what}") for f in refused.findings) from None


def _by_any(dump: Dump, verify: Callable[[Known], Read]) -> tuple[Read, Known]:
    """What one of the streams' departments verifies; the last refusal when none does."""
    refusal: Refused | None = None
    for known in dump.streams:
        try:
            return verify(known), known
        except Refused as refused:
            refusal = refused
    raise refusal or ValueError("no stream is known")


def _contract(dump: Dump, content: bytes) -> None:
    if frame.form_of(content) is frame.INCARNATION:
        incarnation, _ = _by_any(dump, lambda known: incarnation_record.verify(content, known))
        dump.incarnations[incarnation.digest] = incarnation
        return
    record, _ = _by_any(dump, lambda known: contract_record.verify(content, known))
    after = record.contract
    of_dataset = [c for c in dump.contracts.values() if c.content["dataset"] == after.content["dataset"]]
    if of_dataset:
        _, problems = contract.follow(of_dataset[-1], after)
        raise_if(Finding(p.code, f"{p.file} {p.field}") for p in problems)
    dump.contracts[after.digest] = after


def _keys(dump: Dump, content: bytes) -> None:
    if frame.form_of(content) is frame.REWRAP:
        _rewrap(dump, content)
        return
    record, known = _by_any(dump, lambda known: key_record.verify(content, known))
    of = dump.contracts.get(record.fields["contract"])
    if of is None:
        raise refuse("VER060", "a key record under a contract that is not there")
    raise_if(key_record.grant_findings(record, of, known))
    dump.records[record.digest] = record, known
    _unwrap(dump, record, record.fields["wraps"], known)


def _rewrap(dump: Dump, content: bytes) -> None:
    """A rewrap names its key record in a body that is not verified yet; it is verified with that record."""
    split = frame.split(content, frame.REWRAP)
    for record, known in dump.records.values():
        if record.digest in split.body:
            rewrap = key_record.verify_rewrap(content, known, record)
            of = dump.contracts.get(rewrap.fields["contract"])
            if of is None:
                raise refuse("VER060", "a rewrap under a contract that is not there")
            raise_if(key_record.rewrap_findings(rewrap, of, known))
            _unwrap(dump, record, rewrap.fields["wraps"], known)
            return
    raise refuse("VER064", "a rewrap of a key record that is not there")


def _unwrap(dump: Dump, record: key_record.KeyRecord, wraps: list[dict[str, Any]], known: Known) -> None:
    """Opens each wrap that there is a private key for; they must all hold the same secret."""
    named = {(wrap["recipient"], wrap["key"]) for wrap in wraps}
    for recipient in known.recipients:
        if recipient.private and (recipient.department, recipient.key_id) in named:
            dump.secrets[record.digest] = key_record.unwrap(wraps, record, recipient)


def _stream_reader(dump: Dump, known: Known, chain: Chain) -> Callable[[int, bytes], None]:
    pieces = Pieces()

    def handle(offset: int, content: bytes) -> None:
        form = frame.form_of(content)
        if form is frame.FENCE:
            chain.fence(offset, fence.verify(content, known))
        elif form is frame.BEACON:
            read_beacon = beacon.verify(content, known)
            if chain.beacon(offset, read_beacon):
                _proof(dump, chain, read_beacon)
        else:
            batch = sealed_batch.verify(content, known)
            if chain.batch(offset, batch):
                _open(dump, pieces, batch)

    return handle


def _open(dump: Dump, pieces: Pieces, batch: sealed_batch.Batch) -> None:
    """Opens every section whose secret there is, under the batch's contract and key records."""
    of = dump.contracts.get(batch.header["contract"])
    if of is None:
        raise refuse("VER060", "a batch under a contract that is not there")
    raise_if(sealed_batch.contract_findings(batch, of.sections))
    secrets = {}
    for block in batch.blocks:
        record, _ = dump.records.get(block.fields["key_record"], (None, None))
        if record is None:
            raise refuse("VER064", f"the key record of section {block.name} is not there")
        raise_if(key_record.belonging_findings(record, batch, block))
        secret = dump.secrets.get(record.digest)
        if secret is None:
            dump.closed += 1
        else:
            secrets[block.name] = of.section(block.name), secret
    if batch.header["fragment"] is not None:
        opened = pieces.open(batch, secrets)
    else:
        pieces.leave()
        opened = [
            sealed_batch.open_section(batch, section, secret) for section, secret in secrets.values()
        ]
    if opened:
        raise_if(sealed_batch.agreement_findings(opened) + sealed_batch.header_findings(batch, opened[0]))
        dump.opened += len(opened)
        dump.rows += batch.rows


def _proof(dump: Dump, chain: Chain, read_beacon: beacon.Beacon) -> None:
    """What the beacon says that the log holds: the entry of a batch of this stream, under a checkpoint."""
    fields = read_beacon.fields
    appended = fields["appended"]
    if appended is None:
        return
    entry = log_entry.decode(appended["entry"]).fields
    batch = chain.accepted.get(entry["sequence"])
    if batch is None or log_entry.batch_entry_differences(entry, batch.header, batch.digest):
        raise refuse("VER072", f"the log holds another batch {entry['sequence']}")
    try:
        checkpoint = notes.checkpoint(appended["checkpoint"])
    except notes.NotANote as reason:
        raise refuse("VER070", str(reason)) from None
    if checkpoint.origin != fields["origin"]:
        raise refuse("VER070", f"a checkpoint of {checkpoint.origin}")
    vkey = dump.logs.get(fields["origin"])
    if vkey is not None and not notes.is_signed_by(checkpoint.note, vkey):
        raise refuse("VER070", "a checkpoint that its log did not sign")
    problem = beacon.proof_problem(appended, checkpoint)
    if problem is not None:
        raise refuse("VER071", problem)
    dump.proofs += 1
