"""`python -m reader FILE... --keys keys.json`: verifies frames, opens batches, prints JSON.

`python -m reader --dump FOLDER` reads a whole dump (see dump.py) and prints what was in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import (
    beacon,
    contract,
    contract_record,
    dump,
    fence,
    frame,
    incarnation_record,
    key_record,
    log_entry,
    sealed_batch,
    shown,
)
from .finding import Refused, refuse
from .known import Known, load


class Files:
    """What keys.json and the files beside it say, for reading single frames."""

    def __init__(self, keys: Path) -> None:
        self.known, self.content = load(keys)
        self.folder = keys.parent

    def _file(self, name: str) -> Path:
        return self.folder / str(self.content[name])

    def key_record(self, file: str) -> key_record.KeyRecord:
        """A verified key record beside keys.json."""
        return key_record.verify((self.folder / file).read_bytes(), self.known)

    def contract(self) -> contract.Contract:
        """The contract beside keys.json."""
        folder = self._file("contract_file").parent
        found, problems = contract.check({p.name: p.read_bytes() for p in folder.iterdir()})
        if found is None:
            raise refuse("VER061", ", ".join(f"{p.code} {p.file} {p.field}" for p in problems))
        return found

    def secret(self, digest: bytes) -> bytes | None:
        """The secret of a key record, by any private key that there is."""
        for section in self.content["sections"]:
            record = self.key_record(section["key_record_file"])
            if record.digest == digest:
                return _unwrapped(record, record.fields["wraps"], self.known)
        return None


def _unwrapped(record: key_record.KeyRecord, wraps: list[dict[str, Any]], known: Known) -> bytes | None:
    named = {(wrap["recipient"], wrap["key"]) for wrap in wraps}
    secrets = {
        key_record.unwrap(wraps, record, recipient)
        for recipient in known.recipients
        if recipient.private and (recipient.department, recipient.key_id) in named
    }
    return secrets.pop() if secrets else None


def _batch(content: bytes, files: Files) -> dict[str, Any]:
    batch = sealed_batch.verify(content, files.known)
    sections: list[dict[str, Any]] = []
    for block in batch.blocks:
        secret = files.secret(block.fields["key_record"])
        if secret is None:
            sections.append({"name": block.name, "rows": None})
            continue
        section = files.contract().section(block.name)
        opened = sealed_batch.open_section(batch, section, secret)
        sections.append({"name": block.name, "rows": [shown.row_content(r.row) for r in opened.rows]})
    return {"digest": batch.digest, "header": batch.header, "sections": sections}


def read_file(content: bytes, files: Files, as_entry: bool) -> dict[str, Any]:
    """What a frame or a log entry says, once it is verified."""
    known = files.known
    if as_entry:
        entry = log_entry.decode(content)
        return {"type": entry.number, "fields": entry.record or entry.fields}
    form = frame.form_of(content)
    if form is frame.BATCH:
        return {"form": form.name, **_batch(content, files)}
    if form is frame.REWRAP:
        record = files.key_record(files.content["rewraps_are_of"])
        rewrap = key_record.verify_rewrap(content, known, record)
        opens = _unwrapped(record, rewrap.fields["wraps"], known) is not None
        return {"form": form.name, "digest": rewrap.digest, "fields": rewrap.fields, "opens": opens}
    if form is frame.CONTRACT:
        read = contract_record.verify(content, known)
        return {"form": form.name, "digest": read.digest, "contract": read.contract.digest}
    if form is frame.KEY_RECORD:
        key = key_record.verify(content, known)
        opens = _unwrapped(key, key.fields["wraps"], known) is not None
        return {"form": form.name, "digest": key.digest, "fields": key.fields, "opens": opens}
    plain = _plain(form, content, known)
    return {"form": form.name, "digest": plain.digest, "fields": plain.fields}


def _plain(
    form: frame.Form, content: bytes, known: Known
) -> fence.Fence | beacon.Beacon | incarnation_record.IncarnationRecord:
    if form is frame.FENCE:
        return fence.verify(content, known)
    if form is frame.BEACON:
        return beacon.verify(content, known)
    return incarnation_record.verify(content, known)


def _show(value: Any) -> None:
    json.dump(shown.json_value(value), sys.stdout, ensure_ascii=False, indent=1)
    print()


def _refusal(refused: Refused) -> dict[str, Any]:
    return {"refused": [{"code": f.code, "what": f.what} for f in refused.findings]}


def main(arguments: list[str]) -> int:
    """0 when everything holds, 1 when something is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m reader", description="A second reader of Govbridge's formats."
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="a frame, as one Kafka record holds it"
    )
    parser.add_argument("--keys", type=Path, help="keys.json: what the reader has beforehand")
    parser.add_argument("--entry", action="store_true", help="the files are log entries")
    parser.add_argument(
        "--dump", type=Path, metavar="FOLDER", help="read <topic>/<offset>.bin and keys.json there"
    )
    chosen = parser.parse_args(arguments)
    if chosen.dump is not None:
        try:
            _show(dump.read(chosen.dump).summary())
        except Refused as refused:
            _show(_refusal(refused))
            return 1
        return 0
    if chosen.keys is None or not chosen.files:
        parser.error("give FILE... and --keys, or --dump")
    files, refusals = Files(chosen.keys), 0
    for path in chosen.files:
        try:
            _show({"file": str(path), **read_file(path.read_bytes(), files, chosen.entry)})
        except Refused as refused:
            refusals += 1
            _show({"file": str(path), **_refusal(refused)})
    return 1 if refusals else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
