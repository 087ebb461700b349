"""Signed frames (docs/spec/README.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import avro, ed25519
from .finding import Finding, Refused, raise_if, refuse
from .known import Known
from .wire import ED25519, sha256


@dataclass(frozen=True)
class Form:
    """What tells one kind of frame from another."""

    name: str
    magic: bytes
    label: bytes
    limit: int
    schema: str


def _form(name: str, magic: bytes, label: bytes, limit: int, schema: str) -> Form:
    return Form(name, magic, b"govbridge/v1/" + label + b"\0", limit, schema)


BATCH = _form("sealed-batch", b"GBB1", b"batch", 65_536, "header")
FENCE = _form("fence", b"GBF1", b"fence", 4_096, "fence")
BEACON = _form("beacon", b"GBN1", b"beacon", 65_536, "beacon")
KEY_RECORD = _form("key-record", b"GBK1", b"key-record", 61_440, "key-record")
REWRAP = _form("rewrap", b"GBR1", b"rewrap", 61_440, "rewrap")
CONTRACT = _form("contract-record", b"GBC1", b"contract", 61_440, "contract-record")
INCARNATION = _form("incarnation-record", b"GBI1", b"incarnation", 8_192, "incarnation-record")
FORMS = {f.magic: f for f in (BATCH, FENCE, BEACON, KEY_RECORD, REWRAP, CONTRACT, INCARNATION)}


@dataclass(frozen=True)
class Signature:
    """One signature of a frame's block."""

    algorithm: int
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Frame:
    """A frame taken apart, nothing of it verified."""

    form: Form
    body: bytes
    signatures: tuple[Signature, ...]
    trailer: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256(label || body), over the received bytes."""
        return sha256(self.form.label, self.body)


class _Rest:
    """The bytes that are not read yet."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def take(self, count: int, what: str) -> bytes:
        """The next bytes, or VER002."""
        if count > len(self.content):
            raise refuse("VER002", f"the frame ends inside its {what}")
        taken, self.content = self.content[:count], self.content[count:]
        return taken

    def number(self, count: int, what: str) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.take(count, what), "big")


def form_of(content: bytes) -> Form:
    """The form that the magic names."""
    form = FORMS.get(content[:4])
    if form is None:
        raise refuse("VER001", f"the magic is {content[:4]!r}")
    return form


def split(content: bytes, form: Form) -> Frame:
    """Takes a frame apart; only a sealed batch may have a trailer."""
    if content[:4] != form.magic:
        raise refuse("VER001", f"the magic is {content[:4]!r}, not {form.magic!r}")
    rest = _Rest(content[4:])
    length = rest.number(4, "body length")
    if length > form.limit:
        raise refuse("VER003", f"a body of {length} bytes where {form.limit} are the limit")
    body = rest.take(length, "body")
    count = rest.number(1, "signature count")
    if not 1 <= count <= 4:
        raise refuse("VER007", f"{count} signatures")
    signatures = []
    for _ in range(count):
        algorithm = rest.number(2, "signature")
        key_id = rest.take(32, "signature")
        length = rest.number(2, "signature")
        if algorithm == ED25519 and length != 64:
            raise refuse("VER007", f"an Ed25519 signature of {length} bytes")
        signatures.append(Signature(algorithm, key_id, rest.take(length, "signature")))
    if rest.content and form is not BATCH:
        raise refuse("VER004", f"{len(rest.content)} bytes after the frame")
    return Frame(form, body, tuple(signatures), rest.content)


def signature_findings(frame: Frame, known: Known, operator: bool) -> list[Finding]:
    """What is wrong with the signatures; `operator` says that an operator must sign too."""
    found: list[Finding] = []
    if len({s.key_id for s in frame.signatures}) < len(frame.signatures):
        found.append(Finding("VER007", "two signatures of one key"))
    verified: set[tuple[str, int]] = set()
    for signature in frame.signatures:
        finding = _one_finding(frame, signature, known, operator)
        if finding is not None:
            found.append(finding)
        else:
            verified.add((known.signers[signature.key_id].role, signature.algorithm))
    if found:
        return found
    needed = [("signing", a) for a in known.required_algorithms]
    needed += [("operator", a) for a in known.required_algorithms] if operator else []
    return [
        Finding("VER014", f"no signature by a key of role {role} in algorithm {algorithm}")
        for role, algorithm in needed
        if (role, algorithm) not in verified
    ]


def _one_finding(frame: Frame, signature: Signature, known: Known, operator: bool) -> Finding | None:
    if signature.algorithm != ED25519:
        return Finding("VER008", f"algorithm {signature.algorithm}")
    signer = known.signers.get(signature.key_id)
    if signer is None or signer.algorithm != signature.algorithm:
        return Finding("VER011", f"key {signature.key_id.hex()} is not the department's")
    if signer.role not in (("signing", "operator") if operator else ("signing",)):
        return Finding("VER012", f"a key of role {signer.role}")
    if not ed25519.verify(signer.public, frame.form.label + frame.digest, signature.signature):
        return Finding("VER013", f"the signature of key {signature.key_id.hex()} does not verify")
    return None


def verified_fields(content: bytes, form: Form, known: Known) -> tuple[Frame, dict[str, Any]]:
    """Frame and fields after the checks that all signed frames without a trailer have in common."""
    frame = split(content, form)
    found = signature_findings(frame, known, operator=False)
    fields: dict[str, Any] = {}
    try:
        fields = avro.decode(form.schema, frame.body)
    except Refused as refused:
        found.extend(refused.findings)
    raise_if(found)
    return frame, fields


def stream_findings(fields: dict[str, Any], known: Known) -> list[Finding]:
    """VER020 and VER021: another stream or log than expected."""
    found = []
    stream = known.stream
    if (fields["department"], fields["dataset"], fields["partition"]) != (
        stream.department,
        stream.dataset,
        stream.partition,
    ):
        found.append(Finding("VER020", "another stream than expected"))
    if fields["origin"] != stream.origin:
        found.append(Finding("VER021", f"the log {fields['origin']}"))
    return found
