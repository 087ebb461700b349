"""Records that the vectors do not have, signed with the vectors' keys: for a dump of more than one batch."""

from __future__ import annotations

import base64
import io
from typing import Any

import fastavro
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .. import avro, frame, log_entry, note
from ..sealed_batch import tree_root
from ..wire import ED25519, key_id, sha256, u16, u32
from .vectors import reader

LOG = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
ORIGIN = reader()[0].stream.origin
LOG_KEY = note.VerifierKey(ORIGIN, note.PLAIN_ED25519, LOG.public_key().public_bytes_raw())


def encoded(schema: str, fields: dict[str, Any]) -> bytes:
    """The Avro of a published schema."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(avro.published(schema)), _as_long(fields))
    return stream.getvalue()


def _as_long(value: Any) -> Any:
    """Numbers of 64 bits as Avro's long has them."""
    if isinstance(value, dict):
        return {name: _as_long(item) for name, item in value.items()}
    if isinstance(value, int) and value >= 1 << 63:
        return value - (1 << 64)
    return value


def signed(form: frame.Form, fields: dict[str, Any]) -> bytes:
    """A frame with the department's signature and without a trailer."""
    body = encoded(form.schema, fields)
    seed = next(s["seed"] for s in reader()[1]["signers"] if s["role"] == "signing")
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    signature = private.sign(form.label + sha256(form.label, body))
    signer = key_id(1, ED25519, private.public_key().public_bytes_raw())
    return form.magic + u32(len(body)) + body + b"\x01" + u16(ED25519) + signer + u16(64) + signature


def entry_of(header: dict[str, Any], digest: bytes) -> bytes:
    """The log entry of a stream's first batch."""
    marks = {
        end: {name: header[end][name] for name in ("commit", "ordinal", "fragment")}
        for end in ("first", "last")
    }
    rows = header["row_events"] + header["truncates"]
    fields = {**header, **marks, "digest": digest, "previous_index": -1, "rows": rows}
    return b"\x02" + encoded("entry-batch", fields)


def appended(entry: bytes) -> dict[str, Any]:
    """The proof of an entry at index 1 of a log of three entries."""
    others = [log_entry.leaf_hash(b"before"), log_entry.leaf_hash(b"after")]
    root = tree_root([others[0], log_entry.leaf_hash(entry), others[1]])
    text = f"{ORIGIN}\n3\n{base64.b64encode(root).decode()}\n"
    line = base64.b64encode(LOG_KEY.key_id + LOG.sign(text.encode())).decode()
    checkpoint = f"{text}\n{note.DASH} {ORIGIN} {line}\n"
    return {"entry": entry, "index": 1, "path": others, "checkpoint": checkpoint}


def log_vkey() -> str:
    """The log's verifier key as text."""
    public = base64.b64encode(bytes([LOG_KEY.kind]) + LOG_KEY.public).decode()
    return f"{LOG_KEY.name}+{LOG_KEY.key_id.hex()}+{public}"
