"""Key records and rewraps (docs/spec/key-record.md, docs/spec/rewrap.md)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from . import avro, hpke, suite
from .contract import Contract
from .finding import Finding, raise_if, refuse
from .frame import KEY_RECORD, REWRAP, verified_fields
from .known import Known, Recipient
from .sealed_batch import Batch, Block
from .wire import lp, u16


@dataclass(frozen=True)
class KeyRecord:
    """A verified key record."""

    fields: dict[str, Any]
    digest: bytes


@dataclass(frozen=True)
class Rewrap:
    """A verified rewrap, and the record that it is of."""

    fields: dict[str, Any]
    digest: bytes
    record: KeyRecord


def _wraps_findings(wraps: list[dict[str, Any]]) -> list[Finding]:
    named = {(wrap["recipient"], wrap["key"]) for wrap in wraps}
    found = [] if wraps else [Finding("VER032", "wrapped for nobody")]
    return found if len(named) == len(wraps) else [Finding("VER032", "wrapped twice for one key")]


def verify(content: bytes, known: Known) -> KeyRecord:
    """The key record, or Refused. Its grants are looked at by `grant_findings`."""
    frame, fields = verified_fields(content, KEY_RECORD, known)
    found = avro.require_suite(fields) + _wraps_findings(fields["wraps"])
    if fields["department"] != known.stream.department:
        found.append(Finding("VER020", f"a key record of {fields['department']}"))
    if fields["not_after"] <= fields["valid_from"]:
        found.append(Finding("VER032", "it ends at or before its beginning"))
    raise_if(found)
    return KeyRecord(fields, frame.digest)


def verify_rewrap(content: bytes, known: Known, record: KeyRecord) -> Rewrap:
    """The rewrap of that verified record, or Refused."""
    frame, fields = verified_fields(content, REWRAP, known)
    found = _wraps_findings(fields["wraps"])
    if fields["key_record"] != record.digest:
        found.append(Finding("VER054", "a rewrap of another key record"))
    elif fields["made"] < record.fields["valid_from"]:
        found.append(Finding("VER032", "made before its key version began"))
    raise_if(found)
    return Rewrap(fields, frame.digest, record)


def rewrap_findings(rewrap: Rewrap, contract: Contract, known: Known) -> list[Finding]:
    """VER050, VER052 and VER054, under the contract that the rewrap names."""
    fields, of = rewrap.fields, rewrap.record.fields
    content = contract.content
    if (content["department"], content["dataset"]) != (of["department"], of["dataset"]):
        return [Finding("VER054", "a rewrap under a contract of another dataset")]
    if all(section.name != of["section"] for section in contract.sections):
        return [Finding("VER054", "a rewrap under a contract without the section")]
    return wrap_findings(fields["wraps"], rewrap.record, contract, known, fields["made"])


def wrap_findings(
    wraps: list[dict[str, Any]], record: KeyRecord, contract: Contract, known: Known, at: int
) -> list[Finding]:
    """VER050 and VER052: wraps for outsiders at that instant, or under keys that are nobody's."""
    fields = record.fields
    entitled = contract.entitled(fields["section"], at) | {fields["department"]}
    theirs = {(recipient.department, recipient.key_id) for recipient in known.recipients}
    found = []
    for wrap in wraps:
        if wrap["recipient"] not in entitled:
            found.append(Finding("VER050", f"wrapped for {wrap['recipient']}"))
        if (wrap["recipient"], wrap["key"]) not in theirs:
            found.append(Finding("VER052", f"a key that is not {wrap['recipient']}'s"))
    return found


def grant_findings(record: KeyRecord, contract: Contract, known: Known) -> list[Finding]:
    """VER050 to VER053, under the contract that the record names."""
    fields = record.fields
    section, start = fields["section"], fields["valid_from"]
    found = wrap_findings(fields["wraps"], record, contract, known, start)
    wanted = contract.entitled(section, start) | {fields["department"]}
    missing = wanted - {wrap["recipient"] for wrap in fields["wraps"]}
    found += [Finding("VER051", f"no wrap for {name}") for name in sorted(missing)]
    if any(start < at < fields["not_after"] for at in contract.boundaries(section)):
        found.append(Finding("VER053", "a grant starts or ends inside the record's life"))
    return found


def belonging_findings(record: KeyRecord, batch: Batch, block: Block) -> list[Finding]:
    """VER054: the record is not that of the batch's section."""
    expected = {
        "suite": batch.header["suite"],
        "department": batch.header["department"],
        "dataset": batch.header["dataset"],
        "section": block.name,
        "contract": batch.header["contract"],
    }
    wrong = [name for name, value in expected.items() if record.fields[name] != value]
    if record.digest != block.fields["key_record"]:
        wrong.append("digest")
    return [Finding("VER054", f"the key record's {', '.join(wrong)}")] if wrong else []


def wrap_info(record: KeyRecord, recipient: Recipient) -> bytes:
    """HPKE's info for a wrap (section 2)."""
    fields = record.fields
    parts = [
        b"govbridge/v1/wrap\0",
        u16(fields["suite"]),
        fields["department"].encode(),
        fields["dataset"].encode(),
        fields["section"].encode(),
        fields["contract"],
        recipient.department.encode(),
        recipient.key_id,
    ]
    return b"".join(map(lp, parts))


def unwrap(wraps: list[dict[str, Any]], record: KeyRecord, recipient: Recipient) -> bytes:
    """E, by the recipient's private key, or Refused."""
    if recipient.private is None:
        raise ValueError(f"no private key of {recipient.department}")
    wanted = (recipient.department, recipient.key_id)
    wrap = next((w for w in wraps if (w["recipient"], w["key"]) == wanted), None)
    if wrap is None:
        raise refuse("OPE010", f"no wrap for {recipient.department}")
    secret = hpke.open_base(
        recipient.private,
        wrap["encapsulated"],
        wrap_info(record, recipient),
        record.fields["commitment"],
        wrap["ciphertext"],
    )
    if secret is None:
        raise refuse("OPE011", f"the wrap for {recipient.department} does not open")
    if not hmac.compare_digest(commitment(secret), record.fields["commitment"]):
        raise refuse("OPE012", "another secret than the record commits to")
    return secret


def commitment(secret: bytes) -> bytes:
    """What a key record commits to."""
    return suite.hkdf(secret, b"govbridge/v1/key-version\0")
