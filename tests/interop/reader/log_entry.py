"""Log entries (docs/spec/log-entry.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import avro
from .finding import raise_if, refuse
from .frame import CONTRACT, INCARNATION, KEY_RECORD, REWRAP, Frame, split
from .wire import sha256

MAX_ENTRY = 65_535
TYPES = {
    1: "entry-epoch",
    2: "entry-batch",
    3: "entry-record",
    4: "entry-record",
    5: "entry-record",
    6: "entry-record",
    7: "entry-mark",
    8: "entry-trust",
}
RECORDS = {3: KEY_RECORD, 4: REWRAP, 5: CONTRACT, 6: INCARNATION}


@dataclass(frozen=True)
class Entry:
    """A decoded entry; for the types 3 to 6 with its frame taken apart and the frame's fields."""

    number: int
    fields: dict[str, Any]
    frame: Frame | None
    record: dict[str, Any] | None


def decode(content: bytes) -> Entry:
    """The entry, or Refused."""
    if len(content) > MAX_ENTRY:
        raise refuse("VER003", f"an entry of {len(content)} bytes")
    if not content:
        raise refuse("VER002", "no bytes at all")
    number = content[0]
    if number not in TYPES:
        raise refuse("VER010", f"type {number}")
    fields = avro.decode(TYPES[number], content[1:])
    if number == 2:
        raise_if(avro.require_suite(fields))
        if (fields["kind"] == "snapshot") != (fields["snapshot"] is not None):
            raise refuse("VER005", "the kind and the snapshot do not match")
    if number not in RECORDS:
        return Entry(number, fields, None, None)
    form = RECORDS[number]
    frame = split(fields["record"], form)
    return Entry(number, fields, frame, avro.decode(form.schema, frame.body))


def leaf_hash(content: bytes) -> bytes:
    """The entry's leaf in the log (RFC 6962 section 2.1)."""
    return sha256(b"\x00", content)


def batch_entry_differences(entry: dict[str, Any], header: dict[str, Any], digest: bytes) -> list[str]:
    """The fields in which a batch entry is not that of the header."""

    def mark(position: dict[str, Any]) -> dict[str, Any]:
        return {name: position[name] for name in ("commit", "ordinal", "fragment")}

    expected = {
        "digest": digest,
        "rows": header["row_events"] + header["truncates"],
        "first": mark(header["first"]),
        "last": mark(header["last"]),
        "snapshot": header["snapshot"]
        and {name: header["snapshot"][name] for name in ("generation", "chunk", "last")},
    }
    return [
        name
        for name in entry
        if name != "previous_index" and entry[name] != expected.get(name, header.get(name))
    ]
