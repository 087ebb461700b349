"""Contract records (docs/spec/contract-record.md)."""

from __future__ import annotations

from dataclasses import dataclass

from . import contract
from .finding import Finding, raise_if
from .frame import CONTRACT, verified_fields
from .known import Known


@dataclass(frozen=True)
class ContractRecord:
    """A verified contract record and its contract."""

    digest: bytes
    contract: contract.Contract


def verify(content: bytes, known: Known) -> ContractRecord:
    """The record with its contract, or Refused."""
    frame, fields = verified_fields(content, CONTRACT, known)
    sections = [schema["section"] for schema in fields["schemas"]]
    if len(set(sections)) < len(sections):
        raise_if([Finding("VER032", "two schemas of one section")])
    files = {f"{schema['section']}.avsc": schema["content"] for schema in fields["schemas"]}
    files[contract.CONTRACT] = fields["contract"]
    valid, problems = contract.check(files)
    found = [Finding("VER061", f"{p.code} {p.file} {p.field}") for p in problems]
    if valid is None:
        raise_if(found)
        raise RuntimeError("a contract without problems and without content")
    if valid.content["department"] != known.stream.department:
        raise_if([Finding("VER061", f"a contract of {valid.content['department']}")])
    return ContractRecord(frame.digest, valid)
