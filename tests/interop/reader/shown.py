"""Fields and rows as JSON shows them: bytes in hexadecimal digits."""

from __future__ import annotations

from typing import Any

from .rows import Row
from .sealed_batch import OpenSection


def json_value(value: Any) -> Any:
    """The value with bytes as hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value


def _state(state: dict[str, tuple[str, Any]] | None) -> list[Any] | None:
    if state is None:
        return None
    return [
        [name, kind, json_value(value)] if kind == "value" else [name, kind]
        for name, (kind, value) in state.items()
    ]


def row_content(row: Row) -> dict[str, Any]:
    """A row's content as the vectors write it."""
    head = {name: value for name, value in row.head.items() if name != "parts"}
    return {
        **head,
        "keys": [[name, json_value(value)] for name, value in row.key.items()],
        "before": _state(row.before),
        "after": _state(row.after),
    }


def section(opened: OpenSection) -> dict[str, Any]:
    """An opened section with its derived values, without its secret keys' sources."""
    keys = opened.keys
    return {
        "name": opened.name,
        "ctx0": keys.ctx0.hex(),
        "ctx": keys.ctx.hex(),
        "hash_of_ctx0": keys.hash_of_ctx0.hex(),
        "hash_of_ctx": keys.hash_of_ctx.hex(),
        "s": keys.s.hex(),
        "b": keys.b.hex(),
        "aead_key": keys.aead_key.hex(),
        "commitment": keys.commitment.hex(),
        "expanded_bytes": len(opened.content),
        "plaintext_bytes": len(opened.plaintext),
        "rows": [
            {
                "bytes": row.row.content.hex(),
                "content": row_content(row.row),
                "group_bytes": [len(piece) for piece in row.row.pieces[1:-1]],
                "group_salts": [salt.hex() for salt in row.group_salts],
                "head_bytes": len(row.row.pieces[0]),
                "leaf": row.leaf.hex(),
                "salt": row.salt.hex(),
            }
            for row in opened.rows
        ],
    }
